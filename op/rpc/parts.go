package rpc

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// PartsProtocol is the ALPN of long results: connections of their own, so that
// calls do not wait behind them. A stream begins with a frame that is the call. A
// frame with a reply without result follows, then a frame for each part, an empty
// one, and a reply that says whether the parts are all.
const PartsProtocol = version.Parts

// Bounds of long results.
const (
	// maxPart bounds the frame of a part: a short result as it is, or the largest
	// item that a write can have brought.
	maxPart = op.ShortBytes + transport.MaxRequest
	// maxPartsReply bounds the frame of a reply without a result.
	maxPartsReply = 16 << 10
	// StallTimeout is how long a long result may be without progress before it ends,
	// and with it the view of the state that it is read from.
	StallTimeout = 30 * time.Second
	// partsPool is how many connections to one server carry long results.
	partsPool = 4
)

// DialParts is the protocol of agents that only ask for long results.
func DialParts() transport.Protocol { return transport.Protocol{PoolSize: partsPool} }

// sendParts asks for a long result on a stream of its own. ctx bounds the
// beginning of the answer: what follows ends with Close, or where there is no
// progress for Stall.
func sendParts(ctx context.Context, via RoundTripper, to transport.Target, c *op.Call, head []byte) (*op.Reply, error) {
	body, err := c.Body()
	if err != nil {
		return nil, err
	}
	s, err := via.Open(ctx, to, PartsProtocol)
	if err != nil {
		return nil, translate(err, c, to)
	}
	stop := context.AfterFunc(ctx, s.Cancel)
	reply, err := func() (*op.Reply, error) {
		if err := writeFrame(s, head, body); err != nil {
			return nil, translate(err, c, to)
		}
		b, err := transport.ReadFrame(s, maxPartsReply)
		if err != nil {
			return nil, translate(err, c, to)
		}
		return op.ReadReply(b)
	}()
	if !stop() && err == nil {
		err = translate(ctx.Err(), c, to)
	}
	if err != nil {
		s.Cancel()
		if ctx.Err() != nil && op.CodeOf(err) == op.CodeLost {
			err = translate(ctx.Err(), c, to)
		}
		return nil, err
	}
	return op.ReplyInParts(reply.Meta, &incoming{s: s, what: c.Operation.OpName(), from: to}), nil
}

func writeFrame(s transport.Stream, parts ...[]byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	return transport.WriteFrame(s, parts...)
}

// incoming is a long result as it comes from another server.
type incoming struct {
	s    transport.Stream
	what string
	from transport.Target
	end  error // of Next, once it has ended
	once sync.Once
}

var _ op.Parts = (*incoming)(nil)

// Next implements op.Parts.
func (p *incoming) Next() (*op.Reply, error) {
	if p.end != nil {
		return nil, p.end
	}
	b, err := p.frame(maxPart)
	if err == nil && len(b) > 0 {
		return op.EncodedReply(b), nil
	}
	if err == nil {
		p.end = io.EOF
		b, err = p.frame(maxPartsReply)
	}
	if err == nil {
		_, err = op.ReadReply(b)
	}
	if err != nil {
		p.end = err
	}
	p.Close()
	return nil, p.end
}

func (p *incoming) frame(limit int) ([]byte, error) {
	err := p.s.SetReadDeadline(time.Now().Add(StallTimeout))
	var b []byte
	if err == nil {
		b, err = transport.ReadFrame(p.s, limit)
	}
	if err != nil {
		return nil, op.Errorf(op.CodeLost, "%s: the answer of %s (%s) did not come whole: %v", p.what, p.from.Name, p.from.Addr, err)
	}
	return b, nil
}

// Close implements op.Parts.
func (p *incoming) Close() { p.once.Do(p.s.Cancel) }

// Parts serves long results to those that admit lets in.
func (a *Server) Parts(admit func(identity.Peer) error) transport.Protocol {
	return transport.Protocol{Admit: admit, PoolSize: partsPool, Serve: func(ctx context.Context, from transport.Remote, s transport.Stream) {
		if a.answerInParts(ctx, s, !from.Peer.Server) != nil {
			s.Cancel() // the other end cannot be told anything any more
		}
	}}
}

func (a *Server) answerInParts(ctx context.Context, s transport.Stream, byAgent bool) error {
	if err := s.SetReadDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	request, err := transport.ReadFrame(s, transport.MaxRequest)
	if err != nil {
		return err
	}
	meta, parts, err := a.begin(ctx, request, byAgent)
	if err != nil {
		return writeFrame(s, op.AppendError(nil, err))
	}
	defer parts.Close()
	defer context.AfterFunc(ctx, parts.Close)()
	first, err := op.AppendReply(nil, op.NewReply(meta, nil))
	if err != nil {
		return err
	}
	if err := writeFrame(s, first); err != nil {
		return err
	}
	for {
		part, err := parts.Next()
		var b []byte
		if err == nil {
			b, err = part.Body()
		}
		switch {
		case err == io.EOF: // bare, as op.Parts promises
			last, err := op.AppendReply(nil, op.NewReply(op.Meta{}, nil))
			if err != nil {
				return err
			}
			return finish(s, last)
		case err == nil && len(b) > maxPart:
			err = op.Errorf(op.CodeTooLarge, "one item has %d bytes, more than the %d that agents send each other", len(b), maxPart)
		}
		if err != nil {
			return finish(s, op.AppendError(nil, err))
		}
		if err := writeFrame(s, b); err != nil {
			return err
		}
	}
}

// finish ends the parts and says how.
func finish(s transport.Stream, reply []byte) error {
	if err := writeFrame(s); err != nil {
		return err
	}
	return writeFrame(s, reply)
}

// begin carries out a call whose result is taken in parts.
func (a *Server) begin(ctx context.Context, request []byte, byAgent bool) (op.Meta, op.Parts, error) {
	ctx, call, err := a.read(ctx, request, byAgent)
	if err != nil {
		return op.Meta{}, nil, err
	}
	if p, ok := call.Operation.(op.Partial); !ok || !p.HasParts() {
		return op.Meta{}, nil, op.Errorf(op.CodeUnsupported, "operation %s has no parts", call.Operation.OpName())
	}
	if d := call.Header.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	call.Take, call.Long = op.TakeParts, true
	reply, err := a.caller.Do(ctx, call)
	if err != nil {
		return op.Meta{}, nil, err
	}
	if parts := reply.Parts(); parts != nil {
		return reply.Meta, parts, nil
	}
	body, err := reply.Body() // it has become short
	if err != nil {
		return op.Meta{}, nil, fmt.Errorf("encode reply of %s: %w", call.Operation.OpName(), err)
	}
	return reply.Meta, &single{body: body}, nil
}

// single is a result that is one part, or none.
type single struct{ body []byte }

// Next implements op.Parts.
func (p *single) Next() (*op.Reply, error) {
	if len(p.body) == 0 {
		return nil, io.EOF
	}
	b := p.body
	p.body = nil
	return op.EncodedReply(b), nil
}

// Close implements op.Parts.
func (p *single) Close() {}

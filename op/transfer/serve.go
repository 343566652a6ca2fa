package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Handler makes snapshots of a datacenter and takes them.
type Handler interface {
	SaveSnapshot(ctx context.Context, h op.Header) (io.ReadCloser, op.Meta, error)
	// RestoreSnapshot returns what the snapshot had that was left out, a line each;
	// nil if it is one of which nothing ever is.
	RestoreSnapshot(ctx context.Context, h op.Header, from io.Reader) (*op.Texts, error)
}

// Serve answers those that admit lets in.
func Serve(h Handler, admit func(identity.Peer) error) transport.Protocol {
	return transport.Protocol{Admit: admit, PoolSize: poolSize, Serve: func(ctx context.Context, _ transport.Remote, s transport.Stream) {
		if err := answer(ctx, h, s); err != nil {
			s.Cancel()
		}
	}}
}

// Dial is the protocol of agents that only ask.
func Dial() transport.Protocol { return transport.Protocol{PoolSize: poolSize} }

// answer serves one stream. An error says that the other end cannot be told
// anything any more.
func answer(ctx context.Context, h Handler, s transport.Stream) error {
	if err := s.SetReadDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	head, err := transport.ReadFrame(s, maxHead)
	if err != nil {
		return err
	}
	kind, header, err := readHead(head)
	if err != nil {
		return reply(s, op.Meta{}, nil, err)
	}
	if kind == kindRestore {
		left, err := h.RestoreSnapshot(ctx, header, &upload{stream: s})
		return reply(s, op.Meta{}, left, err)
	}
	out, meta, err := h.SaveSnapshot(ctx, header)
	if err != nil {
		return reply(s, op.Meta{}, nil, err)
	}
	defer func() { _ = out.Close() }() // what was to be said was said
	if err := reply(s, meta, nil, nil); err != nil {
		return err
	}
	source := &noted{r: out}
	if err := writeFrames(s, source); err != nil {
		if source.err == nil {
			return err
		}
		return errors.Join(writeFrame(s, nil), reply(s, meta, nil, source.err))
	}
	return reply(s, meta, nil, nil)
}

func readHead(b []byte) (kind byte, h op.Header, err error) {
	if len(b) == 0 || b[0] != kindSave && b[0] != kindRestore {
		return 0, h, op.Errorf(op.CodeUnsupported, "a request about snapshots that is unknown to this server")
	}
	if _, err := h.UnmarshalMsg(b[1:]); err != nil {
		return 0, h, op.Errorf(op.CodeInvalid, "read the request for a snapshot: %v", err)
	}
	if h.Hops > op.MaxHops {
		return 0, h, op.Errorf(op.CodeInvalid, "a snapshot was forwarded more than %d times", op.MaxHops)
	}
	return b[0], h, nil
}

func reply(s transport.Stream, m op.Meta, left *op.Texts, err error) error {
	var result any
	if left != nil {
		result = brief(left)
	}
	var b []byte
	if err != nil {
		b = op.AppendError(nil, err)
	} else if b, err = op.AppendReply(nil, op.NewReply(m, result)); err != nil {
		return err
	}
	return writeFrame(s, b)
}

// maxLeft is how many bytes of lines fit into a reply, beside all else.
const maxLeft = maxHead - 2<<10

// brief is as many of the lines as fit, and how many more there are.
func brief(left *op.Texts) *op.Texts {
	size := 0
	for i, line := range left.Texts {
		if size += len(line) + 8; size > maxLeft {
			more := fmt.Sprintf("and %d lines more, which are in the log of the leader", len(left.Texts)-i)
			return &op.Texts{Texts: append(slices.Clone(left.Texts[:i]), more)}
		}
	}
	return left
}

// upload is a snapshot as it comes.
type upload struct {
	stream transport.Stream
	frame  []byte
	err    error
}

// Read implements io.Reader; io.EOF says that the snapshot was whole.
func (u *upload) Read(p []byte) (int, error) {
	for len(u.frame) == 0 {
		if u.err == nil {
			u.frame, u.err = u.next()
		}
		if u.err != nil {
			return 0, u.err
		}
	}
	n := copy(p, u.frame)
	u.frame = u.frame[n:]
	return n, nil
}

func (u *upload) next() ([]byte, error) {
	b, err := readFrame(u.stream)
	if err != nil {
		return nil, op.Errorf(op.CodeLost, "the snapshot did not come whole: %v", err)
	}
	if len(b) == 0 {
		return nil, io.EOF
	}
	return b, nil
}

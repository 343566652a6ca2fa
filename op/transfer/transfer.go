// Package transfer carries snapshots of a datacenter between agents: one
// stream of a connection of their own for each, so that no call waits behind
// one.
//
// It promises that a stream without progress ends after a while at both ends,
// and that neither end holds more than a frame. It chooses no server, knows
// nothing of what the bytes mean and repeats nothing that has begun.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
)

// Protocol is the ALPN of snapshots. A stream begins with a frame of the kind of
// request (1 byte) and the header of the call. The bytes of the snapshot
// come in frames; an empty one ends them, and a reply follows. A save has a reply
// before the bytes as well.
const Protocol = version.Snapshot

// The kinds of requests; part of the protocol.
const (
	kindSave    = 1
	kindRestore = 2
)

// Bounds of a stream.
const (
	maxFrame = 64 << 10 // of the snapshot's bytes
	maxHead  = 16 << 10 // of the request and of replies
	// StallTimeout is how long a stream may be without progress before it ends, and
	// with it the view of the state that it is read from.
	StallTimeout = 30 * time.Second
	// poolSize is how many connections to one server carry snapshots.
	poolSize = 1
)

// Opener is the part of *transport.Endpoint that asking needs.
type Opener interface {
	Open(ctx context.Context, to transport.Target, protocol string) (transport.Stream, error)
}

var _ Opener = (*transport.Endpoint)(nil)

// Save asks one target after another until one begins to answer, and returns
// its snapshot as it comes. Close ends the stream early. Errors are *op.Error;
// one that comes after the beginning is that of Read.
func Save(ctx context.Context, via Opener, targets []transport.Target, h op.Header) (io.ReadCloser, op.Meta, error) {
	s, err := ask(ctx, via, targets, kindSave, h)
	if err != nil {
		return nil, op.Meta{}, err
	}
	reply, err := s.reply()
	if err != nil {
		s.end()
		return nil, op.Meta{}, err
	}
	return &download{asked: s}, reply.Meta, nil
}

// Restore sends a snapshot to the first target that can be reached and returns
// when it is the state of the datacenter: with what Handler.RestoreSnapshot said
// there. Errors are *op.Error, or from's.
func Restore(ctx context.Context, via Opener, targets []transport.Target, h op.Header, from io.Reader) (*op.Texts, error) {
	s, err := ask(ctx, via, targets, kindRestore, h)
	if err != nil {
		return nil, err
	}
	defer s.end()
	source := &noted{r: from}
	if err := writeFrames(s.stream, source); err != nil {
		if source.err != nil {
			s.stream.Cancel() // the end must not be taken for that of the snapshot
			return nil, source.err
		}
		if _, e := s.reply(); e != nil && op.CodeOf(e) != op.CodeLost {
			return nil, e // it is refused before it has all come
		}
		return nil, s.lost(err)
	}
	reply, err := s.patientReply()
	if err != nil {
		return nil, err
	}
	b, err := reply.Body()
	if err != nil || len(b) == 0 {
		return nil, err
	}
	left := &op.Texts{}
	if _, err := left.UnmarshalMsg(b); err != nil {
		return &op.Texts{}, nil // it is restored, whatever was said of it
	}
	return left, nil
}

// asked is a stream with the request sent.
type asked struct {
	stream transport.Stream
	to     transport.Target
	stop   func() bool
}

func ask(ctx context.Context, via Opener, targets []transport.Target, kind byte, h op.Header) (*asked, error) {
	if h.Hops++; h.Hops > op.MaxHops {
		return nil, op.Errorf(op.CodeInternal, "a snapshot was forwarded more than %d times", op.MaxHops)
	}
	head, err := h.MarshalMsg([]byte{kind})
	if err != nil {
		return nil, fmt.Errorf("encode the request for a snapshot: %w", err)
	}
	var last error = op.ErrNoServers
	for _, to := range targets {
		stream, err := via.Open(ctx, to, Protocol)
		if err == nil {
			s := &asked{stream: stream, to: to}
			s.stop = context.AfterFunc(ctx, stream.Cancel)
			if err = transport.WriteFrame(stream, head); err == nil {
				return s, nil
			}
			s.end()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		last = op.Errorf(op.CodeNoServer, "snapshot: cannot reach %s (%s): %v", to.Name, to.Addr, err)
	}
	return nil, last
}

func (s *asked) end() {
	s.stop()
	s.stream.Cancel()
}

func (s *asked) lost(err error) error {
	return op.Errorf(op.CodeLost, "snapshot: connection to %s (%s) lost: %v", s.to.Name, s.to.Addr, err)
}

// reply reads a reply that comes at once.
func (s *asked) reply() (*op.Reply, error) {
	if err := s.stream.SetReadDeadline(time.Now().Add(StallTimeout)); err != nil {
		return nil, s.lost(err)
	}
	return s.patientReply()
}

// patientReply waits as long as the other end works and can be reached.
func (s *asked) patientReply() (*op.Reply, error) {
	b, err := transport.ReadFrame(s.stream, maxHead)
	if err != nil {
		return nil, s.lost(err)
	}
	return op.ReadReply(b)
}

// download is a snapshot as it comes.
type download struct {
	*asked
	frame []byte
	err   error
}

// Read implements io.Reader; io.EOF says that the snapshot was whole.
func (d *download) Read(p []byte) (int, error) {
	for len(d.frame) == 0 {
		if d.err == nil {
			d.frame, d.err = d.next()
		}
		if d.err != nil {
			return 0, d.err
		}
	}
	n := copy(p, d.frame)
	d.frame = d.frame[n:]
	return n, nil
}

func (d *download) next() ([]byte, error) {
	b, err := readFrame(d.stream)
	if err != nil {
		return nil, d.lost(err)
	}
	if len(b) > 0 {
		return b, nil
	}
	if _, err := d.reply(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// Close implements io.Closer.
func (d *download) Close() error {
	d.end()
	return nil
}

// noted remembers the error of a reader.
type noted struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (n *noted) Read(p []byte) (int, error) {
	size, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return size, err
}

// writeFrames sends all that from yields and the empty frame behind it.
func writeFrames(to transport.Stream, from io.Reader) error {
	buf := make([]byte, maxFrame)
	for {
		n, err := io.ReadFull(from, buf)
		if n > 0 {
			if err := writeFrame(to, buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return writeFrame(to, nil)
		case err != nil:
			return err
		}
	}
}

func writeFrame(to transport.Stream, b []byte) error {
	if err := to.SetWriteDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	return transport.WriteFrame(to, b)
}

func readFrame(from transport.Stream) ([]byte, error) {
	if err := from.SetReadDeadline(time.Now().Add(StallTimeout)); err != nil {
		return nil, err
	}
	return transport.ReadFrame(from, maxFrame)
}

package gossipsim

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// streamPieces bounds the pieces of a stream that wait to be read: memberlist
// writes two or three.
const streamPieces = 16

// stream is one end of a stream.
type stream struct {
	from, to *end
	other    *stream
	in       chan []byte // nil: the other side is done
	rest     []byte      // of the piece that is being read
	ended    bool

	mu       sync.Mutex
	deadline time.Time
	last     time.Time // when what was written last arrives
	closed   bool
}

var _ net.Conn = (*stream)(nil)

func newStream(from, to *end) *stream {
	return &stream{from: from, to: to, in: make(chan []byte, streamPieces)}
}

// Read implements net.Conn. One goroutine reads at a time.
func (s *stream) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		s.mu.Lock()
		deadline := s.deadline
		s.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			late = t.C
		}
		select {
		case s.rest = <-s.in:
			if s.rest == nil {
				s.ended = true
				return 0, io.EOF
			}
		case <-late:
			return 0, os.ErrDeadlineExceeded
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Write implements net.Conn: it never blocks.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if len(b) > 0 {
		s.send(append([]byte(nil), b...))
	}
	return len(b), nil
}

func (s *stream) send(piece []byte) {
	wait, ok := s.from.transfer(s.to.addr.String(), len(piece))
	if !ok {
		return // the other side waits until its deadline
	}
	due := time.Now().Add(wait)
	if due.Before(s.last) {
		due = s.last
	}
	s.last = due.Add(1) // in order
	other := s.other
	time.AfterFunc(time.Until(due), func() {
		select {
		case other.in <- piece:
		default:
		}
	})
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.send(nil)
	}
	return nil
}

// SetDeadline implements net.Conn; it holds for reads that begin later.
func (s *stream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error { return s.SetDeadline(t) }

// SetWriteDeadline implements net.Conn: writes do not block.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.from.addr) }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(s.to.addr) }

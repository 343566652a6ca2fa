package gossip

import (
	"net"

	"github.com/legate-project/legate/internal/admission"
)

// Bounds of what streams that others open make this node hold: memberlist reads a message
// whole, up to 20 MiB, before it knows whether it is from a member.
const (
	// maxIncoming is how many bytes all of them together may have brought while they are
	// open, beyond what is free: one message of the greatest length, or many usual ones,
	// a state of 5,000 members having some 1 MiB. It takes up to three times the memory.
	maxIncoming = 24 << 20
	// freeIncoming is what each stream may bring in any case.
	freeIncoming = 256 << 10
)

// incoming returns a stream that another node has opened, counted and bounded; nil if it
// is closed because there are too many.
func (c *counted) incoming(s net.Conn) net.Conn {
	in := &incoming{Conn: c.stream(s)}
	in.reader = c.budget.Reader(in.Conn, freeIncoming)
	if c.gate != nil {
		var err error
		if in.place, err = c.gate.Enter(s.RemoteAddr()); err != nil {
			_ = s.Close() // the other node sees the end
			return nil
		}
	}
	return in
}

// incoming is a stream that another node has opened.
type incoming struct {
	net.Conn
	reader *admission.Reader
	place  *admission.Place // nil for none
}

// Read implements net.Conn.
func (s *incoming) Read(b []byte) (int, error) { return s.reader.Read(b) }

// Close implements net.Conn.
func (s *incoming) Close() error {
	s.reader.Release()
	if s.place != nil {
		s.place.Leave()
	}
	return s.Conn.Close()
}

var _ net.Conn = (*incoming)(nil)

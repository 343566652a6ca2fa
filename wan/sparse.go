package wan

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/legate-project/legate/internal/lifecycle"
)

// In large pools connections that carry nothing are closed: two members probe each other once in an
// hour there, and to keep a connection that long costs many times what it takes to make one. See
// docs/gossip.md for figures.
const (
	// sparseAbove is how many members make a pool large: below it two of them have something to say
	// to each other more often than once in four minutes, when a connection costs as much as a handshake.
	sparseAbove = 150
	// sparseIdle is after how long without a packet a connection is closed there.
	sparseIdle = time.Minute
	// toldLately is how many members news does not go to again while there are others: each piece goes out 12
	// times in a pool of up to 999.
	toldLately = 16
	// maxWaiting bounds the packets that wait for a connection, dialMost how long one does: as a
	// probe waits for its answer.
	maxWaiting = 256
	dialMost   = 1500 * time.Millisecond
)

// Types of memberlist's and Serf's messages that are for whom they reach, not for one: the first
// byte of memberlist's, in the order of the constants in its net.go, and the second one of Serf's,
// in that of its messages.go.
const (
	userMessage      = 8
	serfLeaveMessage = 0
	serfJoinMessage  = 1
	serfEventMessage = 3
	serfQueryMessage = 4
)

// Connections is what a transport of gossip says of the connections below it.
type Connections interface {
	// Connected reports whether there is one to a member.
	Connected(a memberlist.Address) bool
	// Open is how many there are.
	Open() int
	// Anyone is a member to whom there is one, by chance, none at the addresses in but if there are others; false
	// if there is none.
	Anyone(but []string) (memberlist.Address, bool)
	// Dial makes one, unless it is there.
	Dial(ctx context.Context, a memberlist.Address) error
}

// sparse is a transport on which, in a large pool, a server has connections to those alone that it
// has lately probed or been probed by. They change all the time, so they are a sample of the pool (sample.go): news, which is for
// anybody, goes to one of them in place of a member without connection. What is for one member waits
// for a connection to it.
type sparse struct {
	memberlist.NodeAwareTransport
	conns  Connections
	self   string
	group  *lifecycle.Group
	room   chan struct{}
	joined chan struct{} // capacity 1: somebody is there whom keepSample has not seen

	mu      sync.Mutex
	members map[string]known
	told    []string // the addresses that news went to last, the newest last
	waited  map[string]time.Duration
}

func newSparse(self string, t memberlist.NodeAwareTransport, c Connections) *sparse {
	return &sparse{NodeAwareTransport: t, conns: c, self: self, group: lifecycle.New("gossip connections"), room: make(chan struct{}, maxWaiting),
		joined: make(chan struct{}, 1), members: map[string]known{}, waited: map[string]time.Duration{}}
}

// large reports whether connections that carry nothing are closed.
func (s *sparse) large() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.members) > sparseAbove
}

// idle is after how long without use they are.
func (s *sparse) idle() time.Duration {
	if s.large() {
		return sparseIdle
	}
	return idleDrop
}

// waitedFor is how long the last packet to a member waited for its connection: it is no part of
// the round trip.
func (s *sparse) waitedFor(name string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waited[name]
}

func (s *sparse) note(name string, waited time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, member := s.members[name]; member && waited > 0 {
		s.waited[name] = waited
		return
	}
	delete(s.waited, name)
}

// tells notes to whom news went.
func (s *sparse) tells(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told = append(s.told, addr); len(s.told) > toldLately {
		s.told = slices.Delete(s.told, 0, 1)
	}
}

func (s *sparse) lately() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// WriteTo implements memberlist.Transport.
func (s *sparse) WriteTo(b []byte, addr string) (time.Time, error) {
	return s.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport. It never blocks.
func (s *sparse) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	large := s.large()
	if !large || s.conns.Connected(a) {
		s.note(a.Name, 0)
		if large && news(b) {
			s.tells(a.Addr)
		}
		return s.NodeAwareTransport.WriteToAddress(b, a)
	}
	if news(b) {
		if to, ok := s.conns.Anyone(s.lately()); ok {
			a = to
			s.tells(a.Addr)
		}
		return s.NodeAwareTransport.WriteToAddress(b, a)
	}
	select {
	case s.room <- struct{}{}:
	default:
		return s.NodeAwareTransport.WriteToAddress(b, a) // lost, but it is dialled
	}
	b, began := slices.Clone(b), time.Now()
	err := s.group.Spawn("send when connected", func(ctx context.Context) {
		defer func() { <-s.room }()
		ctx, cancel := context.WithTimeout(ctx, dialMost)
		defer cancel()
		if s.conns.Dial(ctx, a) != nil {
			return // a probe finds out that way
		}
		s.note(a.Name, time.Since(began))
		_, _ = s.NodeAwareTransport.WriteToAddress(b, a) // as any packet it may be lost
	})
	if err != nil {
		<-s.room
	}
	return began, nil
}

// Shutdown implements memberlist.Transport.
func (s *sparse) Shutdown() error {
	err := s.NodeAwareTransport.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), 2*dialMost)
	defer cancel()
	if late := s.group.Stop(ctx); err == nil {
		err = late
	}
	return err
}

// news reports whether all that a packet says is for whom it reaches, and asks no more than any
// member can do.
func news(b []byte) bool {
	any := false
	addressed := messages(b, func(m []byte) bool {
		any = true
		switch m[0] {
		case suspectMessage, aliveMessage, deadMessage, indirectMessage:
			return false
		case userMessage:
			if len(m) > 1 && (m[1] == serfLeaveMessage || m[1] == serfJoinMessage || m[1] == serfEventMessage || m[1] == serfQueryMessage) {
				return false
			}
		}
		return true
	})
	return any && !addressed
}

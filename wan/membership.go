package wan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/internal/gossip"
)

// ErrLeft is what is answered by a server that left the federation.
var ErrLeft = errors.New("this server left the federation (legate join -wan takes it back)")

// Membership is this server's place in the federation, which it can leave and take
// again while it lives. It is safe for concurrent use.
type Membership struct {
	cfg  Config
	pool atomic.Pointer[Pool] // the last one, also after leaving
	left atomic.Bool

	mu      sync.Mutex // one change at a time
	stopped bool
	self    Server // what the tags show
}

// NewMembership opens the pool.
func NewMembership(cfg Config) (*Membership, error) {
	s := &Membership{cfg: cfg, self: cfg.Self}
	p, err := Start(cfg)
	if err != nil {
		return nil, err
	}
	s.pool.Store(p)
	return s, nil
}

// Quit has this server leave the federation until Join. Others drop it from
// routing at once.
func (s *Membership) Quit(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.left.Load() {
		return ErrLeft
	}
	p := s.pool.Load()
	if err := p.Leave(); err != nil {
		return err
	}
	s.left.Store(true)
	return p.Stop(ctx)
}

// Left reports whether this server left the federation.
func (s *Membership) Left() bool { return s.left.Load() }

// Leave says goodbye before the process stops.
func (s *Membership) Leave() error {
	if s.left.Load() {
		return nil
	}
	return s.pool.Load().Leave()
}

// Stop ends the pool without a word to the others: they will see a failure.
func (s *Membership) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.left.Load() {
		return nil
	}
	return s.pool.Load().Stop(ctx)
}

// Join is Pool.Join. A server that left takes its place again.
func (s *Membership) Join(addrs []string) (int, error) {
	if s.left.Load() {
		if err := s.again(); err != nil {
			return 0, err
		}
	}
	return s.pool.Load().Join(addrs)
}

func (s *Membership) again() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return errors.New("this server stops")
	case !s.left.Load():
		return nil
	}
	cfg := s.cfg
	cfg.Self = s.self
	p, err := Start(cfg)
	if err != nil {
		return fmt.Errorf("take part in the federation again: %w", err)
	}
	s.pool.Store(p)
	s.left.Store(false)
	return nil
}

// Announce shows in this server's tags what it knows of removed datacenters.
func (s *Membership) Announce(removals string) error {
	return s.show(func(self *Server) { self.Removals = removals })
}

// ReachedBy shows in this server's tags which gateways it is reached through, and where
// they see it.
func (s *Membership) ReachedBy(via, seen string) error {
	return s.show(func(self *Server) { self.Via, self.Seen = via, seen })
}

func (s *Membership) show(change func(*Server)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.self
	change(&s.self)
	if s.self == old || s.left.Load() {
		return nil
	}
	return s.pool.Load().SetTags(s.self.Tags())
}

// Members is Pool.Members; of a server that left it is that server alone.
func (s *Membership) Members() []Member {
	p := s.pool.Load()
	if !s.left.Load() {
		return p.Members()
	}
	self := p.LocalMember()
	self.Status = gossip.Left
	return []Member{self}
}

// Servers is Pool.Servers; a server that left holds all for left.
func (s *Membership) Servers() []Server { return s.gone(s.pool.Load().Servers()) }

// AllServers is Servers with those of datacenters that are refused.
func (s *Membership) AllServers() []Server { return s.gone(s.pool.Load().AllServers()) }

func (s *Membership) gone(list []Server) []Server {
	if s.left.Load() {
		for i := range list {
			list[i].Status = gossip.Left
		}
	}
	return list
}

// Damped is Pool.Damped.
func (s *Membership) Damped(name string) bool { return s.pool.Load().Damped(name) }

// ForceLeave is Pool.ForceLeave.
func (s *Membership) ForceLeave(name string, prune bool) error {
	if s.left.Load() {
		return ErrLeft
	}
	return s.pool.Load().ForceLeave(name, prune)
}

// AskKeys is Pool.AskKeys.
func (s *Membership) AskKeys(ctx context.Context, c gossip.KeyChange) ([]gossip.MemberKeys, error) {
	if s.left.Load() {
		return nil, ErrLeft
	}
	return s.pool.Load().AskKeys(ctx, c)
}

// FloodJoin is Pool.FloodJoin; a server that left joins nobody.
func (s *Membership) FloodJoin(ctx context.Context, servers []Server) (int, error) {
	if s.left.Load() {
		return 0, nil
	}
	return s.pool.Load().FloodJoin(ctx, servers)
}

// CancelDials is Pool.CancelDials.
func (s *Membership) CancelDials() { s.pool.Load().CancelDials() }

// Coordinate is this server's network coordinate.
func (s *Membership) Coordinate() *coordinate.Coordinate { return s.pool.Load().Coordinate() }

// RoundTrip is Pool.RoundTrip.
func (s *Membership) RoundTrip(name string) (time.Duration, bool) {
	return s.pool.Load().RoundTrip(name)
}

// CoordinateOf is Pool.CoordinateOf.
func (s *Membership) CoordinateOf(name string) (*coordinate.Coordinate, bool) {
	return s.pool.Load().CoordinateOf(name)
}

// Stats are figures for operators.
func (s *Membership) Stats() map[string]string { return s.pool.Load().Stats() }

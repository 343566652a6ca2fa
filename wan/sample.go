package wan

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/legate-project/legate/internal/gossip"
)

// News goes over the connections that are there, so a member hears the less of it the fewer it has. In a
// large pool one that probes and is probed has some forty after a minute; one that has just come, or comes
// back, has one or two, and would miss what else is new in that minute. So it connects to a sample by itself.
const (
	// fewConnections is below how many a member has too few, sampled how many it makes then.
	fewConnections = 24
	sampled        = 64
	// lookEvery is how often they are counted. Where nobody is reached that doubles, up to
	// lookSeldom, until somebody new is there.
	lookEvery  = time.Second
	lookSeldom = time.Minute
)

// known is what the sample knows of a member.
type known struct {
	addr  string
	alive bool
}

// has notes what is known of a member.
func (s *sparse) has(m Member, kind gossip.Kind) {
	s.mu.Lock()
	if kind == gossip.Leave || kind == gossip.Reap {
		delete(s.members, m.Name)
		delete(s.waited, m.Name)
	} else {
		s.members[m.Name] = known{m.HostPort(), m.Status == gossip.Alive}
	}
	s.mu.Unlock()
	if kind == gossip.Join {
		select {
		case s.joined <- struct{}{}:
		default:
		}
	}
}

// keepSample sees to it that there are enough connections to members of a large pool.
func (s *sparse) keepSample(ctx context.Context) {
	pause := lookEvery
	for {
		var joined <-chan struct{}
		if pause > lookEvery {
			joined = s.joined
		}
		select {
		case <-ctx.Done():
			return
		case <-joined:
			pause = lookEvery
			continue
		case <-time.After(pause):
		}
		pause = min(2*pause, lookSeldom)
		open := sampled
		if s.large() {
			open = s.conns.Open()
		}
		if open >= fewConnections {
			pause = lookEvery
			continue
		}
		s.connectSome(ctx, sampled-open)
	}
}

// connectSome makes connections to so many members, chosen at random, and waits for them.
func (s *sparse) connectSome(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, dialMost)
	defer cancel()
	some := s.choose(n)
	done := make(chan struct{}, len(some))
	for _, a := range some {
		if s.group.Spawn("connect to some", func(context.Context) {
			_ = s.conns.Dial(ctx, a) // others are tried later
			done <- struct{}{}
		}) != nil {
			return
		}
	}
	for range some {
		<-done
	}
}

func (s *sparse) choose(n int) []memberlist.Address {
	s.mu.Lock()
	var all []memberlist.Address
	for name, m := range s.members {
		if m.alive && name != s.self {
			all = append(all, memberlist.Address{Name: name, Addr: m.addr})
		}
	}
	s.mu.Unlock()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

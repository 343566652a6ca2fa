package agent

import (
	"context"
	"errors"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/transport"
)

// forgetFailed drops the connections to servers that failed. Who waits for an
// answer of theirs learns it now: a connection to a host that died says nothing
// until it has been silent for long.
func (a *Agent) forgetFailed(e gossip.Event) {
	if e.Kind != gossip.Fail {
		return
	}
	for _, m := range e.Members {
		if s, ok := gossip.ServerOf(m); ok {
			a.calls.Forget(transport.Target{Addr: s.RPCAddr(), NodeID: s.ID, Name: s.Name})
		}
	}
}

// A node that comes back at another address is not believed as long as the
// others think it alive, or for a moment after, at the old one. It introduces
// itself again this often, until they surely do.
const (
	introduceEvery = 3 * time.Second
	introduceFor   = 2 * time.Minute
)

// introduce exchanges the state of a pool with members, again and again, after
// this node moved.
func (a *Agent) introduce(name string, p pool) error {
	return a.group.Go("introduce in the "+name+" pool", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, introduceFor)
		defer cancel()
		t := time.NewTicker(introduceEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			var addrs []string
			for _, m := range p.Members() {
				if m.Status == gossip.Alive && m.Addr != a.cfg.AdvertiseAddr && m.Addr != a.cfg.AdvertiseAddrWAN {
					addrs = append(addrs, m.Name+"/"+m.HostPort())
				}
			}
			if _, err := p.Join(addrs); err != nil && len(addrs) > 0 {
				a.log.Debug("introduce this node at its new address", "pool", name, "error", err)
			}
		}
	})
}

// errNotServer is the answer of a client agent about the WAN.
var errNotServer = errors.New("this agent is a client: only servers take part in the WAN pool")

// errNoWAN is the answer of a server whose WAN port is switched off.
var errNoWAN = errors.New("the WAN pool is switched off here (ports.serf_wan = -1)")

// pool is what both pools have in common here.
type pool interface {
	Members() []gossip.Member
	Join([]string) (int, error)
	ForceLeave(string, bool) error
}

// wanPool returns the WAN pool or why there is none.
func (a *Agent) wanPool() (pool, error) {
	switch {
	case a.server == nil:
		return nil, errNotServer
	case a.server.wan == nil:
		return nil, errNoWAN
	}
	return joining{a.server}, nil
}

// joining is the WAN pool of a server that may have left it.
type joining struct{ s *serverParts }

// Members implements pool.
func (j joining) Members() []gossip.Member { return j.s.ways.Describe(j.s.wan.Members()) }

// Join implements pool.
func (j joining) Join(addrs []string) (int, error) { return j.s.joinWAN(addrs) }

// ForceLeave implements pool.
func (j joining) ForceLeave(name string, prune bool) error { return j.s.wan.ForceLeave(name, prune) }

// Package gossipsim simulates the gossip between datacenters: the real pools
// (package wan, Serf and memberlist below it) on a network in memory that has
// the delays, jitter, loss and cuts of package wanem.
//
// It is meant for bubbles of testing/synctest, where an hour takes seconds. It
// promises that what the pools do is what they do in production, that no real
// socket takes part, and that packets and bytes are counted with the weight of
// QUIC around them. QUIC itself is not simulated: a datagram is a packet, a
// stream takes the turns that its size and the losses ask for, and the
// keep-alives of connections are not counted. What no datagram carries is refused, and
// Stop says so.
package gossipsim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/wanem"
	"github.com/legate-project/legate/wan"
)

// Spec says what to simulate.
type Spec struct {
	// RoundTrips between datacenters; as many as there are datacenters.
	RoundTrips [][]time.Duration
	// Servers of each datacenter.
	Servers int
	// Jitter is the most that one way deviates, as a share of it; Loss the
	// share of packets that is lost, each way.
	Jitter, Loss float64
	Timing       gossip.Timing
	// Pace is gossip.WAN between datacenters. Pools within one have the same code below them, so
	// one datacenter of many servers at the pace gossip.LAN stands for these.
	Pace gossip.Profile
	Seed uint64
}

// Change is what a server learned.
type Change struct {
	At   time.Time
	Kind gossip.Kind
	Of   string // name in the pool
}

// Server is one simulated server.
type Server struct {
	Name string // in the pool
	Site string
	Pool *wan.Pool

	i, n int // the n-th of the i-th datacenter
	end  *end
	reg  *prometheus.Registry

	mu      sync.Mutex
	changes []Change
}

// Federation is what is simulated. One goroutine drives it.
type Federation struct {
	Servers []*Server
	spec    Spec
	net     *network
	perSite map[int]int
}

// Site is the name of the i-th datacenter, from 0.
func Site(i int) string { return fmt.Sprintf("dc%d", i+1) }

// New starts all servers and joins each to the first.
func New(s Spec) (*Federation, error) {
	f := &Federation{spec: s, net: newNetwork(s.Seed), perSite: map[int]int{}}
	for i := range s.RoundTrips {
		for j := range i {
			f.net.model.Set(Site(i), Site(j), f.link(i, j))
		}
	}
	for i := range s.RoundTrips {
		for range s.Servers {
			if _, err := f.Add(i); err != nil {
				return nil, errors.Join(err, f.Stop())
			}
		}
	}
	return f, nil
}

func (f *Federation) link(i, j int) wanem.Link {
	rtt := f.spec.RoundTrips[i][j]
	return wanem.Link{RTT: rtt, Loss: f.spec.Loss, Jitter: time.Duration(f.spec.Jitter * float64(rtt) / 2)}
}

// Add starts a new server of the i-th datacenter and joins it to the first that is
// reached.
func (f *Federation) Add(i int) (*Server, error) {
	f.perSite[i]++
	return f.start(i, f.perSite[i])
}

// start starts the n-th server of the i-th datacenter, for the first time or again.
func (f *Federation) start(i, n int) (*Server, error) {
	name := fmt.Sprintf("s%d", n)
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(n >> 8), byte(n)}), wanPort)
	s := &Server{Name: wan.FullName(name, Site(i)), Site: Site(i), i: i, n: n, end: f.net.listen(Site(i), addr), reg: prometheus.NewRegistry()}
	p, err := wan.Start(wan.Config{
		Self: wan.Server{Name: name, ID: fmt.Sprintf("%08d-0000-0000-0000-%012d", i, n), Datacenter: Site(i), RPCPort: 8300,
			WANPort: wanPort, Build: "1.0.0", Status: gossip.Alive},
		Transport: func(judge func([]byte)) memberlist.NodeAwareTransport { s.end.judge = judge; return s.end },
		Profile:   f.spec.Pace, Timing: f.spec.Timing, OnChange: s.changed, Registerer: s.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", s.Name, err)
	}
	s.Pool = p
	if first := f.reached(); first != nil {
		for try := 0; ; try++ {
			if _, err = p.Join([]string{first.Name + "/" + first.end.addr.String()}); err == nil {
				break
			}
			if try == joins {
				return nil, errors.Join(fmt.Errorf("simulate %s: %w", s.Name, err), p.Stop(context.Background()))
			}
		}
	}
	f.Servers = append(f.Servers, s)
	return s, nil
}

// reached is the first server that is not parted from the others; nil if there is none.
func (f *Federation) reached() *Server {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	for _, s := range f.Servers {
		if !s.end.frozen {
			return s
		}
	}
	return nil
}

const (
	wanPort = 8302
	joins   = 5 // attempts to join: the way may be lossy
)

func (s *Server) changed(e wan.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range e.Members {
		s.changes = append(s.changes, Change{At: e.At, Kind: e.Kind, Of: m.Name})
	}
}

// Changes returns what a server learned since a time.
func (s *Server) Changes(since time.Time) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Change
	for _, c := range s.changes {
		if c.At.After(since) {
			out = append(out, c)
		}
	}
	return out
}

// Learned is when the server first saw a change of a kind after a time.
func (s *Server) Learned(kind gossip.Kind, of string, since time.Time) (time.Time, bool) {
	for _, c := range s.Changes(since) {
		if c.Kind == kind && c.Of == of {
			return c.At, true
		}
	}
	return time.Time{}, false
}

// Spread is how long it took until all servers but the one itself saw a
// change; false if some have not yet.
func (f *Federation) Spread(kind gossip.Kind, of string, since time.Time) (first, all time.Duration, ok bool) {
	for _, s := range f.Servers {
		if s.Name == of {
			continue
		}
		at, ok := s.Learned(kind, of, since)
		if !ok {
			return 0, 0, false
		}
		if took := at.Sub(since); first == 0 || took < first {
			first = took
		}
		all = max(all, at.Sub(since))
	}
	return first, all, true
}

// Freeze parts one server from all others, or ends that.
func (f *Federation) Freeze(s *Server, frozen bool) {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	s.end.frozen = frozen
}

// Cut parts two datacenters from each other, or ends that.
func (f *Federation) Cut(i, j int, cut bool) {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	l := f.link(i, j)
	l.Cut = cut
	f.net.model.Set(Site(i), Site(j), l)
}

// Sent is what a server has sent so far.
func (f *Federation) Sent(s *Server) Traffic {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	return s.end.sent
}

// Total reads a counter, summed over its labels.
func (s *Server) Total(metric string) (float64, error) {
	families, err := s.reg.Gather()
	if err != nil {
		return 0, fmt.Errorf("read metrics of %s: %w", s.Name, err)
	}
	sum := 0.
	for _, family := range families {
		if family.GetName() != metric {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum, nil
}

// Run lets time pass.
func (f *Federation) Run(d time.Duration) { <-time.After(d) }

// settle is how long a stopped pool's attempts to reach others may go on.
const settle = time.Minute

// ErrTooLarge says that packets were lost because they do not fit a datagram
// between datacenters. No scenario may lose any.
var ErrTooLarge = errors.New("packets were too large for a datagram")

// Stop ends all servers. It returns ErrTooLarge if any of them tried to send what
// no datagram carries.
func (f *Federation) Stop() error {
	var errs []error
	for _, s := range f.Servers {
		errs = append(errs, s.Pool.Stop(context.Background()))
	}
	f.Run(settle)
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	if f.net.large > 0 {
		errs = append(errs, fmt.Errorf("%w: %d", ErrTooLarge, f.net.large))
	}
	return errors.Join(errs...)
}

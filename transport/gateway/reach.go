package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/relay"
)

const (
	// stagger is after how long without an answer the next gateway is asked as well.
	stagger = 250 * time.Millisecond
	// maxGateways bounds the gateways that are tried for one server.
	maxGateways = 8
	// registerEvery is how often a server says that it is to be reached through a gateway; after
	// a failure it is soon.
	registerEvery  = 5 * time.Second
	registerAgain  = time.Second
	registerWithin = 3 * time.Second
	// doubtAfter is after how long without an answer it is said that a gateway is not reached.
	doubtAfter = time.Second
	// watchEvery is how often the gateway of flows that end here is asked whether it lives, while
	// something is sent over them; it is given up, and its flows with it, after watchWithin and four
	// round trips.
	watchEvery  = 200 * time.Millisecond
	watchWithin = 300 * time.Millisecond
	// tellFor is how long who fell silent is to be told of what ended meanwhile; flows without a
	// packet end by themselves after as long.
	tellFor = idleAfter
	// avoidFor is how long a gateway that was given up is asked last.
	avoidFor = 10 * time.Second
)

// own is a flow from here through one gateway. mu is held while it is opened.
type own struct {
	way Way
	mu  sync.Mutex
	in  relay.Label // 0 before the first
}

// Way is how a server of another datacenter is reached.
type Way struct {
	Server string // node.datacenter; empty for who is at Addr
	// Gateways are what is asked for a flow to it, addresses in order of preference.
	Gateways []string
	// Addr and Via say how they reach it where it is not registered with them: at its address,
	// or through gateways that it has.
	Addr string
	Via  []string
	// Through are servers, node.datacenter, that carry the flow after the one that is asked.
	Through []string
}

// Route opens a flow to a server through one of the gateways, and returns the address that
// stands for it. The first gateway has a head start before the next.
func (r *Relay) Route(ctx context.Context, w Way) (*net.UDPAddr, error) {
	gateways := r.answering(ctx, w)
	if len(gateways) == 0 {
		return nil, errNoGateway
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		addr *net.UDPAddr
		err  error
	}
	results := make(chan result, len(gateways))
	try := func(gateway string) error {
		return r.group.Spawn("open a flow", func(context.Context) {
			addr, err := r.through(ctx, w, gateway)
			results <- result{addr, err}
		})
	}
	var errs []error
	next := time.NewTimer(0)
	defer next.Stop()
	for pending := 0; pending > 0 || len(gateways) > 0; {
		select {
		case <-next.C:
			if len(gateways) == 0 {
				continue
			}
			if err := try(gateways[0]); err != nil {
				return nil, err
			}
			gateways = gateways[1:]
			pending++
			next.Reset(stagger)
		case got := <-results:
			if got.err == nil {
				return got.addr, nil
			}
			pending--
			errs = append(errs, got.err)
			next.Reset(0)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errors.Join(errs...)
}

// answering orders gateways: the nearest first, and those last that were given up a moment ago.
func (r *Relay) answering(ctx context.Context, w Way) []string {
	var now, late []string
	r.mu.Lock()
	for _, g := range w.Gateways {
		if time.Since(r.silent[g]) > avoidFor {
			now = append(now, g)
		} else {
			late = append(late, g)
		}
	}
	r.mu.Unlock()
	now = r.nearest(ctx, w, now[:min(len(now), maxGateways)])
	now = append(now, late...)
	return now[:min(len(now), maxGateways)]
}

// through opens a flow through one gateway. Asked again it makes sure that the flow goes
// on.
func (r *Relay) through(ctx context.Context, w Way, gateway string) (*net.UDPAddr, error) {
	to := transport.Target{Addr: gateway}
	remote, err := r.cfg.Endpoint.Reach(ctx, to, Protocol)
	if err != nil {
		r.unreached(gateway, err)
		return nil, fmt.Errorf("gateway %s: %w", gateway, err)
	}
	s, err := r.session(remote)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", gateway, err)
	}
	r.mu.Lock()
	s.named = gateway
	way := strings.Join(append([]string{cmp.Or(w.Server, w.Addr)}, w.Through...), " ")
	o := s.own[way]
	if o == nil {
		o = &own{way: Way{Server: w.Server, Gateways: []string{gateway}, Through: w.Through}}
		s.own[way] = o
	}
	r.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	addr, err := r.openOwn(ctx, s, o, request{Do: doOpen, Server: w.Server, Addr: w.Addr, Via: w.Via, Through: w.Through})
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", gateway, err)
	}
	if w.Through == nil {
		r.uses(gateway, w.Server)
	}
	return addr, nil
}

func (r *Relay) openOwn(ctx context.Context, s *session, o *own, q request) (*net.UDPAddr, error) {
	in, first := o.in, o.in == 0
	if first {
		var err error
		if in, err = r.cfg.Board.Reserve(s.neighbor); err != nil {
			return nil, err
		}
	}
	q.Label = in
	a, err := s.ask(ctx, q)
	if err == nil {
		f := &flow{ends: []end{{s, in, a.Label}}, way: &o.way}
		if f.local, err = r.cfg.Board.End(f.ends[0].hop()); err == nil {
			_, err = r.add(f)
		}
		if err == nil {
			o.in = in
			r.watch(s)
			return f.local, nil
		}
	}
	if !first && !errors.As(err, new(*refused)) {
		return nil, err // nobody says that it has ended: that is for watch to find out
	}
	r.mu.Lock()
	maps.DeleteFunc(s.own, func(_ string, other *own) bool { return other == o })
	delete(s.flows, in)
	r.mu.Unlock()
	r.cfg.Board.Release(in)
	o.in = 0
	return nil, err
}

// watch has the other end of a session asked whether it lives while flows go over it.
func (r *Relay) watch(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.watched {
		return
	}
	s.watched = r.group.Spawn("watch a session", func(ctx context.Context) {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		var last activity
		for r.inUse(s) {
			select {
			case <-ctx.Done():
				return
			case <-s.remote.Link.Done():
				return
			case <-tick.C:
			}
			now := r.activity(s)
			// Asked twice: a moment in which this machine stood still says nothing of the other.
			if now.doubtful(last) && !r.lives(ctx, s) && !r.lives(ctx, s) {
				r.giveUp(s)
			}
			last = now
		}
	}) == nil
}

// inUse reports whether flows go over a session; if not it is watched no more.
func (r *Relay) inUse(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.watched = len(s.flows) > 0
	return s.watched
}

// activity is what went over a session's flows: packets from here over those that end here, and
// packets that others sent over it and got over it.
type activity struct{ sent, carried, came uint64 }

// doubtful reports whether packets left of which nobody says that they arrive: of those that are
// carried the answers are seen.
func (a activity) doubtful(before activity) bool {
	return a.sent != before.sent || a.carried != before.carried && a.came == before.came
}

func (r *Relay) activity(s *session) (a activity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range s.flows {
		for _, e := range f.ends {
			t := r.cfg.Board.Traffic(e.in)
			switch {
			case len(f.ends) == 1:
				a.sent += t.Sent
			case e.s == s:
				a.came += t.Packets
			default:
				a.carried += t.Packets
			}
		}
	}
	return a
}

func (r *Relay) lives(ctx context.Context, s *session) bool {
	ctx, cancel := context.WithTimeout(ctx, watchWithin+4*s.remote.Link.RTT())
	defer cancel()
	_, err := s.ask(ctx, request{Do: doPing})
	return err == nil
}

// giveUp ends the flows over a session whose other end fell silent. Connections over those
// that end here are dialled another way; of those that are carried the other end is told.
func (r *Relay) giveUp(s *session) {
	r.log.Warn("who carries flows, or has them carried, does not answer: what went there goes another way", "address", s.remote.Addr.String(), "server", s.remote.Peer.FullName())
	r.mu.Lock()
	over := slices.Collect(maps.Values(s.flows))
	for _, f := range over {
		r.release(f)
	}
	maps.DeleteFunc(r.silent, func(_ string, since time.Time) bool { return time.Since(since) > avoidFor })
	if s.named != "" {
		r.silent[s.named] = time.Now()
	}
	again := s.named == "" && r.registered[s.remote.Peer.FullName()] != s
	r.mu.Unlock()
	if again { // nothing is asked there before it was dialled anew
		s.remote.Link.End("no answer")
	}
	r.cfg.Silent(s.remote)
	r.gone(s, over...)
	r.tellOnceHeard(s, over)
}

// tellOnceHeard tells the other end of a session, if it is heard of again, that flows have ended
// meanwhile: it may have found another way here, and would send over them for ever.
func (r *Relay) tellOnceHeard(s *session, over []*flow) {
	if len(over) == 0 {
		return
	}
	_ = r.group.Spawn("tell of flows that have ended", func(ctx context.Context) {
		for end := time.Now().Add(tellFor); time.Now().Before(end); {
			if r.lives(ctx, s) {
				for _, f := range over {
					for _, e := range f.ends {
						if e.s == s {
							r.tell(e)
						}
					}
				}
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-s.remote.Link.Done():
				return
			case <-time.After(registerAgain):
			}
		}
	})
}

// Registered is a gateway that this server is to be reached through.
type Registered struct {
	Gateway  string // as it was named
	Observed string // where the gateway sees this server; empty while it does not
	Err      error  // why it is not registered
}

// kept counts the gateways that this server is to be reached through.
type kept struct{ registered, failing atomic.Int64 }

// Keep registers with gateways until the group ends, and tells of each change of what came of
// it. The addresses are asked for each time.
func (r *Relay) Keep(gateways func() []string, changed func([]Registered)) error {
	return r.group.Go("register with gateways", func(ctx context.Context) {
		var last []Registered
		for {
			now := r.registerAll(ctx, gateways())
			failing := 0
			for _, g := range now {
				if g.Err != nil {
					failing++
				}
			}
			r.kept.registered.Store(int64(len(now) - failing))
			r.kept.failing.Store(int64(failing))
			if !slices.EqualFunc(last, now, Registered.same) {
				changed(now)
				last = now
			}
			wait := registerEvery
			if failing > 0 {
				wait = registerAgain
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			case <-r.again:
			}
		}
	})
}

// Again has this server register anew now: connections to gateways are about to be replaced,
// and flows to it are to go over those that come.
func (r *Relay) Again() {
	select {
	case r.again <- struct{}{}:
	default: // it is about to
	}
}

func (g Registered) same(h Registered) bool {
	return g.Gateway == h.Gateway && g.Observed == h.Observed && (g.Err == nil) == (h.Err == nil)
}

// registerAll registers with all gateways at once.
func (r *Relay) registerAll(ctx context.Context, gateways []string) []Registered {
	gateways = gateways[:min(len(gateways), maxGateways)]
	out := make([]Registered, len(gateways))
	var wg sync.WaitGroup
	for i, gateway := range gateways {
		wg.Add(1)
		out[i] = Registered{Gateway: gateway}
		err := r.group.Spawn("register", func(context.Context) {
			defer wg.Done()
			out[i].Observed, out[i].Err = r.register(ctx, gateway)
		})
		if err != nil {
			out[i].Err = err
			wg.Done()
		}
	}
	wg.Wait()
	return out
}

// register has this server reached through a gateway, and returns where that sees it.
func (r *Relay) register(ctx context.Context, gateway string) (observed string, err error) {
	ctx, cancel := context.WithTimeout(ctx, registerWithin)
	defer cancel()
	doubt := time.AfterFunc(doubtAfter, func() { r.cfg.Unreached(gateway) })
	defer doubt.Stop()
	a, err := r.ask(ctx, transport.Target{Addr: gateway}, request{Do: doRegister})
	if err != nil {
		r.unreached(gateway, err)
		if errors.Is(err, context.DeadlineExceeded) {
			return "", fmt.Errorf("nobody answers there within %s: no gateway has this address, or a filter drops UDP on the way there or back (%w)", registerWithin, err)
		}
		return "", err
	}
	if _, err := netip.ParseAddrPort(a.Observed); err != nil {
		return "", fmt.Errorf("gateway %s says that it sees this server at %.60q", gateway, a.Observed)
	}
	return a.Observed, nil
}

// unreached tells of a gateway that is not reached, unless that refuses, or nobody waits any more.
func (r *Relay) unreached(gateway string, err error) {
	if !errors.As(err, new(*refused)) && !errors.Is(err, transport.ErrRefused) && !errors.Is(err, context.Canceled) {
		r.cfg.Unreached(gateway)
	}
}

// Servers lists who is reached through a gateway, node.datacenter.
func (r *Relay) Servers(ctx context.Context, gateway string) ([]string, error) {
	a, err := r.ask(ctx, transport.Target{Addr: gateway}, request{Do: doList})
	if err != nil {
		return nil, fmt.Errorf("ask gateway %s whom it reaches: %w", gateway, err)
	}
	return a.Servers, nil
}

package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
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
	// watchEvery is how often the gateway of flows that end here is asked whether it lives, while
	// something is sent over them; it is given up, and its flows with it, after watchWithin and four
	// round trips.
	watchEvery  = 200 * time.Millisecond
	watchWithin = 300 * time.Millisecond
	// avoidFor is how long a gateway that was given up is asked last.
	avoidFor = 10 * time.Second
)

var errGivenUp = errors.New("the gateway to it does not answer")

// own is a flow from here through one gateway. mu is held while it is opened.
type own struct {
	mu sync.Mutex
	in relay.Label // 0 before the first
}

// Way is how a server of another datacenter is reached.
type Way struct {
	Server string // node.datacenter
	// Gateways are what is asked for a flow to it, addresses in order of preference.
	Gateways []string
	// Addr and Via say how they reach it where it is not registered with them: at its address,
	// or through gateways that it has.
	Addr string
	Via  []string
}

// Route opens a flow to a server through one of the gateways, and returns the address that
// stands for it. The first gateway has a head start before the next.
func (r *Relay) Route(ctx context.Context, w Way) (*net.UDPAddr, error) {
	gateways := w.Gateways
	gateways = r.answering(gateways)
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

// answering orders gateways: those that were given up a moment ago are asked last.
func (r *Relay) answering(gateways []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var now, late []string
	for _, g := range gateways {
		if time.Since(r.silent[g]) > avoidFor {
			now = append(now, g)
		} else {
			late = append(late, g)
		}
	}
	now = append(now, late...)
	return now[:min(len(now), maxGateways)]
}

// through opens a flow through one gateway. Asked again it makes sure that the flow goes
// on.
func (r *Relay) through(ctx context.Context, w Way, gateway string) (*net.UDPAddr, error) {
	to := transport.Target{Addr: gateway}
	remote, err := r.cfg.Endpoint.Reach(ctx, to, Protocol)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", gateway, err)
	}
	s, err := r.session(remote)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", gateway, err)
	}
	r.mu.Lock()
	s.named = gateway
	o := s.own[w.Server]
	if o == nil {
		o = &own{}
		s.own[w.Server] = o
	}
	r.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	addr, err := r.openOwn(ctx, s, o, request{Do: doOpen, Server: w.Server, Addr: w.Addr, Via: w.Via})
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", gateway, err)
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
		f := &flow{ends: []end{{s, in, a.Label}}}
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
	if s.own[q.Server] == o {
		delete(s.own, q.Server)
	}
	delete(s.flows, in)
	r.mu.Unlock()
	r.cfg.Board.Release(in)
	o.in = 0
	return nil, err
}

// watch has the gateway of a session asked whether it lives while flows that end here go
// through it.
func (r *Relay) watch(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.watched {
		return
	}
	s.watched = r.group.Spawn("watch a gateway", func(ctx context.Context) {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		var last uint64
		for r.inUse(s) {
			select {
			case <-ctx.Done():
				return
			case <-s.remote.Link.Done():
				return
			case <-tick.C:
			}
			now := r.sent(s)
			// Asked twice: a moment in which this machine stood still says nothing of the gateway.
			if now != last && !r.lives(ctx, s) && !r.lives(ctx, s) {
				r.giveUp(s)
			}
			last = now
		}
	}) == nil
}

// inUse reports whether flows that end here go through the gateway; if not it is watched
// no more.
func (r *Relay) inUse(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.watched = false
	for _, f := range s.flows {
		s.watched = s.watched || len(f.ends) == 1
	}
	return s.watched
}

// sent counts what was sent from here over flows through a gateway.
func (r *Relay) sent(s *session) (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for in := range s.flows {
		n += r.cfg.Board.Traffic(in).Sent
	}
	return n
}

func (r *Relay) lives(ctx context.Context, s *session) bool {
	ctx, cancel := context.WithTimeout(ctx, watchWithin+4*s.remote.Link.RTT())
	defer cancel()
	_, err := s.ask(ctx, request{Do: doPing})
	return err == nil
}

// giveUp ends the flows that end here and go through a gateway that fell silent, and the
// connections over them: they are dialled through others.
func (r *Relay) giveUp(s *session) {
	r.log.Warn("a gateway does not answer: what went through it goes another way", "gateway", s.remote.Addr.String())
	var lost []net.Addr
	r.mu.Lock()
	for _, f := range s.flows {
		if len(f.ends) == 1 {
			lost = append(lost, f.local)
			r.release(f)
		}
	}
	maps.DeleteFunc(r.silent, func(_ string, since time.Time) bool { return time.Since(since) > avoidFor })
	if s.named != "" {
		r.silent[s.named] = time.Now()
	}
	r.mu.Unlock()
	for _, addr := range lost {
		r.cfg.Endpoint.Lose(addr, errGivenUp.Error())
	}
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
	a, err := r.ask(ctx, transport.Target{Addr: gateway}, request{Do: doRegister})
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddrPort(a.Observed); err != nil {
		return "", fmt.Errorf("gateway %s says that it sees this server at %.60q", gateway, a.Observed)
	}
	return a.Observed, nil
}

// Servers lists who is reached through a gateway, node.datacenter.
func (r *Relay) Servers(ctx context.Context, gateway string) ([]string, error) {
	a, err := r.ask(ctx, transport.Target{Addr: gateway}, request{Do: doList})
	if err != nil {
		return nil, fmt.Errorf("ask gateway %s whom it reaches: %w", gateway, err)
	}
	return a.Servers, nil
}

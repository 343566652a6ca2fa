package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport/address"
	"github.com/legate-project/legate/transport/greeting"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

const (
	// maxGateways bounds the gateways that are watched at a time; one of which nothing is
	// heard for forgetAfter is not any more.
	maxGateways = 64
	forgetAfter = 5 * time.Minute
	// maxDoubts is after how many complaints in a row, each within doubtFor of the one before, the
	// tunnel is tried although UDP answers: a filter may let through what asks, and no more.
	maxDoubts = 3
	doubtFor  = 15 * time.Second
	// probeEvery is how often UDP is tried while the tunnel is in use, and backAfter how many
	// answers in a row it takes to leave it, twice as many, up to mostBack, each time that UDP
	// failed again within settled.
	probeEvery = 10 * time.Second
	backAfter  = 2
	mostBack   = 32
	settled    = 5 * time.Minute
	// firstPause and lastPause bound the pause after a tunnel that did not come about, or that broke
	// within lastPause as the one before it had.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// A tunnel that was left is closed when nothing has come from it for quietFor, and after
	// leaveFor in any case.
	quietFor = 5 * time.Second
	leaveFor = time.Minute
)

// KeeperConfig makes a Keeper.
type KeeperConfig struct {
	// Identity and Board are those of the endpoint whose packets are carried. Required.
	Identity Identity
	Board    *relay.Board
	// Port is that of TCP at which a gateway takes tunnels; 0 if it takes none. Required.
	Port func(gateway string) int
	// Local is the address that is asked from; nil leaves it to the host.
	Local net.IP
	// Changed is told when another way than before leads to a gateway; it must not block. Nil
	// tells nobody.
	Changed func(gateway string, tcp bool)
	// probe reports whether UDP gets through; nil asks the gateway.
	probe func(ctx context.Context, at *net.UDPAddr, local net.IP) bool
	// dial makes a connection to a gateway; nil is dial.
	dial func(ctx context.Context, id Identity, addr string, local net.IP) (net.Conn, identity.Peer, error)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Keeper has what goes to gateways go by TCP while UDP does not get through. It is safe for
// concurrent use.
type Keeper struct {
	cfg     KeeperConfig
	log     *slog.Logger
	group   *lifecycle.Group
	metrics *metrics

	mu    sync.Mutex
	all   map[string]*way
	inUse map[string]bool
}

// way is one to a gateway that is watched, by a goroutine of its own.
type way struct {
	name    string
	trouble chan struct{} // somebody does not reach it
	renew   chan struct{} // its tunnel is to be made anew

	mu  sync.Mutex
	udp string // where it is, as looked up last

	back   int       // answers in a row that it takes to leave a tunnel
	left   time.Time // when one was left last
	pause  time.Duration
	broke  bool // the last tunnel did, soon
	doubts int
	doubt  time.Time // when the last came
}

// NewKeeper returns a keeper that watches nobody yet.
func NewKeeper(cfg KeeperConfig) *Keeper {
	if cfg.Changed == nil {
		cfg.Changed = func(string, bool) {}
	}
	if cfg.probe == nil {
		cfg.probe = greeting.Probe
	}
	if cfg.dial == nil {
		cfg.dial = dial
	}
	if cfg.Log == nil {
		cfg.Log = logging.Discard()
	}
	return &Keeper{cfg: cfg, log: cfg.Log, group: lifecycle.New("ways to gateways"), metrics: newMetrics(cfg.Registerer), all: map[string]*way{}, inUse: map[string]bool{}}
}

// Stop ends all tunnels.
func (k *Keeper) Stop(ctx context.Context) error {
	defer k.metrics.unregister()
	return k.group.Stop(ctx)
}

// Watch has a gateway, host and port of UDP, watched. One that was not is asked at once whether UDP
// gets through. It never blocks.
func (k *Keeper) Watch(name string) { k.watched(name) }

// Doubt is told that a gateway is not reached, which may be for want of UDP. It never blocks.
func (k *Keeper) Doubt(name string) {
	if g := k.watched(name); g != nil {
		notify(g.trouble)
	}
}

// DoubtAt is Doubt of a gateway that is watched, by its address of UDP.
func (k *Keeper) DoubtAt(addr string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range k.all {
		if g.at("") == addr {
			notify(g.trouble)
		}
	}
}

// Renew makes all tunnels anew: who is at their other ends is proven again.
func (k *Keeper) Renew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range k.all {
		notify(g.renew)
	}
}

// InUse are the gateways that are reached by TCP now, in order of their names.
func (k *Keeper) InUse() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.inUse))
}

// changed notes whether a gateway is reached by TCP, and tells of it.
func (k *Keeper) changed(name string, tcp bool) {
	k.mu.Lock()
	if tcp {
		k.inUse[name] = true
	} else {
		delete(k.inUse, name)
	}
	k.mu.Unlock()
	k.cfg.Changed(name, tcp)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been told
	}
}

// at is the address of a gateway as it was looked up last, after noting a new one.
func (g *way) at(now string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now != "" {
		g.udp = now
	}
	return g.udp
}

func (k *Keeper) watched(name string) *way {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.all[name]; g != nil {
		return g
	}
	if len(k.all) >= maxGateways || k.cfg.Port(name) <= 0 {
		return nil
	}
	g := &way{name: name, trouble: make(chan struct{}, 1), renew: make(chan struct{}, 1), back: backAfter, pause: firstPause}
	if err := k.group.Spawn("way to a gateway", func(ctx context.Context) { k.watch(ctx, g) }); err != nil {
		return nil
	}
	k.all[name] = g
	notify(g.trouble)
	return g
}

// watch goes from UDP to a tunnel and back, until nothing is heard of the gateway for long.
func (k *Keeper) watch(ctx context.Context, g *way) {
	defer func() {
		k.mu.Lock()
		delete(k.all, g.name)
		k.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(forgetAfter):
			return
		case <-g.renew:
			continue
		case <-g.trouble:
		}
		at, err := address.Resolve(ctx, g.name)
		if err != nil {
			k.log.Debug("the address of a gateway was not found", "gateway", g.name, "error", err)
			continue // who needs it says so again
		}
		g.at(at.String())
		if k.cfg.probe(ctx, at, k.cfg.Local) && !g.doubtful(time.Now()) {
			continue
		}
		if !k.tunnel(ctx, g, at) {
			return
		}
	}
}

// doubtful counts a complaint about a gateway that answers, and reports whether there were too
// many for its answers to count.
func (g *way) doubtful(now time.Time) bool {
	if now.Sub(g.doubt) > doubtFor {
		g.doubts = 0
	}
	g.doubts, g.doubt = g.doubts+1, now
	return g.doubts >= maxDoubts
}

// tunnel makes a tunnel and has it used until UDP gets through again, or it ends; false when it is
// time to stop.
func (k *Keeper) tunnel(ctx context.Context, g *way, at *net.UDPAddr) bool {
	l, err := k.dial(ctx, g, at)
	if err != nil {
		k.log.Debug("a gateway is not reached by TCP either", "gateway", g.name, "port", k.cfg.Port(g.name), "error", err)
		return g.rest(ctx)
	}
	began := time.Now()
	if !g.left.IsZero() && time.Since(g.left) < settled {
		g.back = min(2*g.back, mostBack)
	} else {
		g.back = backAfter
	}
	k.metrics.open.Inc()
	k.cfg.Board.Divert(at, l)
	k.log.Warn("UDP does not get through to a gateway: it is reached by TCP now", "gateway", g.name, "address", l.Seen(), "peer", l.peer.FullName())
	k.changed(g.name, true)
	why := k.use(ctx, g, l, at)
	k.cfg.Board.Divert(at, nil)
	k.metrics.open.Dec()
	g.doubts, g.left = 0, time.Now()
	if why == nil {
		k.log.Info("UDP gets through to a gateway again: the tunnel over TCP is left", "gateway", g.name)
	} else if ctx.Err() == nil {
		k.log.Warn("the tunnel over TCP to a gateway has ended", "gateway", g.name, "error", why)
		g.left = time.Time{} // UDP was not tried
		notify(g.trouble)
	}
	k.changed(g.name, false)
	if why == nil && k.group.Spawn("leave a tunnel", func(ctx context.Context) { drain(ctx, l) }) == nil {
		return true
	}
	l.end(errClosed)
	if g.soon(why, time.Since(began)) {
		return g.rest(ctx)
	}
	return ctx.Err() == nil
}

// soon reports whether a tunnel broke soon after it had come about, and the one before it, too: a
// gateway that takes tunnels and ends them is not to keep this server busy.
func (g *way) soon(why error, lasted time.Duration) (again bool) {
	switch {
	case errors.Is(why, errRenewed):
	case lasted >= lastPause:
		g.broke, g.pause = false, firstPause
	default:
		again, g.broke = g.broke, true
	}
	return again
}

// rest makes a pause, twice as long as the last; false when it is time to stop.
func (g *way) rest(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(g.pause):
	}
	g.pause = min(2*g.pause, lastPause)
	return true
}

func (k *Keeper) dial(ctx context.Context, g *way, at *net.UDPAddr) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, peer, err := k.cfg.dial(ctx, k.cfg.Identity, (&net.TCPAddr{IP: at.IP, Zone: at.Zone, Port: k.cfg.Port(g.name)}).String(), k.cfg.Local)
	if err != nil {
		return nil, err
	}
	l := newLink(conn, peer, k.metrics, func(b []byte) bool { return k.cfg.Board.Deliver(at, b) })
	return l, l.run(k.group)
}

// use returns nil when UDP has answered often enough in a row, else why the tunnel ended.
func (k *Keeper) use(ctx context.Context, g *way, l *link, at *net.UDPAddr) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for answers := 0; answers < g.back; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.gone:
			return fmt.Errorf("to %s: %w", l.Seen(), l.why)
		case <-g.renew:
			return errRenewed
		case <-tick.C:
		}
		if k.cfg.probe(ctx, at, k.cfg.Local) {
			answers++
		} else {
			answers = 0
		}
	}
	select {
	case <-g.trouble: // of the time before
	default:
	}
	return nil
}

// drain closes a tunnel that was left when nothing comes from it any more.
func drain(ctx context.Context, l *link) {
	deadline := time.After(leaveFor)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for l.idle() < quietFor {
		select {
		case <-ctx.Done():
			l.end(errClosed)
			return
		case <-l.gone:
			return
		case <-deadline:
			l.end(errClosed)
			return
		case <-tick.C:
		}
	}
	l.end(errClosed)
}

var (
	errRenewed = errors.New("it is made anew, since keys have changed")
	errTooMany = fmt.Errorf("its server has more than %d", maxOfPeer)
)

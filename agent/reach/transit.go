package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/legate-project/legate/agent/reach/links"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
	"github.com/legate-project/legate/transport/relay"
	"github.com/legate-project/legate/wan"
)

const (
	// headStart is how long a dial goes on alone before the next way is tried as well, and
	// headTrips for how many round trips, if that is more.
	headStart = 250 * time.Millisecond
	headTrips = 4
	// askWithin is how long others may take to say how they reach a datacenter, askMore how long
	// they are waited for when one has.
	askWithin = time.Second
	askMore   = 100 * time.Millisecond
	// askRounds is how often others are asked for one dial, and askPause how long after they were when what
	// they said leads nowhere: twice as long each time.
	askRounds = 6
	askPause  = 100 * time.Millisecond
	// maxCarriers bounds the servers that are asked to carry, maxOfOne those of one datacenter,
	// and maxWitnesses the others that are asked, so that people can be told.
	maxCarriers  = 8
	maxOfOne     = 2
	maxWitnesses = 4
	// tryEvery is how often direct links that do not work are looked at, tryWithin how long the
	// trial of one takes at most, and maxTries how many there are at a time.
	tryEvery  = 500 * time.Millisecond
	tryWithin = 1500 * time.Millisecond
	maxTries  = 4
	// askEvery is how often others are asked anew how they reach what is not reached directly.
	askEvery = 15 * time.Second
)

var (
	errNotLinked = errors.New("the configuration has no link to its datacenter (federation.links)")
	errNoPath    = errors.New("no server that carries for others (federation.transit) reaches it")
)

// peer is a server of another datacenter.
type peer struct {
	name, datacenter string
	target           transport.Target
	distance         time.Duration
	transit          bool
}

// unknownTrip stands for a round trip that is not known, maxTrip bounds one that is waited for.
const (
	unknownTrip = 100 * time.Millisecond
	maxTrip     = 500 * time.Millisecond
)

// trip is the round trip to a peer, as far as it is waited for.
func (p peer) trip() time.Duration {
	if p.distance <= 0 || p.distance == math.MaxInt64 {
		return unknownTrip
	}
	return min(p.distance, maxTrip)
}

// peersOf are the servers of other datacenters that live, the nearest first.
func (w *Ways) peersOf(servers []wan.Server, distance func(wan.Server) time.Duration) []peer {
	var out []peer
	for _, srv := range servers {
		if srv.Datacenter == w.cfg.Agent.Datacenter || srv.Status != gossip.Alive || srv.Via != "" {
			continue
		}
		p := peer{name: wan.FullName(srv.Name, srv.Datacenter), datacenter: srv.Datacenter, transit: srv.Transit, distance: distance(srv)}
		p.target = transport.Target{Addr: net.JoinHostPort(srv.Addr, strconv.Itoa(srv.WANPort)), NodeID: srv.ID, Name: p.name}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b peer) int { return cmp.Compare(a.distance, b.distance) })
	return out
}

// chart puts in order what is known of peers.
func (k *known) chart(peers []peer) {
	k.peers, k.byName, k.carriedTo = peers, map[string]peer{}, map[string]bool{}
	carriers := map[string]bool{}
	for _, p := range peers {
		k.byName[p.name] = p
		if p.transit {
			carriers[p.datacenter] = true
		}
	}
	for _, p := range peers {
		k.carriedTo[p.datacenter] = len(carriers) > 1 || len(carriers) == 1 && !carriers[p.datacenter]
	}
}

// of are the servers of a datacenter, the nearest first.
func (k *known) of(dc string) []peer {
	return slices.DeleteFunc(slices.Clone(k.peers), func(p peer) bool { return p.datacenter != dc })
}

// linked reports whether a datacenter is to be dialled directly.
func (w *Ways) linked(dc string) bool {
	list := w.cfg.Agent.Federation.Links
	return len(list) == 0 || slices.Contains(list, dc)
}

// Hasty reports whether a peer can be reached another way than by a connection.
func (w *Ways) hasty(r transport.Remote) bool {
	return w.known.Load().carriedTo[r.Peer.Datacenter] && !relay.Carried(r.Addr)
}

// silent is told of a peer that fell silent: whether others of its datacenter are reached
// the same way is found out now, and not by the next call.
func (w *Ways) silent(r transport.Remote) {
	w.deaf(r)
	dc := r.Peer.Datacenter
	if dc == w.cfg.Agent.Datacenter || relay.Carried(r.Addr) {
		return
	}
	w.table.Doubt(dc)
	w.wake()
	if !w.known.Load().carriedTo[dc] {
		return
	}
	for _, other := range w.endpoint.Remotes("") {
		if other.Peer.Datacenter == dc && !relay.Carried(other.Addr) {
			other.Link.Doubt()
		}
	}
}

// lost is told of a flow that ended: the way that it took is tried last, and others are asked anew.
func (w *Ways) lost(way gateway.Way) {
	for _, p := range w.known.Load().peers {
		if p.target.Addr == way.Gateways[0] {
			w.table.Lost(links.Datacenter(way.Server), links.Path{Through: append([]string{p.name}, way.Through...)})
		}
	}
}

func (w *Ways) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// reach dials a server directly, or through those that carry, or both: first what is known to work.
func (w *Ways) reach(ctx context.Context, k *known, name string, dial dialer) error {
	dc := links.Datacenter(name)
	direct := try{run: func(ctx context.Context) error {
		err := dial(ctx, nil)
		switch {
		case err == nil:
			w.works(dc)
		case ctx.Err() == nil:
			w.table.Doubt(dc)
			w.wake()
		}
		return err
	}}
	switch {
	case !w.linked(dc) && !k.carriedTo[dc]:
		return errNotLinked
	case !k.carriedTo[dc]:
		return direct.run(ctx)
	}
	carried := try{run: func(ctx context.Context) error { return w.carried(ctx, k, name, dial, 0) }, head: tryWithin}
	if !w.linked(dc) {
		return carried.run(ctx)
	}
	tries := []try{direct, carried}
	switch w.table.Direct(dc) {
	case links.Broken:
		tries = []try{carried, direct}
	case links.Unknown, links.Whole:
		tries[0].head = max(headStart, headTrips*k.byName[name].trip()/2)
	}
	_, err := race(ctx, w.group, tries)
	return err
}

// carried dials a server through those that carry, as others say now, and again if all that they
// said leads nowhere: they may not know yet of a link that died, or healed.
func (w *Ways) carried(ctx context.Context, k *known, name string, dial dialer, round int) error {
	dc := links.Datacenter(name)
	if !w.table.Fresh(dc) {
		w.ask(ctx, k, []string{dc}, false)
	}
	var tries []try
	for _, p := range w.table.Paths(dc) {
		if first, ok := k.byName[p.Through[0]]; ok {
			tries = append(tries, try{head: max(headStart, headTrips*p.RTT), run: func(ctx context.Context) error { return w.over(ctx, first, p, name, dial) }})
		}
	}
	if round+1 < askRounds {
		tries = append(tries, try{run: func(ctx context.Context) error {
			if round > 0 {
				select {
				case <-time.After(askPause << (round - 1)):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			w.table.Stale(dc)
			return w.carried(ctx, k, name, dial, round+1)
		}})
	}
	if len(tries) == 0 {
		return fmt.Errorf("%w: %s", errNoPath, dc)
	}
	_, err := race(ctx, w.group, tries)
	return err
}

// over dials a server over one path, which is tried last for a while if that leads nowhere.
func (w *Ways) over(ctx context.Context, first peer, p links.Path, name string, dial dialer) error {
	dc := links.Datacenter(name)
	addr, err := w.relay.Route(ctx, gateway.Way{Server: name, Gateways: []string{first.target.Addr}, Through: p.Through[1:]})
	if err == nil {
		err = dial(ctx, addr)
	}
	if err != nil {
		w.table.Failed(dc, p)
		return fmt.Errorf("through %s: %w", p.Key(), err)
	}
	if w.table.Chose(dc, p) {
		w.cfg.Log.Info("a datacenter is reached through others", "peer_datacenter", dc, "through", p.Datacenters(), "round_trip", p.RTT)
	}
	if w.table.Direct(dc) != links.Broken { // it lost a race, or healed while this was dialled: it is tried, and then this is left
		w.table.Doubt(dc)
		w.wake()
	}
	return nil
}

// works notes that a datacenter is reached directly.
func (w *Ways) works(dc string) {
	if w.table.Works(dc) {
		w.cfg.Log.Info("a datacenter is reached directly again", "peer_datacenter", dc)
		_ = w.group.Spawn("go directly", func(ctx context.Context) { w.settle(ctx, w.known.Load(), dc) })
	}
}

// settleAll has what is carried go directly to all datacenters whose link is not known to be broken: to a server,
// too, that was not reached when the link of its datacenter healed.
func (w *Ways) settleAll(ctx context.Context, k *known) {
	for _, dc := range slices.Sorted(maps.Keys(w.carriedFrom())) {
		if w.table.Direct(dc) != links.Broken {
			w.settle(ctx, k, dc)
		}
	}
}

// carriedFrom are the servers, by their datacenter, to which flows were opened here.
func (w *Ways) carriedFrom() map[string]map[string]bool {
	opened := w.relay.Opened()
	out := map[string]map[string]bool{}
	for _, r := range w.endpoint.Remotes("") {
		if dc := r.Peer.Datacenter; opened[r.Addr.String()] {
			if out[dc] == nil {
				out[dc] = map[string]bool{}
			}
			out[dc][r.Peer.FullName()] = true
		}
	}
	return out
}

// settle has what is carried to servers of a datacenter go directly, if they are reached so.
func (w *Ways) settle(ctx context.Context, k *known, dc string) {
	for name := range w.carriedFrom()[dc] {
		if p, ok := k.byName[name]; ok && w.direct(ctx, p) == nil {
			w.retire("it is reached directly", func(r transport.Remote) bool { return r.Peer.FullName() == name })
		}
	}
}

// retire has connections replaced that go over flows which were opened here.
func (w *Ways) retire(why string, match func(transport.Remote) bool) {
	opened := w.relay.Opened()
	w.endpoint.Retire(why, func(r transport.Remote) bool { return opened[r.Addr.String()] && match(r) })
}

// ask asks others how they reach datacenters: those that carry, and with all the nearest of other
// datacenters, too.
func (w *Ways) ask(ctx context.Context, k *known, dcs []string, all bool) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	asked := w.neighbors(k, dcs, all)
	type said struct {
		by     peer
		report gateway.Report
	}
	answers := make(chan said, len(asked))
	pending := 0
	for _, p := range asked {
		if w.group.Spawn("ask for paths", func(context.Context) {
			report, err := w.relay.Ask(ctx, p.target, dcs)
			if err != nil {
				report = gateway.Report{}
			}
			answers <- said{p, report}
		}) == nil {
			pending++
		}
	}
	paths, from, not := map[string][]links.Path{}, map[string][]string{}, map[string][]string{}
	for enough := (<-chan time.Time)(nil); pending > 0; pending-- {
		select {
		case <-ctx.Done():
			pending = 1
		case a := <-answers:
			for _, l := range a.report.Links {
				if l.Reached && !slices.Contains(from[l.Datacenter], a.by.datacenter) {
					from[l.Datacenter] = append(from[l.Datacenter], a.by.datacenter)
				}
				if !l.Reached {
					not[l.Datacenter] = append(not[l.Datacenter], a.by.name)
				}
				if p, ok := k.pathBy(a.by.name, a.report, l); ok {
					paths[l.Datacenter] = append(paths[l.Datacenter], p)
					if enough == nil {
						enough = time.After(max(askMore, a.report.RTT))
					}
				}
			}
		case <-enough:
			pending = 1
		}
	}
	for _, dc := range dcs {
		// What one says of another is older than what that one says.
		w.table.Heard(dc, slices.DeleteFunc(paths[dc], func(p links.Path) bool {
			return len(p.Through) == links.MaxTransits && slices.Contains(not[dc], p.Through[1])
		}), from[dc])
	}
}

// pathBy is the path over who said how a datacenter is reached from it. Whom that names must be
// known here: the name is shown to people.
func (k *known) pathBy(who string, r gateway.Report, l gateway.Link) (links.Path, bool) {
	p := links.Path{Through: []string{who}, RTT: r.RTT, Loss: r.Loss}
	next := links.Path{RTT: l.RTT, Loss: l.Loss}
	if !l.Reached {
		next.Through = []string{l.Through}
	}
	_, there := k.byName[l.Through]
	return p.Then(next), r.Carries && (l.Reached || there)
}

// neighbors are who is asked for ways to datacenters.
func (w *Ways) neighbors(k *known, dcs []string, all bool) []peer {
	var out []peer
	carriers, witnesses, of := 0, 0, map[string]int{}
	for _, p := range k.peers {
		switch {
		case len(dcs) == 1 && p.datacenter == dcs[0], !w.linked(p.datacenter), w.table.Direct(p.datacenter) == links.Broken:
		case p.transit && carriers < maxCarriers && of[p.datacenter] < maxOfOne:
			carriers++
			of[p.datacenter]++
			out = append(out, p)
		case !p.transit && all && witnesses < maxWitnesses && of[p.datacenter] == 0:
			witnesses++
			of[p.datacenter]++
			out = append(out, p)
		}
	}
	return out
}

// watch tries direct links that do not work, and keeps to better paths where they do not.
func (w *Ways) watch(ctx context.Context) {
	tick := time.NewTicker(tryEvery)
	defer tick.Stop()
	asked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.kick:
		}
		k := w.known.Load()
		for _, dc := range w.table.Due(maxTries) {
			_ = w.group.Spawn("try a direct link", func(ctx context.Context) { w.tryDirect(ctx, k, dc) })
		}
		if time.Since(asked) > askEvery {
			asked = time.Now()
			_ = w.group.Spawn("look for better paths", func(ctx context.Context) {
				w.better(ctx, k, w.table.BrokenOnes())
				w.settleAll(ctx, k)
			})
		}
	}
}

// better asks others again, and has what is carried go a better way if there is one.
func (w *Ways) better(ctx context.Context, k *known, broken []string) {
	for part := range slices.Chunk(broken, maxBroken) {
		w.ask(ctx, k, part, true)
		for _, dc := range part {
			if p, ok := w.table.Better(dc); ok {
				w.cfg.Log.Info("a better path to a datacenter", "peer_datacenter", dc, "through", p.Datacenters(), "round_trip", p.RTT)
				w.retire("another way is better", func(r transport.Remote) bool { return r.Peer.Datacenter == dc })
			}
		}
	}
}

// maxBroken is how many datacenters others are asked of at a time.
const maxBroken = 32

// tryDirect finds out whether a datacenter is reached directly. It is broken only if others reach it.
func (w *Ways) tryDirect(ctx context.Context, k *known, dc string) {
	servers := k.of(dc)
	if len(servers) == 0 || w.cfg.Refuse(dc) != nil {
		return
	}
	err := errNotLinked
	if w.linked(dc) {
		at := servers[int(w.tries.Add(1))%len(servers)]
		err = w.direct(ctx, at)
	}
	if err == nil {
		w.works(dc)
		w.settle(ctx, k, dc)
		return
	}
	if w.table.Direct(dc) == links.Broken {
		return
	}
	w.ask(ctx, k, []string{dc}, true)
	if from := w.table.Reached(dc); (len(from) > 0 || len(w.table.Paths(dc)) > 0) && w.table.Breaks(dc) {
		w.cfg.Log.Warn("a datacenter is not reached directly from here, but from others", "peer_datacenter", dc, "from", from, "error", err)
	}
}

// direct asks a server over the direct way.
func (w *Ways) direct(ctx context.Context, p peer) error {
	ctx, cancel := context.WithTimeout(ctx, tryWithin+headTrips*p.trip())
	defer cancel()
	return w.relay.Reaches(ctx, p.target)
}

// locate is where a server is that this one carries flows to.
func (w *Ways) locate(server string) (transport.Target, error) {
	p, ok := w.known.Load().byName[server]
	switch {
	case !ok:
		return transport.Target{}, fmt.Errorf("no server %.100q of another datacenter is known here, alive and reached directly", server)
	case w.cfg.Refuse(p.datacenter) != nil:
		return transport.Target{}, w.cfg.Refuse(p.datacenter)
	case !w.linked(p.datacenter) || w.table.Direct(p.datacenter) == links.Broken:
		return transport.Target{}, fmt.Errorf("datacenter %s is not reached from here", p.datacenter)
	}
	return p.target, nil
}

// tell says how datacenters are reached from here. What is not known is tried, if others are not
// being tried already.
func (w *Ways) tell(ctx context.Context, dcs []string) []gateway.Link {
	k := w.known.Load()
	measured := w.measure()
	var out []gateway.Link
	for _, dc := range dcs {
		servers := k.of(dc)
		if len(servers) == 0 || w.cfg.Refuse(dc) != nil || ctx.Err() != nil {
			continue
		}
		l, connected := measured[dc]
		l.Datacenter = dc
		switch state := w.table.Direct(dc); {
		case connected && state != links.Broken && state != links.Doubted:
			l.Reached = true
		case state != links.Broken && state != links.Doubted && w.linked(dc):
			l = w.tryFor(ctx, servers)
		default:
			l = w.onward(dc)
		}
		out = append(out, l)
	}
	return out
}

// tryFor tries a link that another server asks about.
func (w *Ways) tryFor(ctx context.Context, servers []peer) gateway.Link {
	l := gateway.Link{Datacenter: servers[0].datacenter}
	select {
	case w.trials <- struct{}{}:
		defer func() { <-w.trials }()
	default:
		return l
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if w.relay.Reaches(ctx, servers[0].target) == nil {
		w.works(l.Datacenter)
		l = w.measure()[l.Datacenter]
		l.Datacenter, l.Reached = servers[0].datacenter, true
		return l
	}
	w.table.Doubt(l.Datacenter)
	w.wake()
	return l
}

// onward is the way through one other server, which carries.
func (w *Ways) onward(dc string) gateway.Link {
	l := gateway.Link{Datacenter: dc}
	for _, p := range w.table.Paths(dc) {
		if len(p.Through) == 1 {
			l.Through, l.RTT, l.Loss = p.Through[0], p.RTT, p.Loss
			break
		}
	}
	return l
}

// measure is what connections that nobody carries show of the links to other datacenters.
func (w *Ways) measure() map[string]gateway.Link {
	out := map[string]gateway.Link{}
	for _, r := range w.endpoint.Remotes("") {
		dc, trip := r.Peer.Datacenter, r.Link.RTT()
		if trip == 0 || relay.Carried(r.Addr) {
			continue
		}
		l, ok := out[dc]
		if !ok || trip < l.RTT {
			l.RTT = trip
		}
		l.Loss = max(l.Loss, gateway.LossOf(r.Link))
		out[dc] = l
	}
	return out
}

// Datacenters are those of which peers are known.
func (k *known) datacenters() map[string]bool {
	out := map[string]bool{}
	for _, p := range k.peers {
		out[p.datacenter] = true
	}
	return out
}

// keep forgets what is known of datacenters that have no servers any more.
func (w *Ways) keep(k *known) {
	w.table.Keep(k.datacenters())
	for _, dc := range slices.Sorted(maps.Keys(k.datacenters())) {
		if !w.linked(dc) {
			w.table.Breaks(dc)
		}
	}
}

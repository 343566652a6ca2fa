// Package gateway agrees on flows (package relay) between servers that do not reach each
// other and gateways that both reach.
//
// A session is a connection of Protocol between a server and a gateway; either may have
// dialled, and both have proven who they are. A server registers with the gateways that it
// is to be reached through. Who wants to reach it asks one of them for a flow, and dials
// over that: who answers proves again who it is, end to end. So a gateway can delay and
// drop, and see who talks to whom and how much; it cannot read, change or answer.
//
// Packets of flows come from the address that the session has. A flow ends with either of
// its sessions.
//
// What peers may have here is bounded: sessions, flows of each, and bytes a second of each
// pair.
package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

const (
	// maxSessions bounds the sessions of one process, maxOfPeer those with one peer, and
	// maxFlows the flows of one of them.
	maxSessions = 4096
	maxOfPeer   = 16
	maxFlows    = 1024
	// maxPair bounds the flows that one peer has to one server: a server needs one, a gateway
	// one for each server behind it.
	maxPair = 64
	// maxDials bounds the dials of a gateway at a time for one session, of which one takes
	// dialTime at most, maxVia the gateways of a
	// server that are tried, and maxAddr what they are named by, in bytes.
	maxDials = 8
	dialTime = 6 * time.Second
	maxVia   = 3
	maxAddr  = 260
	// maxQuestions is how many questions about paths a second are answered in one session, and
	// burstQuestions how many at once: each may have links tried.
	maxQuestions   = 8
	burstQuestions = 64
	// maxListed bounds the servers that a gateway lists.
	maxListed = 256
	// openTimeout is how long a flow may take to come about, tellTimeout the news that one
	// has ended.
	openTimeout = 3 * time.Second
	// trialTimeout is how long the next gateway may take to be reached while there is another.
	trialTimeout = time.Second
	tellTimeout  = 2 * time.Second
	// maxHops bounds the gateways of one flow.
	maxHops = 2
	// DefaultRate is how many bytes a second are carried for one pair of servers.
	DefaultRate = 128 << 20
	// burstTime is how much of a second's bytes may come at once.
	burstTime = 4
	// idleAfter is after how long without a packet a flow ends. Connections over it send
	// more often.
	idleAfter = 2 * time.Minute
	// sessionIdle is after how long without a question a session is closed, by who dialled;
	// those with flows are asked more often.
	sessionIdle = 2 * time.Minute
	// sweepEvery is how often such flows are looked for.
	sweepEvery = 30 * time.Second
)

// Config makes a Relay.
type Config struct {
	// Endpoint has a socket that Board carries packets over.
	Endpoint *transport.Endpoint
	Board    *relay.Board
	// Carries says that flows of others are carried: it is a gateway.
	Carries bool
	// Rate is how many bytes a second are carried for one pair of servers, both directions
	// together; 0 is DefaultRate.
	Rate int
	// Locate is where another server, node.datacenter, takes flows that this one carries to it, or
	// why it carries none there; nil if it carries none but as a gateway.
	Locate func(server string) (transport.Target, error)
	// Links says how datacenters are reached from here; nil if others are not told.
	Links func(ctx context.Context, datacenters []string) []Link
	// Silent is told of each peer that was given up because its session fell silent; it must not
	// block. Nil tells nobody.
	Silent func(transport.Remote)
	// Lost is told of each flow that was opened from here and that somebody ended, or that led
	// through who fell silent; it must not block. Nil tells nobody.
	Lost func(Way)
	// Unreached is told of each gateway, as it is named, to which no connection came about; it must
	// not block. Nil tells nobody.
	Unreached func(gateway string)
	// Refuse returns why servers of a datacenter are refused; nil refuses none.
	Refuse func(datacenter string) error

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Relay is what one endpoint does about flows: it has some of its own, and carries those of
// others if it is a gateway. It is safe for concurrent use.
type Relay struct {
	cfg     Config
	log     *slog.Logger
	group   *lifecycle.Group
	metrics *metrics
	kept    kept

	mu         sync.Mutex
	sessions   map[transport.Link]*session
	registered map[string]*session  // by node.datacenter: the one that registered last
	silent     map[string]time.Time // when a gateway was given up, as it is named
	measured   map[pair]measured    // round trips through gateways
	used       map[string]string    // through which gateway a server was reached last

	again chan struct{} // has this server registered anew now
}

// session is one connection to a peer, and what depends on it. r.mu guards it.
type session struct {
	remote   transport.Remote
	neighbor *relay.Neighbor
	named    string                // how a route through it named the gateway
	flows    map[relay.Label]*flow // by the label that the peer sends with
	own      map[string]*own       // flows from here, by the server that they lead to
	dialling int                   // dials that are under way for this peer
	watched  bool                  // whether the gateway at the other end lives

	questions *rate.Limiter // about paths
}

// flow is one that ends here, with one end, or one that is carried, with two.
type flow struct {
	ends    []end
	server  string // whom it was opened to, if it is carried
	limit   *rate.Limiter
	local   *net.UDPAddr // of one that ends here: its other end
	way     *Way         // of one that was opened here
	packets uint64       // as counted when it was last looked at
	since   time.Time    // when that was another number
}

// end is what comes from a session, with the label in, and goes to it, with the label out.
type end struct {
	s       *session
	in, out relay.Label
}

// New serves Protocol on the endpoint until Stop.
func New(cfg Config) (*Relay, error) {
	if cfg.Rate <= 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Refuse == nil {
		cfg.Refuse = func(string) error { return nil }
	}
	if cfg.Silent == nil {
		cfg.Silent = func(transport.Remote) {}
	}
	if cfg.Lost == nil {
		cfg.Lost = func(Way) {}
	}
	if cfg.Unreached == nil {
		cfg.Unreached = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = logging.Discard()
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	r := &Relay{cfg: cfg, log: cfg.Log.With("component", "gateway"), group: lifecycle.New("gateway"),
		sessions: map[transport.Link]*session{}, registered: map[string]*session{}, silent: map[string]time.Time{}, measured: map[pair]measured{}, used: map[string]string{}, again: make(chan struct{}, 1)}
	r.metrics = newMetrics(cfg.Registerer, r)
	err := cfg.Endpoint.Handle(Protocol, transport.Protocol{Answer: r.answer, Admit: r.admit, Gateways: true, PoolSize: 1, IdleDrop: func() time.Duration { return sessionIdle }})
	if err == nil {
		err = r.group.Go("sweep", r.sweep)
	}
	if err != nil {
		r.metrics.unregister()
		return nil, fmt.Errorf("serve flows: %w", err)
	}
	return r, nil
}

// Stop ends all flows.
func (r *Relay) Stop(ctx context.Context) error {
	r.cfg.Endpoint.Remove(Protocol)
	defer r.metrics.unregister()
	return r.group.Stop(ctx)
}

// admit lets in servers and gateways of what the federation does not refuse: whether they
// may do what they ask for is asked then.
func (r *Relay) admit(p identity.Peer) error {
	if !p.Server && !p.Gateway {
		return errors.New("flows are for servers and gateways")
	}
	return r.cfg.Refuse(p.Datacenter)
}

// answer does what a peer asks for.
func (r *Relay) answer(ctx context.Context, from transport.Remote, b []byte) []byte {
	var q request
	a, err := answer{}, error(nil)
	switch {
	case len(b) > maxMessage:
		err = errBadRequest
	default:
		if err = json.Unmarshal(b, &q); err != nil {
			err = fmt.Errorf("%w: %w", errBadRequest, err)
		}
	}
	if err == nil {
		a, err = r.do(ctx, from, q)
	}
	if err != nil {
		a = refusal(err)
	}
	r.metrics.asked(q.Do, a.Code)
	b, err = json.Marshal(a)
	if err != nil { // cannot be: all fields have a form
		return nil
	}
	return b
}

func (r *Relay) do(ctx context.Context, from transport.Remote, q request) (answer, error) {
	if q.Do == doPing {
		return answer{RTT: r.distance(q.Server)}, nil
	}
	s, err := r.session(from)
	if err != nil {
		return answer{}, err
	}
	switch q.Do {
	case doOffer:
		return r.offered(s, q)
	case doClose:
		r.closed(s, q.Label)
		return answer{}, nil
	case doPaths:
		return r.paths(ctx, s, q)
	case doRegister, doOpen, doList:
		switch {
		case q.Do == doOpen && r.cfg.Locate != nil && from.Peer.Server:
		case !r.cfg.Carries:
			return answer{}, ErrNotCarried
		case q.Do == doRegister && !from.Peer.Server:
			return answer{}, fmt.Errorf("%w: only servers are reached through gateways", ErrNotAdmitted)
		}
	}
	switch q.Do {
	case doRegister:
		return r.registers(s), nil
	case doOpen:
		return r.open(ctx, s, q)
	case doList:
		return r.list(), nil
	}
	return answer{}, fmt.Errorf("%w: %.40q", errBadRequest, q.Do)
}

// session is that of a connection, made when it is first asked for. It ends with the
// connection.
func (r *Relay) session(of transport.Remote) (*session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[of.Link]; s != nil {
		return s, nil
	}
	if len(r.sessions) >= maxSessions || r.sessionsOf(of.Peer) >= maxOfPeer {
		return nil, ErrTooMany
	}
	s := &session{remote: of, questions: rate.NewLimiter(maxQuestions, burstQuestions), neighbor: relay.NewNeighbor(of.Link.Addr, of.Link.Local()), flows: map[relay.Label]*flow{}, own: map[string]*own{}}
	err := r.group.Spawn("session", func(ctx context.Context) {
		select {
		case <-of.Link.Done():
		case <-ctx.Done():
		}
		r.ended(s)
	})
	if err != nil {
		return nil, err
	}
	r.sessions[of.Link] = s
	return s, nil
}

// sessionsOf counts the sessions with one peer; r.mu is held.
func (r *Relay) sessionsOf(p identity.Peer) (n int) {
	for _, s := range r.sessions {
		if same(s.remote.Peer, p) {
			n++
		}
	}
	return n
}

// same reports whether what one has counts for the other: the same node of the same datacenter in the
// same role. The node alone is what a peer says of itself: one of another datacenter, or name, could
// use up what belongs to it.
func same(a, b identity.Peer) bool {
	return a.NodeID == b.NodeID && a.FullName() == b.FullName() && a.Server == b.Server && a.Gateway == b.Gateway
}

// ended ends what depends on a session.
func (r *Relay) ended(s *session) {
	r.mu.Lock()
	delete(r.sessions, s.remote.Link)
	if name := s.remote.Peer.FullName(); r.registered[name] == s {
		delete(r.registered, name)
	}
	over := slices.Collect(maps.Values(s.flows))
	for _, f := range over {
		r.release(f)
	}
	r.mu.Unlock()
	r.gone(s, over...)
}

// gone tells the other ends of flows that came to their end with, or by word of, a session;
// of those that end here it is the connections over them, which go another way then.
func (r *Relay) gone(s *session, over ...*flow) {
	for _, f := range over {
		for _, e := range f.ends {
			if e.s != s {
				r.tell(e)
			}
		}
		r.lose(f, "the flow that it went over has ended")
	}
}

// release ends a flow and returns its ends; r.mu is held.
func (r *Relay) release(f *flow) []end {
	for _, e := range f.ends {
		r.cfg.Board.Release(e.in)
		delete(e.s.flows, e.in)
		maps.DeleteFunc(e.s.own, func(_ string, o *own) bool { return o.in == e.in })
	}
	return f.ends
}

// tell tells the other end of a session that a flow has ended.
func (r *Relay) tell(e end) {
	// When there is no answer the session is about to end, and the flow with it.
	_ = r.group.Spawn("close a flow", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		defer cancel()
		_, _ = e.s.ask(ctx, request{Do: doClose, Label: e.out})
	})
}

// closed ends a flow because the peer says so, by the label that was chosen here.
func (r *Relay) closed(s *session, in relay.Label) {
	r.mu.Lock()
	f := s.flows[in]
	if f != nil {
		r.release(f)
	}
	r.mu.Unlock()
	if f != nil {
		r.gone(s, f)
	}
}

// registers has flows to a server go over its session.
func (r *Relay) registers(s *session) answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := s.remote.Peer.FullName()
	a := answer{}
	if addr := s.remote.Link.Addr(); addr != nil {
		a.Observed = r.cfg.Board.Seen(addr)
	}
	if r.registered[name] == nil {
		r.log.Info("a server is reached through this gateway", "server", name, "address", cmp.Or(a.Observed, s.remote.Addr.String()))
	}
	r.registered[name] = s
	return a
}

func (r *Relay) list() answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Sorted(maps.Keys(r.registered))
	return answer{Servers: names[:min(len(names), maxListed)]}
}

// offered agrees to a flow that a gateway made: it ends here.
func (r *Relay) offered(s *session, q request) (answer, error) {
	r.mu.Lock()
	full := len(s.flows) >= maxFlows
	r.mu.Unlock()
	if full {
		return answer{}, ErrTooMany
	}
	in, err := r.cfg.Board.Reserve(s.neighbor)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrTooMany, err)
	}
	f := &flow{ends: []end{{s, in, q.Label}}, since: time.Now()}
	if f.local, err = r.cfg.Board.End(f.ends[0].hop()); err == nil {
		_, err = r.add(f)
	}
	if err != nil {
		r.abandon(f)
		return answer{}, err
	}
	r.watch(s)
	return answer{Label: in}, nil
}

func (e end) hop() relay.Hop { return relay.Hop{Neighbor: e.s.neighbor, In: e.in, Out: e.out} }

// from is the label that the server of a session sends with.
func (f *flow) from(s *session) relay.Label {
	if f == nil {
		return 0
	}
	i := slices.IndexFunc(f.ends, func(e end) bool { return e.s == s })
	return f.ends[i].in
}

// sweep ends flows that carry nothing.
func (r *Relay) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, e := range r.idle(now) {
				r.tell(e)
			}
			r.keep()
		}
	}
}

// keep asks something of each session that carries flows: packets are no use of its
// connection, which would end as idle under them.
func (r *Relay) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		if len(s.flows) == 0 {
			continue
		}
		_ = r.group.Spawn("keep a session", func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, tellTimeout)
			defer cancel()
			_, _ = s.ask(ctx, request{Do: doPing}) // who does not answer is found out by QUIC
		})
	}
}

// idle ends the flows over which nothing came for long, and returns their ends: those of a
// server, too, which a gateway may have offered without hearing of the answer.
func (r *Relay) idle(now time.Time) (ends []end) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		for _, f := range s.flows {
			packets := uint64(0)
			for _, e := range f.ends {
				packets += r.cfg.Board.Traffic(e.in).Packets
			}
			switch {
			case packets != f.packets:
				f.packets, f.since = packets, now
			case now.Sub(f.since) > idleAfter:
				ends = append(ends, r.release(f)...)
			}
		}
	}
	return ends
}

var errNoGateway = errors.New("no gateway is known for it")

// Package federation carries calls to other datacenters: it knows which server
// of which datacenter to ask, how long to wait and when to try another.
//
// It does not gossip and opens no connections itself; it is told of the
// members of the WAN pool and sends through a transport.
package federation

import (
	"context"
	"hash/maphash"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/serf/coordinate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/wan"
)

// noPath is the text that clients know for every datacenter that cannot be
// asked; the code tells why.
const noPath = "No path to datacenter"

// Bounds of calls to one datacenter.
const (
	maxInFlight = 4096    // calls that are to be answered at once
	maxBlocked  = 1 << 15 // reads that wait for something newer
	maxAttempts = 3       // servers that one call is sent to
	// suspectFor is how long a server that did not answer is asked last.
	suspectFor = 5 * time.Second
)

// Transport is what the router needs of the WAN endpoint.
type Transport interface {
	rpc.RoundTripper
	// Forget drops the connections to a server that is gone.
	Forget(transport.Target)
	// RTT is the measured round trip to a server, 0 if unknown.
	RTT(to transport.Target, protocol string) time.Duration
	// Path is the state of the connections to a server.
	Path(to transport.Target, protocol string) transport.PathStats
}

var _ Transport = (*transport.Endpoint)(nil)

// Config says whose calls the router carries.
type Config struct {
	// Datacenter of this server.
	Datacenter string
	Transport  Transport
	// Deadline of a call unless its caller's is earlier, in addition to the wait of
	// a blocking read; default 10 s.
	Deadline time.Duration
	// Ping takes op.Empty, and every server answers it by itself at once: whether
	// a server answers it decides whether it is asked. With nil nothing is probed
	// and no breaker opens but for what gossip says.
	Ping op.Operation
	// Removed tells whether a datacenter was removed from the federation: none of
	// its servers is asked, and its name is answered with an error of its own.
	// Nil for none.
	Removed func(datacenter string) bool
	// Filters names the home of the records by which callers are shown what their tokens
	// may see of what is followed; false where that is not so. Nil for never.
	Filters func() (home string, ok bool)
	// Way is how a datacenter is reached; nil is directly.
	Way        func(datacenter string) Way
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Router is the Caller for other datacenters. It is safe for concurrent use.
type Router struct {
	cfg     Config
	log     *slog.Logger
	group   *lifecycle.Group
	metrics *metrics
	table   atomic.Pointer[table]
	update  sync.Mutex // one Update at a time
	kick    chan struct{}
	sizes   sizes
}

var _ op.Caller = (*Router)(nil)

// New returns a router that knows no datacenter yet.
func New(cfg Config) *Router {
	if cfg.Deadline == 0 {
		cfg.Deadline = 10 * time.Second
	}
	if cfg.Removed == nil {
		cfg.Removed = func(string) bool { return false }
	}
	if cfg.Way == nil {
		cfg.Way = func(string) Way { return Way{} }
	}
	r := &Router{cfg: cfg, log: cfg.Log.With("component", "federation"), group: lifecycle.New("federation"), metrics: newMetrics(cfg.Registerer), kick: make(chan struct{}, 1)}
	r.sizes.seed = maphash.MakeSeed()
	r.table.Store(newTable(cfg.Datacenter, nil, nil, nil))
	r.metrics.watch(r)
	if cfg.Ping != nil {
		_ = r.group.Go("watch", r.probeLoop) // it fails only after Stop
	}
	return r
}

// Stop ends calls in progress.
func (r *Router) Stop(ctx context.Context) error { return r.group.Stop(ctx) }

// Peer is a member of the WAN pool with its coordinate, nil if unknown.
type Peer struct {
	wan.Server
	Coordinate *coordinate.Coordinate
	// Measured is the round trip that a connection to it shows; 0 if there is
	// none.
	Measured time.Duration
}

// TargetOf is where a member takes calls.
func TargetOf(s wan.Server) transport.Target {
	return transport.Target{Addr: net.JoinHostPort(s.Addr, strconv.Itoa(s.WANPort)), NodeID: s.ID, Name: wan.FullName(s.Name, s.Datacenter)}
}

// Update builds a new routing table from this server's coordinate and the
// members of the WAN pool. It drops the connections to servers that left or are
// no members any more, and to those that failed, unless they still answer.
func (r *Router) Update(self *coordinate.Coordinate, peers []Peer) {
	r.update.Lock()
	defer r.update.Unlock()
	old := r.table.Load()
	peers = slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool { return r.cfg.Removed(p.Datacenter) })
	t := newTable(r.cfg.Datacenter, self, peers, old)
	r.table.Store(t)
	when := time.Now()
	for id, target := range old.targets {
		_, alive := t.alive[id]
		_, wasAlive := old.alive[id]
		if now, still := t.targets[id]; !still || now != target || wasAlive && !alive && !t.answers(id, when) {
			r.cfg.Transport.Forget(target)
		}
	}
	r.metrics.servers(t)
	r.wake()
}

// Datacenters lists the other known datacenters, nearest first.
func (r *Router) Datacenters() []string { return r.table.Load().nearest }

// Distance is the round trip to a datacenter; false while it is unknown.
func (r *Router) Distance(name string) (time.Duration, bool) {
	dc := r.table.Load().datacenters[name]
	if dc == nil || dc.distance == math.MaxInt64 {
		return 0, false
	}
	return dc.distance, true
}

// Do implements op.Caller for a call whose header names another datacenter.
func (r *Router) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	name := call.Header.Datacenter
	dc, err := r.find(name)
	if err != nil {
		return nil, err
	}
	limit, bound := &dc.load.inFlight, int64(maxInFlight)
	if call.Header.MinIndex > 0 {
		limit, bound = &dc.load.blocked, maxBlocked
	}
	defer limit.Add(-1)
	if limit.Add(1) > bound {
		return nil, &op.Error{Code: op.CodeBusy, Datacenter: name, Text: "too many calls to datacenter " + name + " are in progress"}
	}
	ctx, cancel := context.WithTimeout(ctx, r.deadline(call))
	defer cancel()
	ctx, span := tracing.Start(ctx, "federation", tracing.Internal)
	start := time.Now()
	reply, err := r.send(ctx, dc, call)
	if err == nil {
		reply.Meta.Through = r.cfg.Way(name).Through
	}
	if op.CodeOf(err) == op.CodeNoLeader { // of the datacenter that was asked, not of the caller's
		err = &op.Error{Code: op.CodeNoLeader, Text: err.Error(), Datacenter: name}
	}
	r.metrics.record(call, name, time.Since(start), err)
	span.Text("legate.datacenter", name)
	if err != nil {
		span.Fail(op.ReasonOf(err))
	}
	span.End()
	return reply, err
}

// find returns a datacenter that can be asked, or why there is none of the name.
func (r *Router) find(name string) (*datacenter, error) {
	t := r.table.Load()
	if dc := t.datacenters[name]; dc != nil && !r.cfg.Removed(name) {
		return dc, nil
	}
	return nil, &op.Error{Code: t.missing(name, r.cfg.Removed), Text: noPath, Datacenter: name}
}

func (r *Router) deadline(call *op.Call) time.Duration {
	d := r.cfg.Deadline
	if call.Header.MinIndex > 0 {
		wait := call.Header.MaxWait
		if wait <= 0 {
			wait = 5 * time.Minute
		}
		d += wait + wait/8
	}
	return d
}

// send tries the datacenter's servers, those that answer first.
func (r *Router) send(ctx context.Context, dc *datacenter, call *op.Call) (*op.Reply, error) {
	var targets []transport.Target
	if !dc.broken() {
		targets = dc.attempts()
	}
	if len(targets) == 0 {
		return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: noPath, Datacenter: dc.name}
	}
	reply, err := r.ask(ctx, dc, targets, call)
	if unreachable(err, call.Operation.OpKind()) {
		r.log.Debug("datacenter cannot be reached", "peer_datacenter", dc.name, "error", err)
		return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: noPath, Datacenter: dc.name}
	}
	return reply, err
}

// ask has a long result come from one server: a second one that makes it as well
// would be late, too.
func (r *Router) ask(ctx context.Context, dc *datacenter, targets []transport.Target, call *op.Call) (*op.Reply, error) {
	if call.Take != op.TakeParts {
		return r.whole(ctx, dc, targets, call)
	}
	if !call.Long {
		short := *call
		short.Take = op.TakeShort
		reply, err := r.whole(ctx, dc, targets, &short)
		if op.CodeOf(err) != op.CodeLong {
			return reply, err
		}
		call, targets = call.InParts(), dc.attempts()
	}
	via := observedTransport{Transport: r.cfg.Transport, router: r, dc: dc, read: true}
	return rpc.TryEach(ctx, via, targets, call, func(to transport.Target, _ error) { dc.load.suspect(to.NodeID) })
}

// whole has the result come in one piece, and remembers how long it was.
func (r *Router) whole(ctx context.Context, dc *datacenter, targets []transport.Target, call *op.Call) (*op.Reply, error) {
	reply, err := r.race(ctx, dc, targets, call)
	if err == nil && call.Operation.OpKind() == op.KindRead {
		r.sizes.note(call, reply)
	}
	return reply, err
}

// unreachable reports whether an error says no more than that the datacenter could
// not be reached: by any server, or for a read on a connection that broke.
func unreachable(err error, k op.Kind) bool {
	code := op.CodeOf(err)
	return code == op.CodeNoServer || code == op.CodeLost && k == op.KindRead
}

// Package client is the Caller of a client agent: it hands every call to a
// server of its datacenter.
//
// It keeps no state of the datacenter and answers nothing itself.
package client

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/feed"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/transport"
)

// Servers lists the servers of the datacenter as gossip knows them.
type Servers interface {
	// Servers returns a list that does not change: another one after a change.
	Servers() []lan.Server
	// NumMembers is the size of the datacenter.
	NumMembers() int
}

// Config says how calls reach servers.
type Config struct {
	Datacenter string
	Servers    Servers
	Transport  rpc.RoundTripper
	Streams    feed.Opener // for subscriptions; nil has none
	// Timeout of a call whose caller set no deadline, in addition to the wait of
	// a blocking read, asked for each; nil is 60 s.
	Timeout func() time.Duration
	// Rate bounds the calls, but for those through Own; nil is no bound.
	Rate *rate.Limiter
	// HoldTimeout is how long a call waits for a server or a leader to appear; 0
	// does not wait.
	HoldTimeout time.Duration
	Log         *slog.Logger
	Registerer  prometheus.Registerer
}

const (
	// rebalance is how many calls go to one server before the next one's turn.
	rebalance = 4096
	// avoidFor is how long a server that did not answer is the last that is tried: one
	// that is dead or cut off takes the time of a handshake.
	avoidFor = 3 * time.Second
	// maxDirect is up to how many members agents call the leader at once where
	// only the leader can answer, which spares a server the forwarding. In a
	// larger datacenter the other servers gather the connections for it.
	maxDirect = 512
)

// Client hands calls to servers. It is safe for concurrent use.
type Client struct {
	cfg          Config
	metrics      *metrics
	roundRobin   atomic.Uint64 // the server in use, modulo their number
	remoteOffset atomic.Uint64 // from it to the one in use for calls of other datacenters
	calls        atomic.Uint64
	leader       atomic.Pointer[string] // node ID of the leader as last told; nil if unknown
	live         atomic.Pointer[live]
	avoided      atomic.Pointer[[]avoided] // that did not answer lately; nil for none
}

// avoided is a server that did not answer.
type avoided struct {
	target transport.Target
	until  time.Time
}

// live is the live servers as targets.
type live struct {
	of      []lan.Server // from which it was made
	targets []transport.Target
}

var _ op.Caller = (*Client)(nil)

// New returns a client.
func New(cfg Config) *Client {
	if cfg.Timeout == nil {
		cfg.Timeout = func() time.Duration { return time.Minute }
	}
	if cfg.Rate == nil {
		cfg.Rate = rate.NewLimiter(rate.Inf, 0)
	}
	c := &Client{cfg: cfg, metrics: newMetrics(cfg.Registerer)}
	c.roundRobin.Store(rand.Uint64N(1 << 16))
	return c
}

// Do implements op.Caller.
func (c *Client) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	if err := c.admit(); err != nil {
		return nil, err
	}
	return c.do(ctx, call)
}

// admit takes one call of the rate.
func (c *Client) admit() error {
	if c.cfg.Rate.Allow() {
		return nil
	}
	c.metrics.exceeded.Inc()
	return op.Errorf(op.CodeBusy, "this agent makes no more calls to servers now: try again later (limits.rpc_rate)")
}

// Own is the Caller for what the agent does by itself. Its calls count for the rate and
// are not refused: whoever floods the agent does not keep its services and checks from
// the catalog.
func (c *Client) Own() op.Caller { return own{c} }

type own struct{ c *Client }

// Do implements op.Caller.
func (o own) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	o.c.cfg.Rate.Allow()
	return o.c.do(ctx, call)
}

func (c *Client) do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	start := time.Now()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout(call))
		defer cancel()
	}
	reply, err := c.hold(ctx, call)
	c.metrics.record(call, time.Since(start), err)
	return reply, err
}

func (c *Client) timeout(call *op.Call) time.Duration {
	d := c.cfg.Timeout()
	if call.Header.MinIndex > 0 {
		wait := call.Header.MaxWait
		if wait <= 0 {
			wait = 5 * time.Minute
		}
		d += wait + wait/8
	}
	return d
}

// hold tries again while no server can take the call, up to HoldTimeout.
func (c *Client) hold(ctx context.Context, call *op.Call) (*op.Reply, error) {
	deadline := time.Now().Add(c.cfg.HoldTimeout)
	for {
		offset := c.remoteOffset.Load()
		reply, err := rpc.TryEach(ctx, c.cfg.Transport, c.targets(call), call, func(t transport.Target, _ error) { c.skip(t) })
		if err == nil && reply.Meta.Leader != "" {
			c.leader.Store(&reply.Meta.Leader)
		}
		if leaderLost(err) && !c.elsewhere(call) {
			c.leader.Store(nil)
		}
		if outOfReach(err) {
			c.remoteOffset.CompareAndSwap(offset, offset+1) // it may be that server's fault: another's turn
		}
		if err == nil || ctx.Err() != nil || !rpc.Retryable(err, call.Operation.OpKind()) {
			return reply, err
		}
		pause := 20*time.Millisecond + rand.N(60*time.Millisecond)
		if time.Now().Add(pause).After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}

// leaderLost reports whether a server says that it knows no leader, or that the one it
// handed a call to did not answer.
func leaderLost(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeNoLeader, op.CodeNoServer, op.CodeLost, op.CodeTimeout:
		return true
	}
	return false
}

// outOfReach reports whether a server says that it has no way to a datacenter.
func outOfReach(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeUnreachableDatacenter, op.CodeUnknownDatacenter, op.CodeLeftDatacenter:
		return true
	}
	return false
}

// skip moves the round robin on, past a server that did not answer.
func (c *Client) skip(failed transport.Target) {
	c.leader.Store(nil)
	c.avoid(failed)
	all := c.alive()
	if i := slices.Index(all, failed); i >= 0 && len(all) > 0 {
		if now := c.roundRobin.Load(); now%uint64(len(all)) == uint64(i) {
			c.roundRobin.CompareAndSwap(now, now+1) // one step for all calls that failed there
		}
	}
}

// targets lists the live servers in the order in which to try them: the leader
// first for what only it can answer, else the one in use.
func (c *Client) targets(call *op.Call) []transport.Target {
	if c.calls.Add(1)%rebalance == 0 {
		c.roundRobin.Add(1)
	}
	all := c.alive()
	n := len(all)
	if n < 2 {
		return all
	}
	first := int(c.roundRobin.Load() % uint64(n))
	if c.elsewhere(call) {
		first = int((c.roundRobin.Load() + c.remoteOffset.Load()) % uint64(n))
	}
	if leader := c.leader.Load(); leader != nil && c.needsLeader(call) && c.cfg.Servers.NumMembers() <= maxDirect {
		if i := slices.IndexFunc(all, func(t transport.Target) bool { return t.NodeID == *leader }); i >= 0 {
			first = i
		}
	}
	return c.avoidedLast(append(append(make([]transport.Target, 0, n), all[first:]...), all[:first]...))
}

// avoid has a server tried last for a while.
func (c *Client) avoid(failed transport.Target) {
	now := time.Now()
	for {
		old := c.avoided.Load()
		next := []avoided{{failed, now.Add(avoidFor)}}
		if old != nil {
			for _, a := range *old {
				if a.target != failed && now.Before(a.until) {
					next = append(next, a)
				}
			}
		}
		if c.avoided.CompareAndSwap(old, &next) {
			return
		}
	}
}

// avoidedLast moves the servers that did not answer lately to the end.
func (c *Client) avoidedLast(targets []transport.Target) []transport.Target {
	list := c.avoided.Load()
	if list == nil {
		return targets
	}
	now, last := time.Now(), map[transport.Target]bool{}
	for _, a := range *list {
		if now.Before(a.until) {
			last[a.target] = true
		}
	}
	if len(last) == 0 {
		c.avoided.CompareAndSwap(list, nil)
	}
	slices.SortStableFunc(targets, func(a, b transport.Target) int {
		switch {
		case last[a] == last[b]:
			return 0
		case last[a]:
			return 1
		}
		return -1
	})
	return targets
}

// elsewhere reports whether a call is of another datacenter.
func (c *Client) elsewhere(call *op.Call) bool {
	dc := call.Header.Datacenter
	return dc != "" && dc != c.cfg.Datacenter
}

// needsLeader reports whether only the leader of this datacenter can answer.
func (c *Client) needsLeader(call *op.Call) bool {
	if c.elsewhere(call) {
		return false
	}
	switch call.Operation.OpKind() {
	case op.KindWrite:
		return true
	case op.KindRead, op.KindDirectRead:
		return call.Header.Consistency != op.Stale && call.Header.Consistency != op.Cached
	}
	return false
}

// alive lists the live servers as targets.
func (c *Client) alive() []transport.Target {
	servers := c.cfg.Servers.Servers()
	if l := c.live.Load(); l != nil && len(l.of) == len(servers) && (len(servers) == 0 || &l.of[0] == &servers[0]) {
		return l.targets
	}
	l := &live{of: servers}
	for _, s := range servers {
		if s.Status == gossip.Alive {
			l.targets = append(l.targets, transport.Target{Addr: s.RPCAddr(), NodeID: s.ID, Name: s.Name})
		}
	}
	c.live.Store(l)
	return l.targets
}

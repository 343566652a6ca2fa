// Package neighbors makes a datacenter that one server knows known to all of its
// own: what this server's router does not know is asked of, or followed at, another
// server of this datacenter that does.
//
// A call is relayed once. Which server knows which datacenter is asked of all at
// once, and at most once in lookAgain whatever names are asked for: one that is
// misspelt costs no more. It does not make anything known to the router, and it has
// no say about datacenters that were removed or have left.
package neighbors

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/feed"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
)

const (
	// lookTimeout is how long all servers have to say whom they know: they are in
	// the same datacenter, and one that is silent must not hold up every name that
	// nobody knows.
	lookTimeout = 300 * time.Millisecond
	// lookAgain is how long what they said is good for. The pool of all datacenters
	// tells its members within about a second.
	lookAgain = 500 * time.Millisecond
	// maxAsked servers are asked; a datacenter has three or five.
	maxAsked = 7
	// maxRelayed calls are with other servers at a time, those that wait among them.
	maxRelayed = 4096
)

// Config says who is asked.
type Config struct {
	// Calls and Follow reach the datacenters that this server knows.
	Calls  op.Caller
	Follow op.Subscriber
	// Knows reports whether this server knows a datacenter now.
	Knows func(datacenter string) bool
	// Servers lists the other live servers of this datacenter.
	Servers   func() []transport.Target
	Transport rpc.RoundTripper // to them
	Streams   feed.Opener      // to them
	Group     *lifecycle.Group // of the goroutines that ask them
}

// Neighbors is a Caller and a Subscriber for other datacenters. It is safe for
// concurrent use.
type Neighbors struct {
	cfg     Config
	relayed atomic.Int64

	mu     sync.Mutex // held while they are asked: who asks meanwhile waits
	asked  time.Time
	routes map[string]transport.Target
}

var (
	_ op.Caller     = (*Neighbors)(nil)
	_ op.Subscriber = (*Neighbors)(nil)
)

// New returns the neighbors of this server.
func New(cfg Config) *Neighbors { return &Neighbors{cfg: cfg} }

// Do implements op.Caller.
func (n *Neighbors) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	reply, err := n.cfg.Calls.Do(ctx, call)
	to, ok := n.other(ctx, call, err)
	if !ok {
		return reply, err
	}
	defer n.relayed.Add(-1)
	if n.relayed.Add(1) > maxRelayed {
		return nil, op.Errorf(op.CodeBusy, "server passes %d calls on to others of its datacenter, its limit", maxRelayed)
	}
	c := *call
	c.Header.Relayed = true
	return rpc.TryEach(ctx, n.cfg.Transport, []transport.Target{to}, &c, nil)
}

// Subscribe implements op.Subscriber. Once this server knows the datacenter itself
// the subscription ends, to begin again without the detour.
func (n *Neighbors) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	err := n.cfg.Follow.Subscribe(ctx, call, push)
	to, ok := n.other(ctx, call, err)
	if !ok {
		return err
	}
	defer n.relayed.Add(-1)
	if n.relayed.Add(1) > maxRelayed {
		return op.Errorf(op.CodeBusy, "server passes %d calls on to others of its datacenter, its limit", maxRelayed)
	}
	c := *call
	c.Header.Relayed = true
	return feed.FollowEach(ctx, n.cfg.Streams, []transport.Target{to}, &c, feed.Sink{Push: func(r *op.Reply) error {
		if err := push(r); err != nil {
			return err
		}
		if n.cfg.Knows(call.Header.Datacenter) {
			return op.Errorf(op.CodeLost, "datacenter %s is known here now", call.Header.Datacenter)
		}
		return nil
	}, Failed: func(transport.Target) {}})
}

// other is the server to which a call goes that failed here because the
// datacenter is unknown, if there is one.
func (n *Neighbors) other(ctx context.Context, call *op.Call, err error) (transport.Target, bool) {
	if err == nil || op.CodeOf(err) != op.CodeUnknownDatacenter || call.Header.Relayed || ctx.Err() != nil {
		return transport.Target{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.asked) >= lookAgain {
		n.routes = n.look(ctx)
		n.asked = time.Now()
	}
	to, ok := n.routes[call.Header.Datacenter]
	return to, ok
}

// look asks the others which datacenters they know. Who does not answer in time
// knows none.
func (n *Neighbors) look(ctx context.Context) map[string]transport.Target {
	servers := n.cfg.Servers()
	servers = servers[:min(len(servers), maxAsked)]
	if len(servers) == 0 {
		return nil
	}
	// The answer is for all who wait: it does not end with the first of them.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	type said struct {
		from transport.Target
		list []string
	}
	answers := make(chan said, len(servers))
	for _, to := range servers {
		err := n.cfg.Group.Spawn("who knows a datacenter", func(context.Context) { answers <- said{to, n.ask(ctx, to)} })
		if err != nil { // stopping
			answers <- said{from: to}
		}
	}
	routes := map[string]transport.Target{}
	for range servers {
		a := <-answers
		for _, dc := range a.list {
			if _, ok := routes[dc]; !ok {
				routes[dc] = a.from
			}
		}
	}
	return routes
}

func (n *Neighbors) ask(ctx context.Context, to transport.Target) []string {
	via := op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
		return rpc.Send(ctx, n.cfg.Transport, to, c)
	})
	list, _, err := status.Datacenters.Call(ctx, via, op.Header{Consistency: op.Stale}, &op.Empty{})
	if err != nil || list == nil {
		return nil
	}
	return slices.Clone(list.Texts)
}

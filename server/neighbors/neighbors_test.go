package neighbors

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
)

// router knows no datacenter.
type router struct{ calls atomic.Int64 }

func (r *router) Do(_ context.Context, c *op.Call) (*op.Reply, error) {
	r.calls.Add(1)
	return nil, &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: c.Header.Datacenter}
}

func (r *router) Subscribe(ctx context.Context, c *op.Call, _ func(*op.Reply) error) error {
	_, err := r.Do(ctx, c)
	return err
}

// peers are the other servers: each knows some datacenters, or is silent.
type peers struct {
	knows map[string][]string // by node ID

	mu     sync.Mutex
	asked  int
	calls  []op.Header
	opened []string // where something was followed
}

func (p *peers) RoundTrip(ctx context.Context, to transport.Target, _ string, head, body []byte) ([]byte, error) {
	name, h, _, err := op.ReadHead(append(head, body...))
	if err != nil {
		return nil, err
	}
	list, answers := p.knows[to.NodeID]
	if !answers {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == status.Datacenters.Name {
		p.asked++
		return op.AppendReply(nil, op.NewReply(op.Meta{}, &op.Texts{Texts: list}))
	}
	p.calls = append(p.calls, h)
	return op.AppendReply(nil, op.NewReply(op.Meta{Index: 7}, &kv.Entry{Key: "k", Value: []byte(to.NodeID)}))
}

func (p *peers) Open(_ context.Context, to transport.Target, _ string) (transport.Stream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = append(p.opened, to.NodeID)
	return nil, transport.ErrUnreachable
}

func neighborsOf(t *testing.T, p *peers, ids ...string) (*Neighbors, *router) {
	t.Helper()
	g, r := lifecycle.New("test"), &router{}
	t.Cleanup(func() {
		if err := g.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return New(Config{Calls: r, Follow: r, Knows: func(string) bool { return false }, Transport: p, Streams: p, Group: g,
		Servers: func() []transport.Target {
			var out []transport.Target
			for _, id := range ids {
				out = append(out, transport.Target{NodeID: id, Name: id, Addr: id})
			}
			return out
		}}), r
}

func get(t *testing.T, n *Neighbors, h op.Header) (*kv.Entry, error) {
	t.Helper()
	e, _, err := kv.Get.Call(t.Context(), n, h, &kv.GetRequest{Key: "k"})
	return e, err
}

func TestWhatANeighborKnowsIsAskedThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{knows: map[string][]string{"b": {"dc1"}, "c": {"dc1", "dc2"}}}
		n, _ := neighborsOf(t, p, "silent", "b", "c")
		e, err := get(t, n, op.Header{Datacenter: "dc2", Token: "secret"})
		if err != nil || string(e.Value) != "c" {
			t.Fatalf("%v %v, want the answer of c", e, err)
		}
		if len(p.calls) != 1 || !p.calls[0].Relayed || p.calls[0].Token != "secret" || p.calls[0].Datacenter != "dc2" {
			t.Errorf("passed on as %+v", p.calls)
		}
		err = n.Subscribe(t.Context(), op.NewCall(&kv.Get, op.Header{Datacenter: "dc2"}, &kv.GetRequest{Key: "k"}), func(*op.Reply) error { return nil })
		if len(p.opened) == 0 || p.opened[0] != "c" || op.CodeOf(err) == op.CodeUnknownDatacenter {
			t.Errorf("followed at %v: %v", p.opened, err)
		}
	})
}

func TestACallIsRelayedOnce(t *testing.T) {
	p := &peers{knows: map[string][]string{"c": {"dc1", "dc2"}}}
	n, _ := neighborsOf(t, p, "c")
	if _, err := get(t, n, op.Header{Datacenter: "dc2", Relayed: true}); op.CodeOf(err) != op.CodeUnknownDatacenter || p.asked != 0 {
		t.Errorf("%v after %d questions", err, p.asked)
	}
}

// Names that nobody knows cost one question for all of them in a while, also with
// many asking at once, and a datacenter that comes is found soon.
func TestNamesThatNobodyKnowsAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{knows: map[string][]string{"c": {"dc1"}}}
		n, r := neighborsOf(t, p, "c")
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				if _, err := get(t, n, op.Header{Datacenter: fmt.Sprint("misspelt", i)}); op.CodeOf(err) != op.CodeUnknownDatacenter {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if p.asked != 1 || r.calls.Load() != 200 {
			t.Errorf("%d questions for %d calls", p.asked, r.calls.Load())
		}
		p.mu.Lock()
		p.knows["c"] = []string{"dc1", "dc2"}
		p.mu.Unlock()
		<-time.After(lookAgain)
		if _, err := get(t, n, op.Header{Datacenter: "dc2"}); err != nil {
			t.Error(err)
		}
	})
}

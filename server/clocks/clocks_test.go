package clocks

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
)

// clock is a server whose clock is ahead of the others'.
func clock(name string, ahead time.Duration) *Clocks {
	return New(Config{Node: name, NodeID: name, Datacenter: "dc1", Now: func() time.Time { return time.Now().Add(ahead).Round(0) },
		Servers: func() []lan.Server { return nil }, Others: func() []string { return nil }})
}

// via calls a server over a way that takes this long in each direction.
func via(c *Clocks, there, back time.Duration) op.Caller {
	return op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		<-time.After(there)
		request, err := call.Request()
		if err != nil {
			return nil, err
		}
		result, err := c.Handler().Answer(ctx, call.Header, request)
		<-time.After(back)
		return op.NewReply(op.Meta{}, result), err
	})
}

func TestClocksAreCompared(t *testing.T) { synctest.Test(t, compared) }

func compared(t *testing.T) {
	ways := map[string]op.Caller{
		"ahead":  via(clock("ahead", 3*time.Second), 10*time.Millisecond, 10*time.Millisecond),
		"skewed": via(clock("skewed", 0), 30*time.Millisecond, 10*time.Millisecond),
		"old": op.CallerFunc(func(context.Context, *op.Call) (*op.Reply, error) {
			return nil, op.Errorf(op.CodeUnsupported, "operation is unknown")
		}),
	}
	own := clock("own", -time.Second)
	own.cfg.Servers = func() []lan.Server {
		out := []lan.Server{{Name: "own", ID: "own", Status: gossip.Alive}, {Name: "dead", ID: "dead", Status: gossip.Failed}}
		for name := range ways {
			out = append(out, lan.Server{Name: name, ID: name, Status: gossip.Alive})
		}
		return out
	}
	own.cfg.To = func(s lan.Server) op.Caller { return ways[s.Name] }
	own.cfg.Others = func() []string { return []string{"dc2", "dc3"} }
	far := via(clock("far", time.Minute), 100*time.Millisecond, 100*time.Millisecond)
	own.cfg.Caller = op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		if call.Header.Datacenter == "dc2" {
			return far.Do(ctx, call)
		}
		return nil, errors.New("nobody answers")
	})
	asked := time.Now().Round(0)
	got, _, err := status.CompareClocks.Call(t.Context(), via(own, 5*time.Millisecond, 5*time.Millisecond), op.Header{}, &status.ClockRequest{Each: true})
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Beside(asked, time.Now().Round(0)); math.Abs(c.OffsetMS+1000) > .01 || math.Abs(c.WithinMS-5) > .01 || c.Server != "own" {
		t.Errorf("the server itself: %+v", c)
	}
	want := map[string]status.Clock{
		"ahead": {OffsetMS: 4000, WithinMS: 10}, "skewed": {OffsetMS: 1010, WithinMS: 20}, "far": {OffsetMS: 61000, WithinMS: 100},
		"old": {Error: "it is of an earlier version, which does not say"}, "": {Error: "nobody answers"},
	}
	if len(got.Others) != len(want) {
		t.Errorf("%+v", got.Others)
	}
	for _, c := range got.Others {
		if x := want[c.Server]; math.Abs(c.OffsetMS-x.OffsetMS) > .01 || math.Abs(c.WithinMS-x.WithinMS) > .01 || c.Error != x.Error {
			t.Errorf("%+v, want %+v", c, x)
		}
	}
}

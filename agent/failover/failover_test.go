package failover

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/failover"
)

// said is one answer of a server.
type said struct {
	index uint64
	rules failover.Rules
	err   error
}

func ownFirst(f *Follower, service string) string {
	order, _ := f.OwnFirst(service)
	return order
}

// One row is what servers say one after another, with when each is asked and from which
// index, and what is known then.
func TestRulesAreFollowed(t *testing.T) { synctest.Test(t, followed) }

func followed(t *testing.T) {
	web := failover.Rules{{Service: "web", Datacenters: []string{"dc2", "nearest"}}, {Service: "shop-*", Datacenters: []string{"dc3"}}}
	began := time.Now()
	var asked []uint64
	var at []time.Duration
	answers := []said{{index: 1}, {index: 7, rules: web}, {err: op.ErrNoLeader}, {err: op.ErrNoLeader}, {index: 3, rules: web[:1]}, {index: 2, rules: web[:1]}, {index: 2, rules: web[:1]}}
	ctx, stop := context.WithCancel(t.Context())
	f := New(Config{Datacenter: "dc1", Token: func() string { return "t" }, Log: logging.Discard(), Caller: op.CallerFunc(func(ctx context.Context, call *op.Call) (*op.Reply, error) {
		if call.Header.Token != "t" || call.Header.Consistency != op.Stale {
			t.Errorf("asked with %+v", call.Header)
		}
		asked, at = append(asked, call.Header.MinIndex), append(at, time.Since(began))
		if len(asked) > len(answers) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		a := answers[len(asked)-1]
		return op.NewReply(op.Meta{Index: a.index}, &a.rules), a.err
	})})
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	synctest.Wait()
	if len(asked) != 3 || f.Others("web") != "dc2>nearest" || ownFirst(f, "web") != "dc1>dc2>nearest" || f.Others("shop-x") != "dc3" || f.Rule("shop-x").Service != "shop-*" {
		t.Errorf("after %d answers: %q, %q, %q", len(asked), f.Others("web"), ownFirst(f, "web"), f.Others("shop-x"))
	}
	if f.Others("other") != "" || ownFirst(f, "other") != "" || f.Rule("other") != nil {
		t.Error("a rule for what has none")
	}
	_, rules := f.OwnFirst("web")
	if rules.Err() != nil {
		t.Error("the rules are others before they are")
	}
	<-time.After(time.Minute)
	synctest.Wait()
	if rules.Err() == nil {
		t.Error("who waits does not hear of other rules")
	}
	if f.Others("web") != "dc2>nearest" || f.Others("shop-x") != "" {
		t.Errorf("later: %q, %q", f.Others("web"), f.Others("shop-x"))
	}
	stop()
	running.Wait()
	for i, want := range []struct {
		index uint64
		at    time.Duration
	}{{0, 0}, {1, 0}, {7, 0}, {0, time.Second}, {0, 3 * time.Second}, {3, 3 * time.Second}, {0, 4 * time.Second}, {2, 4 * time.Second}} {
		if i >= len(asked) || asked[i] != want.index || at[i] != want.at {
			t.Errorf("question %d: from %v at %v, want from %d at %s", i, asked, at, want.index, want.at)
		}
	}
}

package gossip

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// member starts a pool on loopback that exchanges state only when it is told to.
// Its port is 0 for any.
func member(t *testing.T, name string, port int, onChange func(Event)) *Pool {
	t.Helper()
	p, err := Start(Config{Pool: "lan", NodeName: name, Profile: Local, BindAddr: "127.0.0.1", BindPort: port, OnChange: onChange,
		Timing: Timing{PushPullInterval: time.Hour, ReconnectInterval: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, p) })
	return p
}

func end(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// exchange has two members exchange their states without a word about it, as
// happens from time to time and when one rejoins from its snapshot.
func exchange(t *testing.T, p, with *Pool) {
	t.Helper()
	if _, err := p.serf.Memberlist().Join([]string{with.LocalMember().HostPort()}); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func statusOf(p *Pool, name string) Status {
	for _, m := range p.Members() {
		if m.Name == name {
			return m.Status
		}
	}
	return None
}

// A member that was declared gone and came back is alive everywhere, also where that
// declaration was learned at a later time than the member knows of: by one that
// restarted meanwhile.
func TestMemberThatCameBackIsAliveWhereItWasSaidToLeaveLater(t *testing.T) {
	a, b, c, gone := member(t, "a", 0, nil), member(t, "b", 0, nil), member(t, "c", 0, nil), member(t, "x", 0, nil)
	for _, p := range []*Pool{b, c, gone} {
		exchange(t, p, a)
	}
	all := []*Pool{a, b, c}
	exchange(t, b, a) // what is told by the way can be lost
	exchange(t, c, a)
	await(t, "all know x", func() bool {
		return statusOf(a, "x") == Alive && statusOf(b, "x") == Alive && statusOf(c, "x") == Alive
	})
	port := int(gone.LocalMember().Port)
	end(t, gone)
	await(t, "x fails", func() bool {
		for _, p := range all {
			if statusOf(p, "x") != Failed {
				return false
			}
		}
		return true
	})
	if err := a.ForceLeave("x", false); err != nil {
		t.Fatal(err)
	}
	exchange(t, b, a)
	exchange(t, c, a)
	// Each exchange moves the time at which x left on by one.
	for range 10 {
		exchange(t, a, c)
	}
	var first, last atomic.Int32 // what the reader is told that x is
	restarted := member(t, "s", 0, func(e Event) {
		for _, m := range e.Members {
			if m.Name == "x" {
				first.CompareAndSwap(int32(None), int32(m.Status))
				last.Store(int32(m.Status))
			}
		}
	})
	exchange(t, restarted, a)
	back := member(t, "x", port, nil)
	await(t, "b meets x again", func() bool { // x denies that it is dead; the word of that may be lost
		exchange(t, back, b)
		return statusOf(b, "x") != Failed && statusOf(b, "x") != Left
	})
	exchange(t, restarted, b)
	await(t, "x is seen", func() bool { return Status(first.Load()) != None })
	if got := Status(first.Load()); got != Leaving {
		t.Fatalf("x is %s where it was said to leave later: the test shows nothing", got)
	}
	await(t, "x is alive", func() bool { return statusOf(restarted, "x") == Alive })
	await(t, "the reader is told", func() bool { return Status(last.Load()) == Alive })
	for _, p := range all {
		await(t, p.cfg.NodeName+" sees x alive", func() bool {
			exchange(t, p, back)
			return statusOf(p, "x") == Alive
		})
	}
}

// Who is asked whether it leaves, and does, does not deny it.
func TestMemberThatLeavesAndIsAskedHasLeft(t *testing.T) {
	a, b := member(t, "a", 0, nil), member(t, "b", 0, nil)
	exchange(t, b, a)
	await(t, "both know each other", func() bool { return a.NumMembers() == 2 && b.NumMembers() == 2 })
	done := make(chan error, 1)
	go func() { done <- b.Leave() }()
	found := asked{}
	await(t, "b leaves", func() bool {
		found = a.ask(found)
		return found["b"] > 1 || statusOf(a, "b") == Left
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	await(t, "b left", func() bool { return statusOf(a, "b") == Left })
}

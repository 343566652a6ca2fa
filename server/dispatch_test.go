package server

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/limit"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// frozen is a federation whose one datacenter never answers.
type frozen struct{ asked chan struct{} }

func (f frozen) Datacenters() []string { return []string{"dc2"} }
func (f frozen) Nearest() []string     { return f.Datacenters() }

func (f frozen) Do(ctx context.Context, _ *op.Call) (*op.Reply, error) {
	f.asked <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func get(ctx context.Context, c op.Caller, h op.Header, key string) (*kv.Entry, error) {
	e, _, err := kv.Get.Call(ctx, c, h, &kv.GetRequest{Key: key})
	return e, err
}

func TestFrozenDatacenterCostsLocalCallersNothing(t *testing.T) {
	h := newHarness(t, nil)
	remote := frozen{make(chan struct{})}
	h.start(t, remote)
	h.flight = limit.New(1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := get(ctx, h, op.Header{Datacenter: "dc2"}, "k")
		done <- err
	}()
	<-remote.asked
	if _, err := get(t.Context(), h, op.Header{}, "k"); err != nil {
		t.Errorf("a local read beside one of a frozen datacenter: %v", err)
	}
	cancel()
	<-done
}

func TestInventedDatacentersAreNoLabels(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHarness(t, func(c *Config) { c.Registerer = reg })
	h.start(t, frozen{make(chan struct{}, 10)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, dc := range []string{"dc2", "invented"} {
		_, _ = get(ctx, h, op.Header{Datacenter: dc}, "k")
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "datacenter" {
					seen[l.GetValue()] = true
				}
			}
		}
	}
	if seen["invented"] || !seen["dc2"] || !seen["unknown"] {
		t.Errorf("datacenters in metrics: %v", seen)
	}
}

// A result that is too large to be kept is watched by its reader alone: who
// goes away while it waits must not leave the watch behind.
func TestAbandonedReadLeavesNoWatch(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHarness(t, func(c *Config) {
		s, err := storage.OpenState(storage.Options{Dir: "watched", FS: vfs.NewMem(), Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		c.State = s
	})
	h.start(t, nil)
	servertest.Write(t, h.cfg.State, "large", string(make([]byte, 4<<20)))
	waiters := func() float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "legate_storage_waiters" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("the number of waiters is not exported")
		return 0
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.Do(ctx, op.NewCall(servertest.Counting(new(atomic.Int64)), op.Header{Consistency: op.Stale, MinIndex: 100}, &kv.GetRequest{Key: "large"}))
		done <- err
	}()
	servertest.Eventually(t, "it waits", func() bool { return waiters() == 1 })
	cancel()
	if err := <-done; err == nil {
		t.Error("an abandoned read was answered")
	}
	if n := waiters(); n != 0 {
		t.Errorf("%v watches stay behind", n)
	}
}

// Who waits is answered when the answer is another one; what was read and left out
// raises the index, which is told when the time is over.
func TestWaitEndsWithAnotherAnswer(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	said := func(node, status, output string) {
		t.Helper()
		h.register(t, &catalog.RegisterRequest{Node: node, Address: "10.0.0.1", Service: &catalog.Service{Service: "web"},
			Check: &catalog.Check{CheckID: "c", Name: "c", ServiceID: "web", Status: status, Output: output}})
	}
	said("n1", catalog.Passing, "")
	said("n2", catalog.Critical, "1")
	healthy := func(index uint64, wait time.Duration) (string, uint64, error) {
		list, meta, err := catalog.ListInstances.Call(t.Context(), h, op.Header{Consistency: op.Stale, MinIndex: index, MaxWait: wait}, &catalog.ServiceRequest{Service: "web", PassingOnly: true})
		text := ""
		if err == nil {
			for _, i := range *list {
				text += i.Node.Node + i.Checks[0].Output + " "
			}
		}
		return text, meta.Index, err
	}
	// during begins a wait, does something once it waits and returns the answer.
	during := func(index uint64, wait time.Duration, do func()) (text string, newer uint64, took time.Duration) {
		t.Helper()
		begin := time.Now()
		done := make(chan error, 1)
		go func() {
			var err error
			text, newer, err = healthy(index, wait)
			took = time.Since(begin)
			done <- err
		}()
		servertest.Eventually(t, "it waits", func() bool { return h.blocked.InUse() == 1 })
		do()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return text, newer, took
	}
	_, index, err := healthy(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, newer, took := during(index, 300*time.Millisecond, func() { said("n2", catalog.Critical, "2"); said("n2", catalog.Critical, "3") })
	if text != "n1 " || newer <= index || took < 300*time.Millisecond {
		t.Errorf("the output of a failing instance: %q at %d after %s, it had %d and waits for 300ms", text, newer, took, index)
	}
	text, last, took := during(newer, time.Minute, func() { said("n2", catalog.Critical, "4"); said("n2", catalog.Passing, "5") })
	if text != "n1 n25 " || last <= newer || took > 30*time.Second {
		t.Errorf("an instance that recovers: %q at %d after %s", text, last, took)
	}
	// Nobody knows what another server showed at an index that this one has not
	// reached: it may be what is not shown any more.
	text, index, took = during(last+1, time.Minute, func() {
		h.register(t, &catalog.RegisterRequest{Node: "elsewhere", Address: "10.0.0.1"}) // has that index
		said("n3", catalog.Critical, "1")
	})
	if text != "n1 n25 " || index <= last+1 || took > 30*time.Second {
		t.Errorf("an index from elsewhere: %q at %d after %s", text, index, took)
	}
}

// A server on its way out says that nothing was done, so that others are asked.
func TestStoppingIsSaid(t *testing.T) {
	h := newHarness(t, nil)
	if err := h.Start(Dependencies{Raft: h.group, LAN: h.pool}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	waiting := &counted{started: make(chan struct{}, 10)}
	go func() {
		_, err := h.Do(t.Context(), op.NewCall(waiting.read(), op.Header{Consistency: op.Stale, MinIndex: 100}, &kv.GetRequest{Key: "k"}))
		done <- err
	}()
	<-waiting.started
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), h, op.Header{Consistency: op.Stale}, "k"); op.CodeOf(err) != op.CodeStopping {
		t.Errorf("a call after the stop: %v", err)
	}
	if err := h.cfg.State.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; op.CodeOf(err) != op.CodeStopping {
		t.Errorf("a read that waited: %v", err)
	}
}

// counted is a read that says when it runs.
type counted struct{ started chan struct{} }

func (c *counted) read() *op.Read[kv.GetRequest, kv.Entry] {
	o := servertest.Counting(new(atomic.Int64))
	o.Shared = false
	query := o.Query
	o.Query = func(r storage.Reader, req *kv.GetRequest) (*kv.Entry, error) {
		c.started <- struct{}{}
		return query(r, req)
	}
	return o
}

// What was on its way to a leader that died is asked of the next one, if it is
// a read; a write may have been done.
func TestOnlyReadsOutliveALostLeader(t *testing.T) {
	via := &servertest.Losing{Lost: 1}
	h := newHarness(t, func(c *Config) { c.Transport, c.HoldTimeout = via, 5*time.Second })
	h.group.Leads.Store(false)
	h.group.Other = servertest.UID("2")
	h.pool.Set(servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Alive))
	h.start(t, nil)
	if e, err := get(t.Context(), h, op.Header{}, "k"); err != nil || e == nil {
		t.Errorf("read: %v", err)
	}
	via.Tries.Store(0)
	_, _, err := kv.Apply.Call(t.Context(), h, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}})
	if op.CodeOf(err) != op.CodeLost || via.Tries.Load() != 1 {
		t.Errorf("write: %v after %d tries, want one that is lost", err, via.Tries.Load())
	}
}

// A client agent asks other servers while one knows no leader: that one may be cut off
// from those that have one.
func TestAgentsWaitShortlyForALeader(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.HoldTimeout = 3 * briefHold })
	h.group.Leads.Store(false)
	h.start(t, nil)
	for _, byAgent := range []bool{true, false} {
		call := op.NewCall(&kv.Get, op.Header{}, &kv.GetRequest{Key: "k"})
		call.ByAgent = byAgent
		start := time.Now()
		_, err := h.Do(t.Context(), call)
		took := time.Since(start)
		if op.CodeOf(err) != op.CodeNoLeader || (took <= 2*briefHold) != byAgent {
			t.Errorf("by an agent %v: %v after %s", byAgent, err, took)
		}
	}
}

package federation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/transport"
)

// holding answers as servers do that know no leader: after they have waited for
// one, for hold or until shortly before the caller's deadline.
func holding(hold time.Duration) *servers {
	s := &servers{}
	s.do = func(ctx context.Context, _ string) ([]byte, error) {
		wait := hold
		if deadline, ok := ctx.Deadline(); ok { // less the slack of a call
			wait = min(wait, max(time.Until(deadline)-250*time.Millisecond, 0))
			if wait == 0 {
				wait = time.Until(deadline)
			}
		}
		select {
		case <-time.After(wait): // virtual time
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return op.AppendError(nil, op.ErrNoLeader), nil
	}
	return s
}

// Each server of a datacenter without a leader waits for one. Whatever is left of
// the time, who asks learns that there is none, and not that nobody answered.
func TestNoLeaderAndTimeoutAreToldApart(t *testing.T) {
	hang := func() *servers {
		return &servers{do: func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }}
	}
	write := func(ctx context.Context, r *Router) error {
		_, _, err := kv.Apply.Call(ctx, r, op.Header{Datacenter: "dc2"}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}})
		return err
	}
	read := func(ctx context.Context, r *Router) error { _, err := get(ctx, r, "dc2"); return err }
	for _, c := range []struct {
		name     string
		servers  *servers
		ask      func(context.Context, *Router) error
		patience time.Duration // of who asks; 0 for none of its own
		want     op.Code
		within   time.Duration
	}{
		{"write, no leader", holding(7 * time.Second), write, 0, op.CodeNoLeader, 10 * time.Second},
		{"write, no leader, a patient caller", holding(7 * time.Second), write, time.Minute, op.CodeNoLeader, 10 * time.Second},
		{"write, no leader, an impatient caller", holding(7 * time.Second), write, time.Second, op.CodeNoLeader, time.Second},
		{"read, no leader", holding(7 * time.Second), read, 0, op.CodeNoLeader, 10 * time.Second},
		{"read, no leader, an impatient caller", holding(7 * time.Second), read, time.Second, op.CodeNoLeader, time.Second},
		{"write, silence", hang(), write, 0, op.CodeTimeout, 10 * time.Second},
		{"write, silence, a patient caller", hang(), write, time.Minute, op.CodeTimeout, 10 * time.Second},
		{"read, silence", hang(), read, 0, op.CodeTimeout, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := router(t, c.servers, peers(3, gossip.Alive))
				ctx := t.Context()
				if c.patience > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.patience)
					defer cancel()
				}
				start := time.Now()
				err := c.ask(ctx, r)
				if took := time.Since(start); op.CodeOf(err) != c.want || took > c.within {
					t.Errorf("%v (%s) after %s, want %s within %s", err, op.CodeOf(err), took, c.want, c.within)
				}
				if e := op.AsError(err); c.want == op.CodeNoLeader && e.Datacenter != "dc2" {
					t.Errorf("the error is about %q", e.Datacenter)
				}
				synctest.Wait()
			})
		})
	}
}

// streams refuses all of them.
type streams struct{}

func (streams) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

func TestWhatCannotBeFollowedSaysWhyAsACallDoes(t *testing.T) {
	s := &servers{do: func(context.Context, string) ([]byte, error) { return nil, transport.ErrUnreachable }}
	removed := false
	r := New(Config{Datacenter: "dc1", Transport: s, Log: logging.Discard(), Registerer: prometheus.NewRegistry(), Removed: func(dc string) bool { return removed && dc == "dc2" }})
	t.Cleanup(func() { _ = r.Stop(context.Background()) })
	check := func(what, dc string, want op.Code) {
		t.Helper()
		call := op.NewCall(&kv.Get, op.Header{Datacenter: dc}, &kv.GetRequest{Key: "k"})
		_, asked := r.Do(t.Context(), call)
		followed := r.Subscriber(streams{}).Subscribe(t.Context(), call, func(*op.Reply) error { return nil })
		var e *op.Error
		if op.CodeOf(asked) != want || !errors.As(followed, &e) || e.Code != want || e.Datacenter != dc {
			t.Errorf("%s: a call says %s, following says %v, want %s", what, op.CodeOf(asked), fmt.Sprintf("%#v", followed), want)
		}
	}
	check("never seen", "dc9", op.CodeUnknownDatacenter)
	r.Update(nil, peers(2, gossip.Left))
	check("left", "dc2", op.CodeLeftDatacenter)
	r.Update(nil, peers(2, gossip.Alive))
	check("out of reach", "dc2", op.CodeUnreachableDatacenter)
	removed = true
	check("removed a moment ago", "dc2", op.CodeRemovedDatacenter)
}

// Stop does not wait for the callers of second tries.
func TestStopEndsSecondTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite()
		r := New(Config{Datacenter: "dc1", Transport: s, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
		r.Update(nil, peers(2, gossip.Alive))
		s.freeze(true, "id0", "id1")
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), r, "dc2") })
		wait(time.Second)
		start := time.Now()
		if err := r.Stop(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		wg.Wait()
	})
}

// One server that answers that there is no leader shows that the datacenter can be
// reached, whatever becomes of the others.
func TestNoLeaderAndOutOfReachAreToldApart(t *testing.T) {
	for name, lost := range map[string]error{"out of reach": transport.ErrUnreachable, "lost": transport.ErrLost} {
		for range 2 { // whoever is asked first
			first := true
			var mu sync.Mutex
			s := &servers{do: func(context.Context, string) ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				if first = !first; first {
					return nil, fmt.Errorf("gone: %w", lost)
				}
				return op.AppendError(nil, op.ErrNoLeader), nil
			}}
			r := router(t, s, peers(2, gossip.Alive))
			for range 2 {
				if _, err := get(t.Context(), r, "dc2"); op.CodeOf(err) != op.CodeNoLeader {
					t.Errorf("%s: %v (%s)", name, err, op.CodeOf(err))
				}
			}
			first = true
			_, _, err := kv.Apply.Call(t.Context(), r, op.Header{Datacenter: "dc2"}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}})
			want := op.CodeNoLeader
			if lost == transport.ErrLost {
				want = op.CodeLost // it may have been carried out
			}
			if op.CodeOf(err) != want {
				t.Errorf("write, %s: %v (%s), want %s", name, err, op.CodeOf(err), want)
			}
		}
	}
}

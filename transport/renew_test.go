package transport

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/transport/identity"
)

// A key is rotated at both ends while calls go back and forth on both kinds of
// connections: none is lost, and in the end nothing holds that a removed key proved.
func TestNoCallIsLostWhenConnectionsAreRenewed(t *testing.T) {
	for name, protocol := range map[string]Protocol{"a stream for each": {}, "multiplexed": {Shared: true}, "on two of several connections": {Lossy: true, PoolSize: 4}} {
		t.Run(name, func(t *testing.T) {
			ids := []*identity.Derived{derived(t, testKey(1), server("a")), derived(t, testKey(1), server("b"))}
			protocol.Answer = echoed
			serving := func(c *Config) { c.Protocols = map[string]Protocol{testProtocol: protocol} }
			a, b := endpoint(t, ids[0], serving), endpoint(t, ids[1], serving)
			done, stop := callsBetween(t, a, b)
			eventually(t, 5*time.Second, "calls", func() bool { return done.Load() > 100 })
			old := append(a.snapshot(), b.snapshot()...)

			for i, id := range ids { // -install
				if err := id.SetKeys(testKey(1), testKey(2)); err != nil {
					t.Fatal(i, err)
				}
			}
			installed := time.Now()
			for _, id := range ids { // -use, then -remove
				if err := id.SetKeys(testKey(2), testKey(1)); err != nil {
					t.Fatal(err)
				}
			}
			// Handshakes that began with the old key end before it goes: operators leave seconds between.
			eventually(t, 5*time.Second, "no dial is under way", func() bool { return !dialling(a) && !dialling(b) })
			for i, e := range []*Endpoint{a, b} {
				if err := ids[i].SetKeys(testKey(2)); err != nil {
					t.Fatal(err)
				}
				if n := e.Renew(installed); n == 0 {
					t.Error("no connection was to be renewed")
				}
			}
			eventually(t, 10*time.Second, "the old connections are closed", func() bool {
				for _, c := range old {
					if c.alive() {
						return false
					}
				}
				return true
			})
			from := done.Load()
			eventually(t, 5*time.Second, "calls go on", func() bool { return done.Load() > from+100 })
			stop()
			if n := a.Renew(installed) + b.Renew(installed); n != 0 {
				t.Errorf("%d connections are as old as the removed key", n)
			}
		})
	}
}

// dialling reports whether an endpoint makes a connection.
func dialling(e *Endpoint) bool {
	e.mu.Lock()
	paths := slices.Collect(maps.Values(e.paths))
	e.mu.Unlock()
	return slices.ContainsFunc(paths, func(p *path) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.attempt != nil
	})
}

// callsBetween has both endpoints call each other until stop, which fails for what was lost.
func callsBetween(t *testing.T, a, b *Endpoint) (done *atomic.Int64, stop func()) {
	t.Helper()
	done = new(atomic.Int64)
	end := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for i := range 8 {
		from, at := a, b
		if i%2 == 1 {
			from, at = b, a
		}
		wg.Go(func() {
			for n, refused := 0, 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				text := fmt.Sprintf("call %d of %d", n, i)
				got, err := from.RoundTrip(within(t, 5*time.Second), to(at), testProtocol, []byte(text), nil)
				if err == nil && string(got) == text {
					done.Add(1)
					continue
				}
				// A handshake may be slower at the other end than the rotation of a key: those calls did
				// not begin, and who asks begins them anew.
				if refused++; refused < 40 && errors.Is(err, ErrRefused) {
					<-time.After(50 * time.Millisecond)
					continue
				}
				mu.Lock()
				failed = append(failed, fmt.Errorf("%s: %q, %w", text, got, err))
				mu.Unlock()
			}
		})
	}
	return done, func() {
		close(end)
		wg.Wait()
		for _, err := range failed[:min(len(failed), 5)] {
			t.Error(err)
		}
	}
}

// Who has only a removed key is out within the time that a call may take, also with
// something in flight.
func TestWhoProvedHimselfWithARemovedKeyIsOut(t *testing.T) {
	id := derived(t, testKey(2), server("a"), testKey(1))
	a := endpoint(t, id)
	intruder := endpoint(t, derived(t, testKey(1), server("b")))
	if _, err := intruder.RoundTrip(within(t, 5*time.Second), to(a), testProtocol, []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	if n := a.Renew(time.Time{}); n != 0 {
		t.Errorf("%d connections end while their key is accepted", n)
	}
	if err := id.SetKeys(testKey(2)); err != nil {
		t.Fatal(err)
	}
	if n := a.Renew(time.Time{}); n != 1 {
		t.Errorf("%d connections end, want that of the removed key", n)
	}
	eventually(t, 5*time.Second, "it is closed", func() bool { return len(a.snapshot()) == 0 })
	if _, err := intruder.RoundTrip(within(t, 5*time.Second), to(a), testProtocol, []byte("x"), nil); err == nil {
		t.Error("it is let in again")
	}
}

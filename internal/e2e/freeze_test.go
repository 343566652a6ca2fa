//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// What a frozen datacenter may cost the others.
const (
	// noise is what the p99 of local calls may differ by from one phase to the next
	// with nothing else going on, on a machine of which others take their share.
	noise = 25 * time.Millisecond
	// moreMemory is what an agent may grow by while it is asked for what cannot be
	// had, in bytes: its garbage, that is, not its callers.
	moreMemory = 24 << 20
	// thawed is how soon calls work again.
	thawed = 3 * time.Second
	// learned is how long the first calls may take: the servers are late, then they
	// do not answer a probe, and what is left is slack for a busy machine.
	learned = 4 * time.Second
)

// paced are callers that each ask at a steady pace, not as fast as they can: a
// call that fails at once must not become a load of its own.
type paced struct {
	url    string
	client *http.Client
	n      int
	every  time.Duration
}

// asked is how the calls of a phase ended.
type asked struct {
	mu      sync.Mutex
	ok      []time.Duration
	failed  []time.Duration
	reasons map[string]int
}

func (p paced) run(ctx context.Context) *asked {
	a := &asked{reasons: map[string]int{}}
	var wg sync.WaitGroup
	for range p.n {
		wg.Go(func() {
			tick := time.NewTicker(p.every)
			defer tick.Stop()
			for ctx.Err() == nil {
				start := time.Now()
				reason, err := p.ask()
				a.note(time.Since(start), reason, err)
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(a.ok)
	slices.Sort(a.failed)
	return a
}

func (p paced) ask() (reason string, err error) {
	resp, err := p.client.Get(p.url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return resp.Header.Get("X-Legate-Reason"), err
}

func (a *asked) note(took time.Duration, reason string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.ok = append(a.ok, took)
		return
	}
	a.failed = append(a.failed, took)
	a.reasons[reason]++
}

func rank(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)*percent/100].Round(100 * time.Microsecond)
}

// phase runs local calls and calls across beside each other.
func phase(t *testing.T, d time.Duration, local, across paced) (here, there *asked) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { here = local.run(ctx) })
	wg.Go(func() { there = across.run(ctx) })
	wg.Wait()
	return here, there
}

func (f *federation) memory(i int) (most uint64) {
	f.t.Helper()
	for _, n := range append(slices.Clone(f.servers[i]), f.clients[i]) {
		now, _, err := n.Memory()
		if err != nil {
			f.t.Fatal(err)
		}
		most = max(most, now)
	}
	return most
}

// All servers of a datacenter stand still, their sockets take packets: the worst
// that a datacenter can do to others.
func TestFrozenDatacenterCostsOthersNothing(t *testing.T) {
	f := newFederation(t)
	proctest.Until(t, patience, "the federation works", func() error { return f.works("start") })
	asker := f.clients[0]
	web := &http.Client{Transport: asker.host.Transport(), Timeout: time.Minute}
	url := "http://" + asker.ip + ":8500/v1/kv/start/dc1?raw"
	local := paced{url, web, 4, 10 * time.Millisecond}
	across := paced{url + "&dc=dc2", web, 32, 100 * time.Millisecond}

	before, there := phase(t, 6*time.Second, local, across)
	if len(before.failed)+len(there.failed) > 0 {
		t.Fatalf("before the freeze %d and %d calls failed: %v", len(before.failed), len(there.failed), there.reasons)
	}
	size := f.memory(0)
	for _, s := range f.servers[1] {
		s.Signal(syscall.SIGSTOP)
	}
	during, there := phase(t, 12*time.Second, local, across)
	grown := f.memory(0)
	start := time.Now()
	for _, s := range f.servers[1] {
		s.Signal(syscall.SIGCONT)
	}
	back := proctest.Until(t, patience, "the thawed datacenter is asked again", func() error { _, err := across.ask(); return err })

	t.Logf("local p50 %v → %v, p99 %v → %v; %d calls to the frozen datacenter: %d at once, slowest %v, reasons %v; largest agent %d → %d MiB; back after %v",
		rank(before.ok, 50), rank(during.ok, 50), rank(before.ok, 99), rank(during.ok, 99), len(there.failed), atOnce(there.failed), rank(there.failed, 99), there.reasons, size>>20, grown>>20, back.Round(time.Millisecond))
	if limit := rank(before.ok, 99) + max(rank(before.ok, 99)/10, noise); rank(during.ok, 99) > limit || len(during.failed) > 0 {
		t.Errorf("local calls during the freeze: p99 %v, want at most %v; %d failed", rank(during.ok, 99), limit, len(during.failed))
	}
	if n := len(there.failed); n == 0 || there.failed[n-1] > learned || atOnce(there.failed) < n*3/4 || there.reasons["unreachable-datacenter"] < n*3/4 {
		t.Errorf("calls to the frozen datacenter: %d failed, %d at once, slowest %v, reasons %v", n, atOnce(there.failed), rank(there.failed, 99), there.reasons)
	}
	if grown > size+moreMemory {
		t.Errorf("an agent grew from %d to %d MiB", size>>20, grown>>20)
	}
	if took := time.Since(start); took > thawed {
		t.Errorf("the thawed datacenter answers after %v", took)
	}
	after, there := phase(t, 2*time.Second, local, across)
	if len(after.failed)+len(there.failed) > 0 {
		t.Errorf("after the thaw %d and %d calls failed: %v", len(after.failed), len(there.failed), there.reasons)
	}
	for _, n := range append(f.clients[:], f.servers[0]...) {
		calm(t, n.name+" of "+n.dc, n.String())
	}
}

// atOnce counts calls that nobody had to wait for.
func atOnce(d []time.Duration) (n int) {
	for _, took := range d {
		if took < 200*time.Millisecond {
			n++
		}
	}
	return n
}

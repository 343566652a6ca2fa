//go:build linux

package linear

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Bars.
const (
	maxGap   = 4 * time.Second  // without a write, beside one fault that leaves a majority
	maxWhole = 10 * time.Second // from the last heal until every agent takes a write
)

// warmUp is how long clients work before the first fault.
const warmUp = time.Second

// longRun is how long the long form runs; 0 is the short form.
func longRun(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("LEGATE_LINEAR")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("LEGATE_LINEAR: %v", err)
	}
	return d
}

// seedOf is the seed of a run, printed so that it can be repeated.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LEGATE_LINEAR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LEGATE_LINEAR_SEED: %v", err)
		}
	}
	t.Logf("LEGATE_LINEAR_SEED=%d", seed)
	return seed
}

// tally is what the faults of a run did, by kind.
type tally struct {
	count map[string]int
	gap   map[string]time.Duration
	whole map[string]time.Duration
}

func (y *tally) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(y.count)) {
		lines = append(lines, fmt.Sprintf("  %-45s %4d times, longest without a write %6.3f s, whole after at most %6.3f s",
			name, y.count[name], y.gap[name].Seconds(), y.whole[name].Seconds()))
	}
	return strings.Join(lines, "\n")
}

// campaign lets clients work while faults come and go, one after another, and
// judges what they saw.
type campaign struct {
	t    *testing.T
	c    *cluster
	h    *history
	w    *watch
	rand *rand.Rand
	tally
}

// run calls next until it returns no more faults.
func run(t *testing.T, c *cluster, seed uint64, next func(n int) (fault, bool)) {
	t.Helper()
	p := &campaign{t: t, c: c, h: c.h, rand: rand.New(rand.NewPCG(seed, 0)),
		tally: tally{map[string]int{}, map[string]time.Duration{}, map[string]time.Duration{}}}
	ctx, cancel := context.WithCancel(t.Context())
	wait := c.load(ctx, p.h, seed)
	watched, rest := c.watch(ctx, seed)
	p.w = watched
	func() {
		defer rest()
		defer wait()
		defer cancel()
		<-time.After(warmUp)
		for n := 0; ; n++ {
			f, ok := next(n)
			if !ok {
				return
			}
			p.suffer(f)
		}
	}()
	for _, n := range c.servers {
		c.calm(n)
	}
	check(t, p.h)
	p.w.judge(t)
	p.report()
}

// suffer is one fault from its beginning until all is well again.
func (p *campaign) suffer(f fault) {
	p.t.Helper()
	p.h.Mark()
	began := p.h.Now()
	f.strike(p.c, p.rand)
	<-time.After(time.Second + time.Duration(p.rand.IntN(3000))*time.Millisecond)
	p.c.heal()
	healed := p.h.Now()
	whole := p.c.whole(patience)
	if f.then != nil {
		f.then(p.c)
	}
	p.w.settle(p.t)
	<-time.After(time.Duration(p.rand.IntN(1000)) * time.Millisecond)
	gap := p.h.SinceMark()
	p.t.Logf("%8.3f %-45s healed at %8.3f, whole %6.3f s later, longest without a write %6.3f s",
		began.Seconds(), f.name, healed.Seconds(), whole.Seconds(), gap.Seconds())
	p.count[f.name]++
	p.gap[f.name] = max(p.gap[f.name], gap)
	p.whole[f.name] = max(p.whole[f.name], whole)
	if gap > maxGap && !f.outage {
		p.t.Errorf("%s: %s without a write, want less than %s", f.name, gap, maxGap)
	}
	if whole > maxWhole {
		p.t.Errorf("%s: not every agent takes writes until %s after the end, want less than %s", f.name, whole, maxWhole)
	}
}

func (p *campaign) report() {
	p.t.Helper()
	counts := p.h.Counts()
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		p.t.Logf("%-10s %v", k, counts[k])
	}
	p.t.Logf("faults with %d servers:\n%s", len(p.c.servers), p.tally.String())
}

func TestNothingThatWasSaidIsUnsaid(t *testing.T) {
	t.Parallel()
	long := longRun(t)
	if long == 0 {
		const short = 4 // the first ones: those that break most
		all := append(faults()[:short:short], changes()[0], restorations()[0])
		run(t, newCluster(t, 3, plain(t)), seedOf(t), func(n int) (fault, bool) { return all[n%len(all)], n < len(all) })
		return
	}
	for _, size := range []int{3, 5} {
		t.Run(fmt.Sprintf("%d servers", size), func(t *testing.T) {
			all, end, seed := chosen(everything()), time.Now().Add(long/2), seedOf(t)
			order := rand.New(rand.NewPCG(seed, 1)).Perm(len(all))
			run(t, newCluster(t, size, plain(t)), seed, func(n int) (fault, bool) { return all[order[n%len(all)]], time.Now().Before(end) })
		})
	}
}

func everything() []fault { return slices.Concat(faults(), changes(), rotations(), restorations()) }

// chosen are the faults with LEGATE_LINEAR_FAULT in their name.
func chosen(all []fault) []fault {
	part := os.Getenv("LEGATE_LINEAR_FAULT")
	return slices.DeleteFunc(all, func(f fault) bool { return !strings.Contains(f.name, part) })
}

// TestAFullDiskUnsaysNothing fills the disk of the leader, then of another
// server, each time until the end of the fault.
func TestAFullDiskUnsaysNothing(t *testing.T) {
	if longRun(t) == 0 {
		t.Skip("the long form only: it writes gigabytes to memory")
	}
	const rounds, maxBulk = 2, 400
	c := newCluster(t, 3, tmpfs(t, "1500m"))
	of := func(name string, pick func(*rand.Rand) *node) fault {
		return fault{name: name, strike: func(c *cluster, r *rand.Rand) {
			n := pick(r)
			free, err := fill(n)
			if err != nil {
				t.Fatal(err)
			}
			c.debts = append(c.debts, free)
			bulk := strings.Repeat("x", 500<<10)
			for i := 0; i < maxBulk && !n.Exited(); i++ { // the log has reserved room that it uses first
				// Who is asked may be gone.
				_, _ = c.ask(http.MethodPut, c.servers[i%len(c.servers)], fmt.Sprint("/v1/kv/bulk/", i%8), bulk)
			}
			c.until("the server notices that its disk is full", func() error {
				if !n.Exited() {
					return errors.New("it runs")
				}
				return nil
			})
		}}
	}
	all := []fault{
		of("the leader's disk is full", func(*rand.Rand) *node { return c.leader() }),
		of("a disk is full", func(r *rand.Rand) *node { return c.servers[r.IntN(len(c.servers))] }),
	}
	run(t, c, seedOf(t), func(n int) (fault, bool) { return all[n%len(all)], n < rounds*len(all) })
}

// TestNothingOldAfterAllWereKilled kills all servers at once and asks each of
// them from its first moment: no default or consistent read is older than the
// last write that was acknowledged.
func TestNothingOldAfterAllWereKilled(t *testing.T) {
	t.Parallel()
	rounds := 2
	if longRun(t) > 0 {
		rounds = 10
	}
	c := newCluster(t, 3, plain(t))
	for round := range rounds {
		last := 0
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); last++ {
			c.set(c.servers[last%3], "count", fmt.Sprintf("%d.%06d", round, last))
		}
		for _, n := range c.servers {
			c.kill(n)
		}
		for _, n := range c.servers {
			c.start(n)
		}
		want, seen := fmt.Sprintf("%d.%06d", round, last-1), 0
		for path := range everyPath(t, c, 5*time.Second) {
			body, err := c.ask(http.MethodGet, path.n, path.path, "")
			if err != nil {
				continue
			}
			if seen++; body != want {
				t.Errorf("%s answers %s with %q, the last acknowledged write is %q", path.n.label(), path.path, body, want)
			}
		}
		if seen < 6 {
			t.Errorf("only %d reads were answered", seen)
		}
		c.whole(patience)
	}
}

type question struct {
	n    *node
	path string
}

// everyPath asks for default and consistent reads of all servers in turn, for
// a time or until all have been asked often.
func everyPath(t *testing.T, c *cluster, limit time.Duration) func(yield func(question) bool) {
	t.Helper()
	return func(yield func(question) bool) {
		for end := time.Now().Add(limit); time.Now().Before(end); {
			for _, n := range c.servers {
				if !yield(question{n, "/v1/kv/count?raw"}) || !yield(question{n, "/v1/kv/count?raw&consistent"}) {
					return
				}
			}
		}
	}
}

//go:build linux

package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Shape of what is watched.
const (
	pairs        = 3 // of keys, each with one writer
	watchWait    = time.Minute
	told         = 15 * time.Second // from the last change until every watcher knows it; less than watchWait
	toldSoon     = 2 * time.Second  // what is later is worth a line
	abroad       = -1               // place of who asks another datacenter
	quietMoments = 10
	shortWait    = 500 * time.Millisecond
	writePace    = 300 * time.Millisecond
	lateWrite    = 30 * time.Second // no write of unknown outcome takes place after that
)

// pairWriter writes both keys of a pair, the same number to both in one
// transaction. Numbers rise, and each write compares with the version before,
// so that one of unknown outcome never takes place after a later one.
type pairWriter struct {
	c       *cluster
	a, b    string
	home    func() *node
	http    *http.Client
	rand    *rand.Rand
	number  int
	index   uint64 // of the first key; 0: it is not there
	careful time.Time
}

type txnOp struct{ KV kvOp }

type kvOp struct {
	Verb, Key string
	Value     []byte `json:",omitempty"`
	Index     uint64 `json:",omitempty"`
}

// write changes the pair and reports whether that was acknowledged.
func (w *pairWriter) write(gone bool) bool {
	w.number++
	value := []byte(strconv.Itoa(w.number))
	ops := []txnOp{{kvOp{"cas", w.a, value, w.index}}, {kvOp{"set", w.b, value, 0}}}
	if gone = gone && w.index > 0 && time.Now().After(w.careful); gone {
		ops = []txnOp{{kvOp{"delete-cas", w.a, nil, w.index}}, {kvOp{"delete", w.b, nil, 0}}}
	}
	var answer struct {
		Results []struct{ KV struct{ ModifyIndex uint64 } }
	}
	err := w.ask(http.MethodPut, "/v1/txn", ops, &answer)
	switch {
	case err == nil && gone:
		w.index = 0
		return true
	case err == nil && len(answer.Results) > 0:
		w.index = answer.Results[0].KV.ModifyIndex
		return true
	case w.index == 0: // when both keys are gone again, it could still take place
		w.careful = time.Now().Add(lateWrite)
	}
	var entries []struct{ ModifyIndex uint64 }
	err = w.ask(http.MethodGet, "/v1/kv/"+w.a+"?consistent", nil, &entries)
	if err == nil && len(entries) == 1 {
		w.index = entries[0].ModifyIndex
	} else if errors.Is(err, errAbsent) {
		w.index = 0
	}
	return false
}

func (w *pairWriter) ask(method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = strings.NewReader(string(b))
	}
	req, err := http.NewRequest(method, w.home().url(path), in)
	if err != nil {
		return err
	}
	res, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(res.Body).Decode(answer)
	case http.StatusNotFound:
		return errAbsent
	}
	return errors.New(res.Status)
}

// watcher follows a key or what is below a prefix, by default, consistent or
// stale reads that wait.
type watcher struct {
	c     *cluster
	name  string
	query string // recurse, keys, or neither; and the mode
	path  string
	wait  time.Duration
	home  func() *node
	http  *http.Client
	pause time.Duration

	mu     sync.Mutex
	last   news
	newest map[string]int
	behind uint64 // where the group was when this life of its server began: until then it replays
	faults []string
	log    []string
	count  int
	idle   int // answers before their time with no other index
}

// news is one answer to a watcher.
type news struct {
	asked, index uint64
	early        bool           // before the time to wait was over
	life         string         // whose state it is; empty if that is not known
	began, ended int64          // restores before it was asked, and before it was answered
	values       map[string]int // by key; 0 of keys alone
	group        uint64         // what the group had told others before it was asked
}

func (a news) String() string {
	return fmt.Sprintf("asked %d, told %d, early %t, state of %q: %v", a.asked, a.index, a.early, a.life, a.values)
}

const keptAnswers = 20

// take judges an answer by those before.
func (w *watcher) take(a news) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	w.log = append(w.log, a.String())
	w.log = w.log[max(0, len(w.log)-keptAnswers):]
	fault := func(what string) { w.faults = append(w.faults, w.name+": "+what+":\n"+strings.Join(w.log, "\n")) }
	if a.early && a.index < a.asked {
		fault("an answer is older than what was asked for")
	}
	if a.early && a.index == a.asked {
		w.idle++
	}
	same := a.life != "" && a.life == w.last.life
	if same && a.index < w.last.index {
		fault("an index goes back")
	}
	if !same {
		w.behind = a.group
	}
	replays := w.last.index < w.behind && a.ended > 0 // by the log, what was restored before as well
	if !same || replays || w.last.began != a.ended || a.ended%2 == 1 {
		w.newest = map[string]int{} // something may have been restored since, by this server
	}
	for key, n := range a.values {
		if n < w.newest[key] {
			fault("the value of " + key + " goes back")
		}
		w.newest[key] = n
		other := strings.TrimSuffix(key, "a") + "b"
		if m, ok := a.values[other]; strings.Contains(w.query, "recurse") && strings.HasSuffix(key, "a") && (!ok || m != n) {
			fault("half of a transaction is seen at " + key)
		}
	}
	w.last = a
}

// knows reports whether the last answer was this.
func (w *watcher) knows(want map[string]int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, n := range w.last.values {
		if _, ok := want[key]; !ok || n != want[key] && !strings.Contains(w.query, "keys") {
			return false
		}
	}
	for key := range want {
		if _, ok := w.last.values[key]; !ok && strings.HasPrefix(key, w.path) {
			return false
		}
	}
	return true
}

func (w *watcher) run(ctx context.Context) {
	defer w.http.CloseIdleConnections()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		next := time.Duration(0)
		if a, err := w.ask(ctx); err == nil {
			w.take(a)
		} else {
			next = w.pause
		}
		pause.Reset(next)
	}
}

func (w *watcher) ask(ctx context.Context) (news, error) {
	n := w.home()
	a := news{asked: w.last.index, began: w.c.restores.Load(), life: "the group", values: map[string]int{}, group: w.c.newest.Load()}
	url := n.url(n.asking(fmt.Sprintf("/v1/kv/%s?%s&index=%d&wait=%s", w.path, w.query, a.asked, w.wait)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	before, asked := n.label(), time.Now()
	res, err := w.http.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return a, err
	}
	a.early, a.ended = time.Since(asked) < w.wait, w.c.restores.Load()
	if strings.Contains(w.query, "stale") {
		if a.life = before; n.label() != before || n.dc != "dc1" {
			a.life = ""
		}
	}
	a.index, err = strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64)
	if a.life == "the group" {
		w.c.newest.Store(max(w.c.newest.Load(), a.index)) // of several at once one may be lost
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		return a, err
	case res.StatusCode != http.StatusOK:
		return a, errors.New(res.Status)
	case err != nil:
		return a, err
	case strings.Contains(w.query, "keys"):
		var keys []string
		err = json.Unmarshal(body, &keys)
		for _, key := range keys {
			a.values[key] = 0
		}
		return a, err
	}
	var entries []struct {
		Key   string
		Value []byte
	}
	err = json.Unmarshal(body, &entries)
	for _, e := range entries {
		n, bad := strconv.Atoi(string(e.Value))
		a.values[e.Key] = n
		err = errors.Join(err, bad)
	}
	return a, err
}

// watch is all that is watched in a run, by whom.
type watch struct {
	calm     sync.RWMutex // held by who wants writers to pause
	writers  []*pairWriter
	watchers []*watcher
	slowest  time.Duration
	restores *atomic.Int64
}

// watch starts writers and watchers; they end with ctx, and the returned
// function waits for that.
func (c *cluster) watch(ctx context.Context, seed uint64) (v *watch, wait func()) {
	v = &watch{restores: &c.restores}
	var wg sync.WaitGroup
	follow := func(path, query string, place int, wait time.Duration) {
		w := &watcher{c: c, path: path, query: query, wait: wait, pause: 50 * time.Millisecond, newest: map[string]int{},
			name: fmt.Sprintf("watcher %d of %s?%s", len(v.watchers), path, query),
			http: &http.Client{Transport: c.home.Transport(), Timeout: wait + 10*time.Second}}
		r := rand.New(rand.NewPCG(seed, uint64(1000+len(v.watchers))))
		if w.home = c.homeOf(place, r); place == abroad {
			w.home = c.farHome(r)
		}
		v.watchers = append(v.watchers, w)
		wg.Go(func() { w.run(ctx) })
	}
	agent := len(c.servers)
	for i := range pairs {
		below := fmt.Sprintf("watch/%d/", i)
		w := &pairWriter{c: c, a: below + "a", b: below + "b", rand: rand.New(rand.NewPCG(seed, uint64(2000+i))),
			http: &http.Client{Transport: c.home.Transport(), Timeout: 4 * time.Second}}
		w.home = c.homeOf(agent+i, rand.New(rand.NewPCG(seed, uint64(3000+i))))
		v.writers = append(v.writers, w)
		wg.Go(func() { v.write(ctx, w) })
		follow(below+"a", "", agent, watchWait)
		follow(below+"a", "consistent", i, watchWait)
		follow(below+"b", "stale", i, watchWait)
		follow(below, "recurse", agent+1, watchWait) // another server each time
		follow(below, "keys&stale", i, watchWait)
	}
	follow("watch/", "recurse", agent, watchWait)
	follow("watch/", "recurse&stale", 0, shortWait)
	follow("watch/", "recurse", 1, shortWait)
	if len(c.far) > 0 {
		follow("watch/0/a", "", abroad, watchWait)
		follow("watch/1/", "recurse", abroad, watchWait)
		follow("watch/", "recurse", abroad, shortWait)
		follow("watch/2/b", "stale", abroad, watchWait)
	}
	return v, wg.Wait
}

func (v *watch) write(ctx context.Context, w *pairWriter) {
	defer w.http.CloseIdleConnections()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		v.calm.RLock()
		w.write(w.rand.IntN(10) == 0)
		v.calm.RUnlock()
		pause.Reset(time.Duration(w.rand.Int64N(int64(writePace))))
	}
}

// settle lets nobody else write, and writes a last time and waits until every
// watcher knows what is there then, again and again.
func (v *watch) settle(t *testing.T) {
	t.Helper()
	v.calm.Lock()
	defer v.calm.Unlock()
	began := time.Now()
	for range quietMoments {
		if !v.quiet(t) {
			break
		}
	}
	v.slowest = max(v.slowest, time.Since(began))
	if v.restores.Load()%2 == 1 {
		v.restores.Add(1) // every server has restored it
	}
}

// quiet is one such moment; it reports whether all went well.
func (v *watch) quiet(t *testing.T) bool {
	t.Helper()
	want, tick := map[string]int{}, time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for _, w := range v.writers {
		for deadline := time.Now().Add(patience); !w.write(false); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("nobody could write %s within %s", w.a, patience)
			}
		}
		want[w.a], want[w.b] = w.number, w.number
	}
	began, well := time.Now(), true
	for _, w := range v.watchers {
		for well && !w.knows(want) {
			if <-tick.C; time.Since(began) > told {
				w.mu.Lock()
				t.Errorf("%s does not know within %s that there is %v:\n%s", w.name, told, want, strings.Join(w.log, "\n"))
				w.mu.Unlock()
				well = false
			}
		}
		if late := time.Since(began); late > toldSoon {
			t.Logf("%s knows the last change after %s", w.name, late.Round(time.Millisecond))
		}
	}
	return well
}

// judge fails the test for what watchers complain of.
func (v *watch) judge(t *testing.T) {
	t.Helper()
	count, idle, writes := 0, 0, 0
	for _, w := range v.writers {
		writes += w.number
	}
	for _, w := range v.watchers {
		count += w.count
		idle += w.idle
		for _, f := range w.faults[:min(len(w.faults), 3)] {
			t.Error(f)
		}
	}
	t.Logf("%d watchers were told %d times of %d writes, %d times without need, settled within %s",
		len(v.watchers), count, writes, idle, v.slowest.Round(time.Millisecond))
}

func TestTheJudgeOfWatchersKnowsRightFromWrong(t *testing.T) {
	both := func(n int) map[string]int { return map[string]int{"w/a": n, "w/b": n} }
	for _, c := range []struct {
		name    string
		answers []news
		fault   string
	}{
		{"changes", []news{{0, 5, true, "x", 0, 0, both(1), 0}, {5, 6, true, "x", 0, 0, nil, 0}, {6, 7, true, "x", 0, 0, both(3), 0}}, ""},
		{"an older answer", []news{{0, 5, true, "x", 0, 0, both(1), 0}, {5, 4, true, "", 0, 0, both(1), 0}}, "older than what was asked"},
		{"an older answer of another life when the time is over", []news{{0, 5, true, "x#1", 0, 0, both(1), 0}, {5, 4, false, "x#2", 0, 0, both(0), 0}}, ""},
		{"an index that goes back", []news{{0, 5, true, "x", 0, 0, both(1), 0}, {5, 4, false, "x", 0, 0, both(1), 0}}, "index goes back"},
		{"a value that goes back", []news{{0, 5, true, "x", 0, 0, both(2), 0}, {5, 6, true, "x", 0, 0, both(1), 0}}, "value of w/"},
		{"a value that is restored", []news{{0, 5, true, "x", 0, 0, both(2), 0}, {5, 6, true, "x", 0, 1, both(1), 0}}, ""},
		{"a value that is being restored", []news{{0, 5, true, "x", 1, 1, both(2), 0}, {5, 6, true, "x", 1, 1, both(1), 0}}, ""},
		{"half of a transaction", []news{{0, 5, true, "x", 0, 0, map[string]int{"w/a": 2, "w/b": 1}, 0}}, "half of a transaction"},
		{"a value that is restored by who replays the log", []news{{0, 1, false, "x#1", 2, 2, nil, 9}, {1, 5, true, "x#1", 2, 2, both(2), 9}, {5, 6, true, "x#1", 2, 2, both(1), 9}}, ""},
		{"a value that goes back when the log is replayed", []news{{0, 1, false, "x#1", 2, 2, nil, 5}, {1, 6, true, "x#1", 2, 2, both(2), 6}, {6, 7, true, "x#1", 2, 2, both(1), 7}}, "value of w/"},
		{"a value that goes back where nothing was restored", []news{{0, 1, false, "x#1", 0, 0, nil, 9}, {1, 5, true, "x#1", 0, 0, both(2), 9}, {5, 6, true, "x#1", 0, 0, both(1), 9}}, "value of w/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &watcher{query: "recurse", newest: map[string]int{}}
			for _, a := range c.answers {
				w.take(a)
			}
			got := strings.Join(w.faults, "\n")
			if (c.fault == "") != (got == "") || !strings.Contains(got, c.fault) {
				t.Errorf("finds %q, want %q", got, c.fault)
			}
		})
	}
	w := &watcher{path: "w/a", last: news{values: map[string]int{"w/a": 4}}}
	if !w.knows(both(4)) || w.knows(both(5)) {
		t.Errorf("takes %v for 4: %t, for 5: %t", slices.Sorted(maps.Keys(w.last.values)), w.knows(both(4)), w.knows(both(5)))
	}
}

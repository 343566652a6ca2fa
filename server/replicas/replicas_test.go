package replicas

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
)

// site is a datacenter of one server that leads.
type site struct {
	*Replicas
	name  string
	group *servertest.Group
	world *world
	cut   atomic.Bool  // nobody reaches it
	faint atomic.Int64 // of a hundred messages and commands, so many fail
	ends  func()       // its reign
	mu    sync.Mutex
	rng   *rand.Rand
}

type world struct{ sites map[string]*site }

func found(t *testing.T, names ...string) map[string]*site {
	t.Helper()
	w := &world{sites: map[string]*site{}}
	for i, dc := range names {
		st := servertest.OpenState(t)
		s := &site{name: dc, world: w, group: servertest.NewGroup(st, state.New()), rng: rand.New(rand.NewPCG(uint64(i), 1))}
		s.Replicas = New(Config{Datacenter: dc, Server: "s1." + dc, State: st, Log: logging.Discard(), Registerer: prometheus.NewRegistry(), FirstPause: 2 * time.Millisecond,
			Self: func() op.Caller { return op.CallerFunc(s.commit) }, Leads: func() bool { return true }, LeaderSilence: func() time.Duration { return 0 }})
		s.Connect(Links{Calls: op.CallerFunc(s.ask), Follow: s})
		w.sites[dc] = s
	}
	for _, s := range w.sites {
		s.lead(t)
	}
	return w.sites
}

// lead begins a reign, in place of the one before.
func (s *site) lead(t *testing.T) {
	if s.ends != nil {
		s.ends()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	s.ends = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(s.ends)
}

// fails says whether something fails now.
func (s *site) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Int64N(100) < s.faint.Load()
}

// commit carries out a command; with faults it may be lost before or after.
func (s *site) commit(ctx context.Context, call *op.Call) (*op.Reply, error) {
	lost := op.Errorf(op.CodeLost, "leadership was lost")
	if s.fails() {
		return nil, lost
	}
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	command, err := s.group.Machine.Encode(call.Operation, body)
	if err != nil {
		return nil, err
	}
	res, err := s.group.Propose(ctx, command)
	if s.fails() {
		return nil, lost
	}
	return op.NewReply(op.Meta{Index: 1}, res), err
}

func (s *site) reach(dc string) (*site, error) {
	to := s.world.sites[dc]
	if to == nil || to.cut.Load() || s.cut.Load() {
		return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: "No path to datacenter", Datacenter: dc}
	}
	return to, nil
}

// ask asks another datacenter.
func (s *site) ask(ctx context.Context, call *op.Call) (*op.Reply, error) {
	to, err := s.reach(call.Header.Datacenter)
	if err != nil {
		return nil, err
	}
	for _, h := range to.Handlers() {
		if h.Operation.OpName() == call.Operation.OpName() {
			request, err := call.Request()
			if err != nil {
				return nil, err
			}
			_, err = h.Answer(ctx, call.Header, request)
			return op.NewReply(op.Meta{}, nil), err
		}
	}
	return nil, op.Errorf(op.CodeUnsupported, "%s", call.Operation.OpName())
}

// Subscribe implements op.Subscriber: following over a wire of bytes.
func (s *site) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	to, err := s.reach(call.Header.Datacenter)
	if err != nil {
		return err
	}
	body, err := call.Body()
	if err != nil {
		return err
	}
	may := func() (<-chan struct{}, error) { return nil, nil }
	return to.Serve(op.WithFollower(ctx, s.name), op.Received(call.Operation, call.Header, body), may, func(r *op.Reply) error {
		b, err := op.AppendReply(nil, r)
		if err != nil {
			return err
		}
		if r, err = op.ReadReply(b); err != nil {
			return err
		}
		if to.cut.Load() || s.cut.Load() || s.fails() {
			return op.Errorf(op.CodeLost, "cut off")
		}
		return push(r)
	})
}

// apply carries out a command for sure.
func (s *site) apply(t testing.TB, o op.Preparable, request any) {
	t.Helper()
	s.group.Commit(t, o, request)
}

func (s *site) put(t testing.TB, key, value string) {
	t.Helper()
	s.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key, Value: []byte(value), Flags: uint64(len(value))}})
}

func (s *site) remove(t testing.TB, verb, key string) {
	t.Helper()
	s.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: verb, Entry: kv.Entry{Key: key}})
}

// follow makes a rule.
func (s *site) follow(t testing.TB, from, prefix, target string) {
	t.Helper()
	s.followIn(t, replication.Mirror, from, prefix, target)
}

func (s *site) followIn(t testing.TB, mode, from, prefix, target string) {
	t.Helper()
	s.apply(t, &replication.Set, &replication.SetRequest{Rule: replication.Rule{Datacenter: from, Prefix: prefix, Target: target, Mode: mode}})
}

// has is what is below a prefix, by the keys behind it.
func (s *site) has(prefix string) map[string]string {
	v := s.cfg.State.View()
	defer v.Close()
	found := map[string]string{}
	for e, err := range kv.From(v, prefix, "") {
		if err != nil {
			return map[string]string{"error": err.Error()}
		}
		found[e.Key[len(prefix):]] = fmt.Sprintf("%d %s", e.Flags, e.Value)
	}
	return found
}

// same waits until what is below the prefixes is the same.
func same(t *testing.T, from *site, prefix string, to *site, target string) {
	t.Helper()
	what := fmt.Sprintf("%q of %s is what %s has", target, to.name, from.name)
	defer func() {
		if t.Failed() {
			a, b := from.has(prefix), to.has(target)
			t.Logf("%s has %d keys, %s %d; the status is %+v", from.name, len(a), to.name, len(b), to.statuses(t))
		}
	}()
	servertest.Eventually(t, what, func() bool { return maps.Equal(from.has(prefix), to.has(target)) })
}

func (s *site) statuses(t *testing.T) []replication.Status {
	t.Helper()
	l, err := s.list(context.Background(), op.Header{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l.Rules
}

func (s *site) status(t *testing.T) replication.Status { t.Helper(); return s.statuses(t)[0] }

func TestAMirrorIsWhatTheOtherDatacenterHas(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	for i := range 5000 {
		dc1.put(t, fmt.Sprintf("config/%04d", i), strings.Repeat("x", i%200))
	}
	dc1.put(t, "config", "not below")
	dc1.put(t, "config/", "the prefix itself")
	dc2.put(t, "other", "stays")
	dc2.follow(t, "dc1", "config/", "copy/")
	same(t, dc1, "config/", dc2, "copy/")
	dc1.put(t, "config/new", "1")
	dc1.remove(t, kv.Delete, "config/0007")
	dc1.remove(t, kv.DeleteTree, "config/1")
	same(t, dc1, "config/", dc2, "copy/")
	if other := dc2.has("other"); len(other) != 1 {
		t.Error("another key went", other)
	}
	servertest.Eventually(t, "nothing is behind", func() bool {
		s := dc2.status(t)
		return s.State == replication.StateFollowing && s.LagEntries == 0 && s.LagSeconds == 0 && s.Index == dc1.cfg.State.Index()
	})
	if s := dc2.status(t); s.Deleted != 1001 || s.Written != 5002 || s.Comparisons != 0 || s.Mended != 0 {
		t.Errorf("wrote %d and deleted %d, compared %d times, mended %d", s.Written, s.Deleted, s.Comparisons, s.Mended)
	}
}

// A new leader goes on from where the last one was: what is the same is not told of again.
func TestANewLeaderGoesOn(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	for i := range 2000 {
		dc1.put(t, fmt.Sprintf("config/%04d", i), "value")
	}
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	servertest.Eventually(t, "it follows", func() bool { return dc2.status(t).State == replication.StateFollowing })
	dc2.ends()
	dc1.remove(t, kv.Delete, "config/0001")
	dc1.put(t, "config/0002", "another")
	dc1.put(t, "config/a", "new")
	dc2.lead(t)
	same(t, dc1, "config/", dc2, "config/")
	servertest.Eventually(t, "it follows", func() bool { return dc2.status(t).State == replication.StateFollowing })
	if s := dc2.status(t); s.Comparisons != 0 || s.Bytes > 100 || s.Written != 2 || s.Deleted != 1 {
		t.Errorf("%d bytes came for three changes, %d comparisons, %d written, %d deleted", s.Bytes, s.Comparisons, s.Written, s.Deleted)
	}
}

// collect has a datacenter forget what was deleted.
func (s *site) collect(t testing.TB) {
	t.Helper()
	s.apply(t, &state.Collect, &state.CollectRequest{UpTo: s.cfg.State.Index()})
}

// Where it is not known what was deleted, a comparison sends what differs.
func TestWhatIsForgottenIsCompared(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	for i := range 3000 {
		dc1.put(t, fmt.Sprintf("config/%04d", i), strings.Repeat("v", 100))
	}
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	servertest.Eventually(t, "it follows", func() bool { return dc2.status(t).State == replication.StateFollowing })
	dc2.ends()
	for i := range 10 {
		dc1.remove(t, kv.Delete, fmt.Sprintf("config/%04d", 100*i))
		dc1.put(t, fmt.Sprintf("config/%04d", 100*i+50), "another")
	}
	dc1.collect(t)
	dc2.lead(t)
	same(t, dc1, "config/", dc2, "config/")
	servertest.Eventually(t, "it follows", func() bool { return dc2.status(t).State == replication.StateFollowing })
	// Twenty ranges of at most eight keys, of 3,000.
	if s := dc2.status(t); s.Comparisons != 1 || s.Mended != 20 || s.Bytes > 20*8*110 {
		t.Errorf("%d comparisons mended %d keys with %d bytes", s.Comparisons, s.Mended, s.Bytes)
	}
}

// restore has a datacenter go back to an archive.
func (s *site) restore(t testing.TB, rows []byte, n uint64, id string) {
	t.Helper()
	s.apply(t, &state.RestoreBegin, &state.RestoreBeginRequest{ID: id})
	s.apply(t, &state.RestoreRows, &state.RestoreRowsRequest{ID: id, Rows: rows})
	s.apply(t, &state.RestoreFinish, &state.RestoreFinishRequest{ID: id, Rows: n, Index: 1})
}

// archive is what restore takes.
func (s *site) archive(t testing.TB) (rows []byte, n uint64) {
	t.Helper()
	v := s.cfg.State.View()
	defer v.Close()
	for row, err := range v.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		rows = state.AppendRow(rows, row.Key, row.Value)
		n++
	}
	return rows, n
}

func TestARestoredSourceAndARestoredMirror(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	for i := range 200 {
		dc1.put(t, fmt.Sprintf("config/%04d", i), "v")
	}
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	ofSource, n1 := dc1.archive(t)
	ofMirror, n2 := dc2.archive(t)
	dc1.put(t, "config/new", "gone with the restore")
	dc1.remove(t, kv.Delete, "config/0003")
	same(t, dc1, "config/", dc2, "config/")
	dc1.restore(t, ofSource, n1, "r1")
	same(t, dc1, "config/", dc2, "config/")
	if _, there := dc2.has("config/")["0003"]; !there {
		t.Error("what the restored source has again is not here")
	}
	dc2.ends()
	dc2.restore(t, ofMirror, n2, "r2")
	dc1.remove(t, kv.DeleteTree, "config/00")
	dc2.lead(t)
	same(t, dc1, "config/", dc2, "config/")
}

// A source whose index went back has lost data: the mirror becomes what it has.
func TestASourceThatBeganAnew(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2", "dc3")
	dc1, dc2, dc3 := sites["dc1"], sites["dc2"], sites["dc3"]
	for i := range 50 {
		dc1.put(t, fmt.Sprintf("config/%04d", i), "v")
	}
	dc3.put(t, "config/0001", "another")
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	dc2.ends()
	dc2.world.sites = map[string]*site{"dc1": dc3, "dc2": dc2} // dc1 is another one
	dc2.lead(t)
	same(t, dc3, "config/", dc2, "config/")
}

func TestOthersDoNotWriteIntoAMirror(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc2 := sites["dc2"]
	dc2.put(t, "configuration", "beside it")
	dc2.follow(t, "dc1", "config/", "config/")
	try := func(verb, key string) error {
		r := &kv.ApplyRequest{Verb: verb, Entry: kv.Entry{Key: key}}
		_, _, err := kv.Apply.Call(t.Context(), op.CallerFunc(dc2.commit), op.Header{}, r)
		return err
	}
	for _, tc := range []struct{ verb, key string }{{kv.Set, "config/a"}, {kv.CAS, "config/a"}, {kv.Delete, "config/"}, {kv.DeleteCAS, "config/a"},
		{kv.DeleteTree, ""}, {kv.DeleteTree, "con"}, {kv.DeleteTree, "config/a/b"}} {
		if err := try(tc.verb, tc.key); op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), `keys below "config/" are a mirror of "config/" in datacenter dc1`) {
			t.Errorf("%s of %q: %v", tc.verb, tc.key, err)
		}
	}
	for _, tc := range []struct{ verb, key string }{{kv.Set, "config"}, {kv.Delete, "configuration"}, {kv.DeleteTree, "config0"}} {
		if err := try(tc.verb, tc.key); err != nil {
			t.Errorf("%s of %q: %v", tc.verb, tc.key, err)
		}
	}
	dc2.apply(t, &replication.Change, &replication.ChangeRequest{Target: "config/", Change: replication.Pause})
	if err := try(kv.Set, "config/a"); op.CodeOf(err) != op.CodeConflict {
		t.Error("a paused mirror is written", err)
	}
	dc2.apply(t, &replication.Change, &replication.ChangeRequest{Target: "config/", Change: replication.Remove})
	if err := try(kv.Set, "config/a"); err != nil {
		t.Error("after the rule has gone", err)
	}
}

// What came from a datacenter is not handed back to it, whatever way it went.
func TestARingEnds(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2", "dc3")
	dc1, dc2, dc3 := sites["dc1"], sites["dc2"], sites["dc3"]
	for i := range 20 {
		dc1.put(t, fmt.Sprintf("a/%d", i), "v")
	}
	dc2.follow(t, "dc1", "a/", "b/")
	dc3.follow(t, "dc2", "b/", "c/")
	dc1.follow(t, "dc3", "c/", "d/")
	same(t, dc1, "a/", dc3, "c/")
	settled := func(s *site) func() bool {
		return func() bool { return s.status(t).State == replication.StateFollowing }
	}
	servertest.Eventually(t, "the ring is closed", settled(dc1))
	dc1.put(t, "a/new", "v")
	dc3.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "c", Value: []byte("not below")}})
	same(t, dc1, "a/", dc3, "c/")
	index := dc3.cfg.State.Index()
	dc1.apply(t, &kv.Apply, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "z"}})
	if got := dc1.has("d/"); len(got) > 0 {
		t.Errorf("dc1 got back what is its own: %v", got)
	}
	if now := dc3.cfg.State.Index(); now != index {
		t.Errorf("something goes round: index %d, then %d", index, now)
	}
}

func TestPausedResumedRemoved(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.put(t, "config/a", "1")
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	change := func(c string) {
		dc2.apply(t, &replication.Change, &replication.ChangeRequest{Target: "config/", Change: c})
	}
	change(replication.Pause)
	servertest.Eventually(t, "it is paused", func() bool { return len(dc2.followers()) == 0 })
	dc1.put(t, "config/b", "2")
	dc1.remove(t, kv.Delete, "config/a")
	if s := dc2.status(t); s.State != replication.StatePaused || len(dc2.has("config/")) != 1 {
		t.Errorf("%+v, with %v", s, dc2.has("config/"))
	}
	change(replication.Resume)
	same(t, dc1, "config/", dc2, "config/")
	if s := dc2.status(t); s.Comparisons > 0 {
		t.Error("a pause makes a comparison needed")
	}
	change(replication.Remove)
	servertest.Eventually(t, "nothing is followed", func() bool { return len(dc2.followers()) == 0 })
	if len(dc2.has("config/")) != 1 || len(dc2.statuses(t)) != 0 {
		t.Error("removing the rule removes more, or less")
	}
	// A rule of the same name has its own way to go.
	dc1.put(t, "config/c", "3")
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
}

// Somebody loses a copy and makes up another: a checksum shows it.
func TestWhatDiffersIsNoticedAndMended(t *testing.T) {
	t.Parallel()
	sites := found(t, "dc1", "dc2")
	dc1, dc2 := sites["dc1"], sites["dc2"]
	dc1.put(t, "config/a", "1")
	dc1.put(t, "config/b", "2")
	dc2.follow(t, "dc1", "config/", "config/")
	same(t, dc1, "config/", dc2, "config/")
	dc2.apply(t, &kv.Copy, &kv.CopyRequest{Target: "config/", Rule: dc2.status(t).CreateIndex, Items: []replication.Item{{Key: "a", Gone: true}, {Key: "c", Value: []byte("x")}}})
	same(t, dc1, "config/", dc2, "config/")
	if s := dc2.status(t); s.Comparisons != 1 || s.Mended != 2 {
		t.Errorf("%d comparisons mended %d keys", s.Comparisons, s.Mended)
	}
}

// Random histories: whatever fails on the way, and whenever, in the end the mirror is what
// the source has.
func TestMirrorsOfRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sites := found(t, "dc1", "dc2")
			dc1, dc2 := sites["dc1"], sites["dc2"]
			rng := rand.New(rand.NewPCG(seed, 7))
			key := func() string { return fmt.Sprintf("config/%d/%d", rng.IntN(6), rng.IntN(60)) }
			for range 100 {
				dc1.put(t, key(), "first")
			}
			dc2.follow(t, "dc1", "config/", "config/")
			var archives [][]byte
			var counts []uint64
			for step := range 250 {
				dc1.faint.Store(rng.Int64N(10))
				dc2.faint.Store(rng.Int64N(30))
				switch n := rng.IntN(100); {
				case n < 55:
					dc1.put(t, key(), fmt.Sprint(step, strings.Repeat("x", rng.IntN(40))))
				case n < 75:
					dc1.remove(t, kv.Delete, key())
				case n < 78:
					dc1.remove(t, kv.DeleteTree, fmt.Sprintf("config/%d/", rng.IntN(6)))
				case n < 86:
					dc2.lead(t)
				case n < 90:
					dc2.cut.Store(!dc2.cut.Load())
				case n < 93:
					dc1.collect(t)
				case n < 95:
					rows, n := dc1.archive(t)
					archives, counts = append(archives, rows), append(counts, n)
				case n < 97 && len(archives) > 0:
					i := rng.IntN(len(archives))
					dc1.restore(t, archives[i], counts[i], fmt.Sprint("r", step))
				default:
					_ = dc1.has("config/") // a moment passes
				}
			}
			dc1.faint.Store(0)
			dc2.faint.Store(0)
			dc2.cut.Store(false)
			same(t, dc1, "config/", dc2, "config/")
		})
	}
}

func TestRangesThatDiffer(t *testing.T) {
	t.Parallel()
	got := merged([]replication.Range{{From: "m", To: "p"}, {From: "a", To: "c"}, {From: "c", To: "d"}, {From: "p", End: true}})
	if want := []replication.Range{{From: "a", To: "d"}, {From: "m", End: true}}; !slices.Equal(got, want) {
		t.Errorf("merged to %v, want %v", got, want)
	}
	var many []replication.Range
	for i := range 5000 {
		many = append(many, replication.Range{From: fmt.Sprintf("%06d", 2*i), To: fmt.Sprintf("%06d", 2*i+1)})
	}
	fit := fitting(slices.Clone(many))
	size := 0
	for i := range fit {
		size += rangeBytes(&fit[i])
	}
	if size > maxRangeBytes || fit[0].From != many[0].From || fit[len(fit)-1].To != many[len(many)-1].To {
		t.Errorf("%d ranges have %d bytes, from %v to %v", len(fit), size, fit[0], fit[len(fit)-1])
	}
}

// Pieces lie side by side, and what is here is counted as it is there.
func TestPiecesCoverARange(t *testing.T) {
	s := found(t, "dc1")["dc1"]
	for i := range 1000 {
		s.put(t, fmt.Sprintf("p/%03d", i), fmt.Sprint(i))
	}
	for i := range 3 {
		s.put(t, "p/"+strings.Repeat("k", maxBound+i), "long")
	}
	v := s.cfg.State.View()
	defer v.Close()
	own := &stock{v: v, prefix: "p/"}
	for _, n := range []int{8, 16, 1024} {
		pieces, err := own.cut(replication.Range{From: "1", End: true}, n)
		if err != nil || len(pieces) > n || len(pieces) < n/2 && n < 900 {
			t.Fatalf("%d pieces, %v", len(pieces), err)
		}
		here, err := own.measure(pieces)
		if err != nil {
			t.Fatal(err)
		}
		total := uint64(0)
		for i := range pieces {
			if i > 0 && pieces[i].From != pieces[i-1].To || here[i].Count != pieces[i].Count || here[i].Sum != pieces[i].Sum {
				t.Errorf("piece %d is %+v after %+v, and here %+v", i, pieces[i], pieces[max(i, 1)-1], here[i])
			}
			total += pieces[i].Count
		}
		if total != 903 || pieces[0].From != "1" || !pieces[len(pieces)-1].End {
			t.Errorf("the pieces have %d keys, from %+v to %+v", total, pieces[0], pieces[len(pieces)-1])
		}
	}
}

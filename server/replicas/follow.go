package replicas

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

const (
	// firstPause is the first pause between attempts to follow, and the longest one is
	// lastFactor times that.
	firstPause = 100 * time.Millisecond
	lastFactor = 20
	// settledAfter is how long a stream must have lasted for the next attempt to come
	// soon again.
	settledAfter = 10 * time.Second
	// noteEvery is how often it is written how far a rule has got while nothing else is.
	noteEvery = time.Minute
	// heard is within what time a source that follows tells that nothing has changed.
	heard = op.Heartbeat + op.Heartbeat/4
	// fewItems is up to how many items a change counts as one that another does not
	// follow at once. Where nothing follows, an idle group hears of a commit 50 to 100 ms
	// late.
	fewItems = 8
)

var (
	// errCompare ends a stream: everything is compared then.
	errCompare = errors.New("everything is compared")
	// errDiverged does, because a checksum is another one.
	errDiverged = errors.New("what is here is not what the other datacenter has")
)

// follower copies for one rule while this server leads. Its goroutine alone writes; mu
// guards what others look at.
type follower struct {
	r     *Replicas
	rule  replication.Rule
	group *lifecycle.Group

	compare bool      // the next attempt begins with a comparison
	dueAt   time.Time // when everything is compared next
	noted   time.Time // when it was written last how far it has got,
	index   uint64    // and what

	mu     sync.Mutex
	status replication.Status
	told   uint64    // items that were told of and are not here yet
	known  time.Time // when everything was known to be here, at last; else since when it is tried
	synced bool      // it is now
}

func newFollower(r *Replicas, rule replication.Rule) *follower {
	now := time.Now()
	f := &follower{r: r, rule: rule, dueAt: r.due(now), known: now}
	f.status = replication.Status{Rule: rule, State: replication.StateFailing, Error: "not followed yet", Since: now}
	return f
}

// due is when everything is compared next.
func (r *Replicas) due(now time.Time) time.Time {
	return now.Add(r.cfg.CompareEvery/2 + rand.N(r.cfg.CompareEvery))
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	first := f.r.cfg.FirstPause
	pause := first
	for ctx.Err() == nil {
		began := time.Now()
		err := f.once(ctx)
		if ctx.Err() != nil {
			return
		}
		expected := errors.Is(err, errCompare) || errors.Is(err, errDiverged)
		if pause = min(2*pause, lastFactor*first); time.Since(began) > settledAfter || expected {
			pause = first
		}
		if expected {
			f.is(replication.StateComparing)
		} else {
			f.failed(err)
		}
		f.r.log.Debug("keys are not followed", "peer_datacenter", f.rule.Datacenter, "prefix", f.rule.Prefix, "error", err)
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// is says in which state the rule is.
func (f *follower) is(state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.State != state {
		f.status.State, f.status.Since = state, time.Now()
	}
	f.status.Error = ""
	f.synced = f.synced && state == replication.StateFollowing
}

// failed says why nothing is followed.
func (f *follower) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status.State != replication.StateFailing {
		f.status.Since = time.Now()
	}
	f.status.State, f.status.Error, f.synced = replication.StateFailing, err.Error(), false
}

// once follows until something is wrong with that.
func (f *follower) once(ctx context.Context) error {
	if err := f.outOfRings(ctx); err != nil {
		return err
	}
	req, err := f.plan(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := time.AfterFunc(time.Until(f.dueAt), func() { cancel(errCompare) })
	defer stop.Stop()
	s := &stream{f: f, mends: f.compare, first: true}
	err = f.subscribe(ctx, req, func(t *replication.Told) error { return s.take(ctx, t) })
	if context.Cause(ctx) == errCompare {
		err = errCompare
	}
	if errors.Is(err, errCompare) || errors.Is(err, errDiverged) {
		f.compare = true
	}
	return err
}

// plan says what is wanted: what changed after the index up to which everything is here,
// or everything, or what a comparison finds.
func (f *follower) plan(ctx context.Context) (*replication.FollowRequest, error) {
	var progress replication.Progress
	empty := false
	err := f.r.look(func(v *storage.View) error {
		n, err := kv.Count(v, f.rule.Target, 1)
		if err == nil {
			progress, err = replication.FindProgress(v, &f.rule)
		}
		empty = n == 0
		return err
	})
	if err != nil {
		return nil, err
	}
	req := &replication.FollowRequest{Prefix: f.rule.Prefix, Target: f.rule.Target, Newest: f.newest(), Index: progress.Index}
	switch {
	case progress.Index == 0 && empty:
		f.is(replication.StateCopying)
		req.Ranges = []replication.Range{whole()}
		f.dueAt = f.r.due(time.Now()) // it may have been tried for longer than that
	case progress.Index == 0 || f.compare:
		f.compare = true
		f.is(replication.StateComparing)
		if req.Ranges, req.Index, err = f.differing(ctx); err != nil {
			return nil, err
		}
		now := time.Now()
		f.dueAt = f.r.due(now)
		f.count(func(s *replication.Status) { s.Comparisons++; s.Compared = now })
		f.r.metrics.comparisons.Inc()
		f.is(replication.StateCopying)
	default:
		f.is(replication.StateCopying)
	}
	return req, nil
}

func (f *follower) newest() bool { return f.rule.Mode == replication.Newest }

// stock is what is compared.
func (f *follower) stock(v *storage.View) *stock {
	return &stock{v: v, prefix: f.rule.Target, newest: f.newest()}
}

// count changes the status.
func (f *follower) count(change func(*replication.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

// subscribe follows the source.
func (f *follower) subscribe(ctx context.Context, req *replication.FollowRequest, take func(*replication.Told) error) error {
	return f.r.subscribe(ctx, f.rule.Datacenter, req, take)
}

// subscribe follows a datacenter.
func (r *Replicas) subscribe(ctx context.Context, datacenter string, req *replication.FollowRequest, take func(*replication.Told) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := op.Header{Datacenter: datacenter, Consistency: op.Cached, MinIndex: 1} // a server that gossip has lost is worth a try
	return r.links.Follow.Subscribe(ctx, op.NewCall(&replication.Follow, h, req), func(r *op.Reply) error {
		result, err := r.Result(&replication.Follow)
		if err != nil {
			return err
		}
		told, _ := result.(*replication.Told)
		if told == nil {
			return nil
		}
		return take(told)
	})
}

// stream is one subscription to what changes.
type stream struct {
	f     *follower
	mends bool // what it copies first was found by a comparison
	first bool // it has not had everything yet
}

// take writes what the source tells.
func (s *stream) take(ctx context.Context, t *replication.Told) error {
	f := s.f
	if t.Forgotten {
		return errCompare
	}
	if err := s.write(ctx, t); err != nil {
		return err
	}
	if t.More {
		return nil
	}
	if s.first {
		s.first, f.compare = false, false
	}
	if t.Summed {
		if err := s.verify(t.Sum); err != nil {
			return err
		}
	}
	f.is(replication.StateFollowing)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Index, f.told, f.known, f.synced = t.Index, 0, time.Now(), true
	return nil
}

// verify looks whether what is here has the checksum.
func (s *stream) verify(sum uint64) error {
	f := s.f
	var own uint64
	err := f.r.look(func(v *storage.View) (err error) {
		own, err = f.stock(v).total()
		return err
	})
	if err != nil || own == sum {
		return err
	}
	f.r.log.Warn("what was copied is not what the other datacenter has: everything is compared", "peer_datacenter", f.rule.Datacenter, "prefix", f.rule.Prefix)
	return errDiverged
}

// write commits what is not here yet, in commands of bounded size, and with the last one
// how far the rule has got.
func (s *stream) write(ctx context.Context, t *replication.Told) error {
	f := s.f
	b := &batch{s: s, ctx: ctx, mends: s.mends && s.first && t.Covers != nil}
	f.mu.Lock()
	f.told = max(t.Left, uint64(len(t.Items)))
	f.mu.Unlock()
	if err := s.missing(t, b); err != nil {
		return err
	}
	bytes := 0
	for i := range t.Items {
		it := &t.Items[i]
		bytes += len(it.Key) + len(it.Value)
		if err := s.differs(it, b, t.Covers == nil); err != nil {
			return err
		}
	}
	f.count(func(s *replication.Status) { s.Bytes += uint64(bytes) })
	f.r.metrics.bytes.Add(float64(bytes))
	wrote := b.commands > 0 || len(b.req.Items) > 0
	if !t.More && t.Index != f.index && (wrote || s.first || time.Since(f.noted) > noteEvery) {
		b.req.Index = t.Index
		f.index, f.noted = t.Index, time.Now()
	}
	few := b.commands == 0 && len(b.req.Items) > 0 && len(b.req.Items) <= fewItems && !t.More
	if err := b.flush(); err != nil || !few {
		return err
	}
	// The others of this datacenter hear that it is committed with the next entry.
	return b.commit(&kv.CopyRequest{})
}

// differs adds an item to the batch unless it is here already, or lost. What lost counts as
// a conflict if it was told of because it has changed.
func (s *stream) differs(it *replication.Item, b *batch, changed bool) error {
	f := s.f
	wanted, older := false, false
	err := f.r.look(func(v *storage.View) (err error) {
		if f.newest() {
			wanted, older, err = kv.Judge(v, &f.rule, f.r.cfg.Datacenter, it)
			return err
		}
		old, err := kv.Lookup(v, f.rule.Target+it.Key)
		wanted = old == nil && !it.Gone || old != nil && !kv.Same(old, it)
		return err
	})
	if older && changed {
		f.count(func(s *replication.Status) { s.Conflicts++ })
		f.r.metrics.conflicts.Inc()
	}
	if err != nil || !wanted {
		return err
	}
	return b.add(*it)
}

// missing adds to the batch what is in the range that the source told of, and was not
// told of.
func (s *stream) missing(t *replication.Told, b *batch) error {
	if t.Covers == nil {
		return nil
	}
	target, from := s.f.rule.Target, t.Covers.From
	for more := true; more; {
		var gone []string
		err := s.f.r.look(func(v *storage.View) error {
			more = false
			at := 0
			for e, err := range kv.From(v, target, from) {
				if err != nil {
					return err
				}
				key := e.Key[len(target):]
				if !before(t.Covers, key) {
					return nil
				}
				for at < len(t.Items) && t.Items[at].Key < key {
					at++
				}
				if at < len(t.Items) && t.Items[at].Key == key || s.f.newest() && e.Via != s.f.rule.Datacenter {
					continue // in mode newest what was written here may be news for the source
				}
				if len(gone) == maxItems {
					from, more = key, true
					return nil
				}
				gone = append(gone, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range gone {
			if err := b.add(replication.Item{Key: key, Gone: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// batch is what goes into the next command.
type batch struct {
	s        *stream
	ctx      context.Context
	req      kv.CopyRequest
	bytes    int
	mends    bool
	commands int // that were committed
}

func (b *batch) add(it replication.Item) error {
	if size := sizeOf(&it); len(b.req.Items) > 0 && (b.bytes+size > 2*partOf || len(b.req.Items) == maxItems) {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.bytes += sizeOf(&it)
	b.req.Items = append(b.req.Items, it)
	return nil
}

// flush commits what was gathered, if there is anything.
func (b *batch) flush() error {
	if len(b.req.Items) == 0 && b.req.Index == 0 {
		return nil
	}
	err := b.commit(&b.req)
	b.req, b.bytes = kv.CopyRequest{}, 0
	b.commands++
	return err
}

// commit writes a command when it is its turn.
func (b *batch) commit(req *kv.CopyRequest) error {
	f := b.s.f
	req.Target, req.Rule, req.Here = f.rule.Target, f.rule.CreateIndex, f.r.cfg.Datacenter
	select {
	case f.r.writing <- struct{}{}:
		defer func() { <-f.r.writing }()
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	res, _, err := kv.Copy.Call(b.ctx, f.r.cfg.Self(), op.Header{}, req)
	if err != nil {
		return fmt.Errorf("write what was copied from %s: %w", f.rule.Datacenter, err)
	}
	if res == nil {
		return nil
	}
	m := f.r.metrics
	m.written.Add(float64(res.Written))
	m.deleted.Add(float64(res.Deleted))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Written += res.Written
	f.status.Deleted += res.Deleted
	if b.mends {
		f.status.Mended += res.Written + res.Deleted
		m.mended.Add(float64(res.Written + res.Deleted))
	}
	f.told -= min(f.told, uint64(len(req.Items)))
	return nil
}

// show is how the rule stands.
func (f *follower) show(now time.Time) replication.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.LagEntries = f.told
	if !f.synced || f.told > 0 || now.Sub(f.known) > heard {
		s.LagSeconds = now.Sub(f.known).Seconds()
	}
	return s
}

// Package view shares answers among those who ask the same.
//
// Views keeps results and follows them: whoever owns a result pushes it again
// when it has changed. SingleFlight has those who wait for the same wait as one. Both
// are Callers in front of another one and know no network.
//
// It promises: all who ask for one result cost one subscription; what is held
// is decoded once and never goes back to what is older unless its source stays
// there; an answer says how old it may be, 0 only while the source has vouched
// for it within the last seconds; what was once held is answered, up to a
// configured age, while its source cannot be reached; who asks for what is not
// held and cannot be reached is told at once. What a view answers may be as old
// as a server that lags, and as the way from there: it is a stale read. A read
// that waits for a change in the mode Default is answered from the view only
// after it has waited long enough for that not to be older than its question.
//
// Each view is one goroutine, bounded by the number of views, which alone
// changes what the view holds: an immutable state behind an atomic pointer.
// Views.mu guards which views there are and how many hold each; a view with
// holders is not dropped. Whoever drops one ends its context; its goroutine then
// says so to those who still look, and gives back what it weighed. While a
// datacenter cannot be reached one of its views tries at a time, for all. A
// source whose push is slow is slowed down, nobody else.
package view

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
)

// Bounds of what is kept.
const (
	// maxViews bounds the views; each is a goroutine here and a stream to its
	// source.
	maxViews = 16384
	// maxBytes bounds what they hold, by weight.
	maxBytes = 256 << 20
	// dropAfter is how long a view is kept that nobody asks for.
	dropAfter = 10 * time.Minute
	// spareFor is how long one that was asked for is not dropped for the sake of
	// another: a flood of names that nobody asks for twice finds no room instead. It
	// is how long one of nothing is kept at all: names that are made up cost their
	// owner a stream each.
	spareFor = time.Minute
	// maxStale is how old an answer may be unless configured.
	maxStale = time.Hour
	// silentAfter is how long after the last word of its source a view counts as
	// current: a heartbeat with its jitter, and time to repeat a lost packet.
	silentAfter = 8 * time.Second
	// goBackAfter is how long a source must have stayed at an older result before
	// that replaces a newer one: a follower that lags catches up sooner.
	goBackAfter = 10 * time.Second
	// settled is how long a reader must have waited before what is pushed is no
	// older than its question, beyond how long the source has not heard its leader.
	settled = time.Second
	// sweepEvery is how often idle views are looked for.
	sweepEvery = 15 * time.Second
)

// Config says what the views stand in front of, and how much they keep. Zero
// values of durations and numbers mean the default.
type Config struct {
	// Datacenter is what a call without one means.
	Datacenter string
	// Next answers what no view does.
	Next op.Caller
	// Source is where results are followed.
	Source op.Subscriber
	// ByToken has each token its own views, of what it may see. Without, they are
	// unfiltered and the caller filters what leaves.
	ByToken bool
	// BlockingReads has reads wait on views for a change, in the mode Default and Stale
	// as well.
	BlockingReads bool
	// MaxStale is how old an answer may be, 1 h.
	MaxStale time.Duration
	// MaxViews and MaxBytes bound what is kept, 16,384 and 256 MiB.
	MaxViews int
	MaxBytes int64

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.MaxStale <= 0 {
		c.MaxStale = maxStale
	}
	if c.MaxViews <= 0 {
		c.MaxViews = maxViews
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = maxBytes
	}
	return c
}

// Views keeps results of reads and has their owners push what is newer. It is a
// Caller and a Subscriber, safe for concurrent use.
type Views struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	group   *lifecycle.Group
	bytes   atomic.Int64

	mu    sync.RWMutex
	views map[string]*view
	sites map[string]*site
	full  time.Time // no view can be dropped for another before
}

var (
	_ op.Caller     = (*Views)(nil)
	_ op.Subscriber = (*Views)(nil)

	errFull  = op.Errorf(op.CodeBusy, "there is no room for another view")
	errEnded = op.Errorf(op.CodeLost, "the view is not kept any more")
)

// New returns views that hold nothing.
func New(cfg Config) (*Views, error) {
	v := &Views{cfg: cfg.withDefaults(), log: cfg.Log.With("component", "views"), group: lifecycle.New("views"),
		views: map[string]*view{}, sites: map[string]*site{}}
	v.metrics = newMetrics(cfg.Registerer, v)
	return v, v.group.Go("sweep", v.sweepLoop)
}

// Stop ends every view; who waits on one gets an error.
func (v *Views) Stop(ctx context.Context) error { return v.group.Stop(ctx) }

// Do implements op.Caller: a read in the mode Cached is answered from its view,
// one that waits for a change may wait there, all else is Next's.
func (v *Views) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	h := &call.Header
	switch {
	case call.Operation.OpKind() != op.KindRead:
	case h.Consistency == op.Cached:
		return v.cached(ctx, call)
	case v.cfg.BlockingReads && h.MinIndex > 0 && h.Consistency != op.Consistent:
		return v.awaited(ctx, call)
	}
	return v.cfg.Next.Do(ctx, call)
}

// cached answers from the view of the call, which it begins if there is none.
func (v *Views) cached(ctx context.Context, call *op.Call) (*op.Reply, error) {
	var buf [256]byte
	key, err := v.appendKey(buf[:0], call)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	v.mu.RLock()
	w := v.views[string(key)]
	v.mu.RUnlock()
	if w != nil {
		if s := w.now.Load(); s.held != nil && s.held.meta.Newer(call.Header.MinIndex) {
			w.used.Store(now.UnixNano())
			return v.answer(ctx, call, w, s, true)
		}
	}
	if w, err = v.join(string(key), call); err != nil {
		return v.without(ctx, call, err)
	}
	defer v.leave(w)
	s, err := w.await(ctx, call.Header)
	call = left(call, now)
	if err != nil {
		return v.without(ctx, call, err)
	}
	return v.answer(ctx, call, w, s, false)
}

// without answers a call that has no view.
func (v *Views) without(ctx context.Context, call *op.Call, err error) (*op.Reply, error) {
	switch op.CodeOf(err) {
	case op.CodeBusy, op.CodeTooLarge, op.CodeUnsupported:
		v.metrics.passed.Inc()
		c := *call
		c.Header.Consistency, c.Header.MaxStale = op.Stale, call.Header.MaxAge
		return v.cfg.Next.Do(ctx, &c)
	}
	v.metrics.refused.Inc()
	return nil, err
}

// answer is what the view holds, unless it is too old.
func (v *Views) answer(ctx context.Context, call *op.Call, w *view, s *state, hit bool) (*op.Reply, error) {
	h := &call.Header
	age := s.age(time.Now())
	switch {
	case age > 0 && (h.MustCurrent || h.MaxAge > 0 && age > h.MaxAge):
		v.metrics.passed.Inc()
		c := *call
		c.Header.Consistency = op.Default
		return v.cfg.Next.Do(ctx, &c)
	case age > v.cfg.MaxStale:
		v.metrics.refused.Inc()
		return nil, s.unreachable(v.datacenter(h))
	case age > 0:
		v.metrics.aged.Inc()
	case hit:
		v.metrics.hits.Inc()
	default:
		v.metrics.misses.Inc()
	}
	r := s.reply(age)
	r.Meta.Hit = hit
	if age == 0 {
		r.While(&lasting{v, w, s})
	}
	tracing.Of(ctx).Text("legate.view", outcome(age, hit))
	return r, nil
}

// outcome is how a view answered, for traces.
func outcome(age time.Duration, hit bool) string {
	switch {
	case age > 0:
		return "aged"
	case hit:
		return "hit"
	}
	return "miss"
}

// awaited waits for a change on the view. What it answers with is no older than
// the question: what is pushed after a while of waiting, else what Next says.
func (v *Views) awaited(ctx context.Context, call *op.Call) (*op.Reply, error) {
	key, err := v.appendKey(nil, call)
	if err != nil {
		return nil, err
	}
	w, err := v.join(string(key), call)
	if err != nil {
		return v.cfg.Next.Do(ctx, call)
	}
	defer v.leave(w)
	begin := time.Now()
	timer := time.NewTimer(waitOf(&call.Header))
	defer timer.Stop()
	who := w.waiter(call.Header.MinIndex)
	for {
		changed := w.watch()
		s := w.now.Load()
		switch {
		case s.err != nil:
			return v.cfg.Next.Do(ctx, left(call, begin))
		case s.held != nil && s.held.news(&who):
			enough := settled + s.contact
			if limit := call.Header.MaxStale; call.Header.Consistency == op.Stale && s.age(time.Now()) == 0 && (limit == 0 || s.contact <= limit) {
				enough = 0
			}
			if time.Since(begin) < enough {
				return v.cfg.Next.Do(ctx, left(call, begin))
			}
			r := s.reply(0)
			r.Meta.Consistency = call.Header.Consistency
			return r, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C: // this caller's time is over: it gets what there is
			c := *call
			c.Header.MinIndex = 0
			return v.cfg.Next.Do(ctx, &c)
		}
	}
}

// Subscribe implements op.Subscriber: it hands on what the view holds and, with
// each heartbeat, how old that is.
func (v *Views) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	key, err := v.appendKey(nil, call)
	if err != nil {
		return err
	}
	w, err := v.join(string(key), call)
	if err != nil {
		return err
	}
	defer v.leave(w)
	beat := time.NewTimer(heartbeat())
	defer beat.Stop()
	var sent *held
	said := time.Duration(-1)
	due := false
	for {
		changed := w.watch()
		s := w.now.Load()
		age := s.age(time.Now())
		switch {
		case s.gone, s.held == nil && s.err != nil:
			return s.err
		case s.held == nil:
		case age > v.cfg.MaxStale:
			return s.unreachable(v.datacenter(&call.Header))
		case call.Header.MustCurrent && age > silentAfter:
			return &op.Error{Code: op.CodeNoLeader, Text: "what is kept here is not current", Datacenter: v.datacenter(&call.Header)}
		case s.held != sent:
			r := s.reply(age)
			if err := push(r); err != nil {
				return err
			}
			sent, said = s.held, age
		case due || (said > 0) != (age > 0):
			r := op.NewReply(s.meta(age), nil)
			r.Meta.Index = 0
			if err := push(r); err != nil {
				return err
			}
			said = age
		}
		due = false
		select {
		case <-changed:
		case <-beat.C:
			due = true
			beat.Reset(heartbeat())
		case <-ctx.Done():
			return ctx.Err()
		case <-v.group.Context().Done():
			return op.ErrStopping
		}
	}
}

// heartbeat is the time to the next one.
func heartbeat() time.Duration { return op.Heartbeat - op.Heartbeat/10 + rand.N(op.Heartbeat/5) }

func (v *Views) datacenter(h *op.Header) string {
	if h.Datacenter == "" {
		return v.cfg.Datacenter
	}
	return h.Datacenter
}

// appendKey appends what is the same for calls that one view answers.
func (v *Views) appendKey(b []byte, call *op.Call) ([]byte, error) {
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	h := &call.Header
	parts := [...]string{call.Operation.OpName(), v.datacenter(h), h.Near, ""}
	if v.cfg.ByToken {
		parts[3] = h.Token
	}
	for _, s := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, body...), nil
}

// join returns the view of the call and holds it until leave; it begins one if
// there is none.
func (v *Views) join(key string, call *op.Call) (*view, error) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if w := v.views[key]; w != nil {
		w.holders++
		w.used.Store(now.UnixNano())
		return w, nil
	}
	dc := v.datacenter(&call.Header)
	if s := v.sites[dc]; s != nil {
		if err := s.refusal(now); err != nil {
			return nil, err
		}
	}
	if !v.makeRoom(now, 1) {
		return nil, errFull
	}
	c, err := v.subscription(call, dc)
	if err != nil {
		return nil, err
	}
	s := v.sites[dc]
	if s == nil {
		s = newSite(dc)
		v.sites[dc] = s
	}
	w := newView(key, s, c)
	w.holders = 1
	w.used.Store(now.UnixNano())
	var ctx context.Context
	ctx, w.end = context.WithCancelCause(v.group.Context())
	if err := v.group.Spawn("view", func(context.Context) { v.run(ctx, w) }); err != nil {
		w.end(nil)
		return nil, op.ErrStopping
	}
	v.views[key] = w
	s.views.Add(1)
	return w, nil
}

// subscription is the call with which a result is followed.
func (v *Views) subscription(call *op.Call, dc string) (*op.Call, error) {
	body, err := call.Body()
	if err != nil {
		return nil, err
	}
	h := op.Header{Datacenter: dc, Near: call.Header.Near, Consistency: op.Cached, Hops: call.Header.Hops}
	if v.cfg.ByToken {
		h.Token = call.Header.Token
	}
	return op.Received(call.Operation, h, body), nil
}

func (v *Views) leave(w *view) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w.holders--
	w.used.Store(time.Now().UnixNano())
}

// run follows the result of one view until nobody wants it any more. It is the
// only one that changes what the view holds.
func (v *Views) run(ctx context.Context, w *view) {
	defer w.end(nil)
	for {
		err := v.cfg.Source.Subscribe(ctx, w.call, func(r *op.Reply) error { return v.take(w, r) })
		if ctx.Err() != nil {
			why := error(errEnded)
			if told, ok := errors.AsType[*op.Error](context.Cause(ctx)); ok {
				why = told
			}
			v.drop(w, why)
			return
		}
		if err == nil {
			err = errEnded
		}
		if !w.broke(err) && v.shared(err) && !op.IsFanOut(w.site.name) {
			w.site.failed(err)
		}
		s := w.now.Load()
		if s.held == nil {
			v.linger(ctx, w, err)
		}
		if s.held == nil || final(err) {
			v.drop(w, err)
			return
		}
		w.call.Header.MinIndex = s.held.meta.Index
		v.log.Debug("view has no source", "operation", w.call.Operation.OpName(), "peer_datacenter", w.site.name, "error", err)
		w.pause(ctx)
	}
}

// shared reports whether an error says that no view of the datacenter can be
// followed. A server says of another datacenter only whether it has this view.
func (v *Views) shared(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeNoServer, op.CodeLost, op.CodeTimeout:
		return true
	case op.CodeUnreachableDatacenter, op.CodeUnknownDatacenter, op.CodeRemovedDatacenter, op.CodeLeftDatacenter, op.CodeNoLeader, op.CodeStopping:
		return !v.cfg.ByToken
	}
	return false
}

// final reports whether an error says that the view is of no use any more,
// whatever it holds.
func final(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeDenied, op.CodeInvalid, op.CodeTooLarge, op.CodeUnsupported, op.CodeNotFound, op.CodeRemovedDatacenter, op.CodeLeftDatacenter,
		op.CodeBusy: // it would age, although its owner can be asked
		return true
	}
	return false
}

// take keeps what the source says and makes room for it.
func (v *Views) take(w *view, r *op.Reply) error {
	fresh, err := w.take(r)
	if err != nil {
		return err
	}
	if r.Meta.Index > 0 {
		v.metrics.pushes.WithLabelValues(label(w.site.name)).Inc()
	}
	if !fresh {
		return nil
	}
	weight := w.now.Load().held.weight
	grown := weight - w.weight.Swap(weight)
	if v.bytes.Add(grown) <= v.cfg.MaxBytes || grown <= 0 {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.makeRoom(time.Now(), 0) {
		return errFull
	}
	return nil
}

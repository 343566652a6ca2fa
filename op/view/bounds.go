package view

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
)

// makeRoom drops what was not asked for lately until there is room for some more
// views, and what there is fits. It reports whether that is so; v.mu is held.
func (v *Views) makeRoom(now time.Time, more int) bool {
	fits := func(slack int64) bool {
		return int64(len(v.views)+more) <= int64(v.cfg.MaxViews)-slack*int64(v.cfg.MaxViews)/64 &&
			v.bytes.Load() <= v.cfg.MaxBytes-slack*v.cfg.MaxBytes/64
	}
	if fits(0) {
		return true
	}
	if now.Before(v.full) {
		v.metrics.noRoom.Inc()
		return false
	}
	var idle []*view
	first := now
	for _, w := range v.views {
		used := time.Unix(0, w.used.Load())
		switch {
		case w.holders > 0:
		case now.Sub(used) >= spareFor:
			idle = append(idle, w)
		case used.Before(first):
			first = used
		}
	}
	slices.SortFunc(idle, func(a, b *view) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	for _, w := range idle { // a little more than needed: looking at all costs
		if fits(1) {
			break
		}
		v.remove(w)
		v.metrics.evicted.Inc()
	}
	if !fits(0) {
		v.full = now.Add(min(time.Second, max(spareFor-now.Sub(first), 0)))
		v.metrics.noRoom.Inc()
		return false
	}
	return true
}

// remove takes a view away; v.mu is held.
func (v *Views) remove(w *view) {
	if v.views[w.key] != w {
		return
	}
	delete(v.views, w.key)
	v.bytes.Add(-w.weight.Swap(0))
	w.site.views.Add(-1)
	w.end(nil)
}

// Forget drops what is kept of a datacenter that is no part of the federation any
// more. Those who wait for it get the error.
func (v *Views) Forget(datacenter string, why *op.Error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sites[datacenter]; s != nil {
		s.failed(why)
	}
	for _, w := range v.views {
		if w.site.name == datacenter {
			w.end(why)
			v.remove(w)
		}
	}
}

// linger answers with the error those who ask again soon, if that is how they
// would fare: some of them are told so, the others go on without a view.
func (v *Views) linger(ctx context.Context, w *view, why error) {
	switch op.CodeOf(why) {
	case op.CodeUnreachableDatacenter, op.CodeUnknownDatacenter, op.CodeRemovedDatacenter, op.CodeLeftDatacenter,
		op.CodeNoServer, op.CodeLost, op.CodeTimeout, op.CodeNoLeader, op.CodeBusy, op.CodeTooLarge, op.CodeUnsupported:
	default:
		return
	}
	s := *w.now.Load()
	s.linked, s.err = false, why
	w.become(&s, true)
	rest(ctx, negative)
}

// drop ends a view for a reason that those who wait get to know. Its goroutine
// calls it last.
func (v *Views) drop(w *view, why error) {
	v.mu.Lock()
	v.remove(w)
	v.bytes.Add(-w.weight.Swap(0)) // of what came while it was removed
	v.mu.Unlock()
	w.site.quit(w)
	s := *w.now.Load()
	s.linked, s.gone, s.err = false, true, why
	w.become(&s, true)
}

func (v *Views) sweepLoop(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			v.sweep(now)
		}
	}
}

// sweep drops views that nobody asks for. While its source is out of reach one
// stays as long as it would be answered with: it could not be made again. What is
// of several datacenters could, of the views of each.
func (v *Views) sweep(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, w := range v.views {
		s := w.now.Load()
		idle := dropAfter
		if s.held != nil && s.held.empty {
			idle = spareFor
		}
		if w.holders > 0 || now.Sub(time.Unix(0, w.used.Load())) <= idle {
			continue
		}
		age := s.age(now)
		if s.linked && (age == 0 || op.IsFanOut(w.site.name)) || s.held != nil && age > v.cfg.MaxStale {
			v.remove(w)
			v.metrics.idled.Inc()
		}
	}
	for name, s := range v.sites {
		if s.spent(now) {
			delete(v.sites, name)
			if label(name) == name {
				v.metrics.pushes.DeleteLabelValues(name)
			}
		}
	}
}

// Status is what is held of one datacenter.
type Status struct {
	Datacenter string
	Views      int           // that hold a result
	Streams    int           // of them, that are pushed to
	Bytes      int64         // estimated
	Oldest     time.Duration // age of the oldest result; 0 if all are current
}

// Status describes each datacenter of which something is held, by name.
func (v *Views) Status() []Status {
	now := time.Now()
	sums := map[string]*Status{}
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, w := range v.views {
		s := w.now.Load()
		if s.held == nil {
			continue
		}
		dc := label(w.site.name)
		sum := sums[dc]
		if sum == nil {
			sum = &Status{Datacenter: dc}
			sums[dc] = sum
		}
		sum.Views++
		sum.Bytes += s.held.weight
		if s.linked {
			sum.Streams++
		}
		sum.Oldest = max(sum.Oldest, s.age(now))
	}
	out := make([]Status, 0, len(sums))
	for _, s := range sums {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Datacenter, b.Datacenter) })
	return out
}

package lifecycle

import (
	"context"
	"sync/atomic"
)

// Workers run short tasks, many at once, on goroutines that are used again: a
// new goroutine would begin with a small stack each time and grow it, which
// costs more than most tasks. Its methods are safe for concurrent use.
type Workers struct {
	group *Group
	name  string
	most  int64 // that may be idle
	idle  atomic.Int64
	tasks chan func(context.Context)
}

// NewWorkers returns workers of the group. At most idle of them stay when there
// is nothing to do; Stop of the group ends them.
func NewWorkers(g *Group, name string, idle int) *Workers {
	return &Workers{group: g, name: name, most: int64(idle), tasks: make(chan func(context.Context))}
}

// Do runs the task at once, beside others, as Group.Spawn does. The caller
// bounds how many run.
func (w *Workers) Do(task func(ctx context.Context)) error {
	select {
	case w.tasks <- task: // to one that is idle
		return nil
	default:
	}
	return w.group.Spawn(w.name, func(ctx context.Context) {
		task(ctx)
		w.wait(ctx)
	})
}

// wait runs further tasks until too many are idle or the group stops.
func (w *Workers) wait(ctx context.Context) {
	for w.idle.Add(1) <= w.most {
		select {
		case <-ctx.Done():
			w.idle.Add(-1)
			return
		case task := <-w.tasks:
			w.idle.Add(-1)
			task(ctx)
		}
	}
	w.idle.Add(-1)
}

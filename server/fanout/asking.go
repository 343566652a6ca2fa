package fanout

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/directory"
)

// asking is one question to several datacenters.
type asking struct {
	caller  *Caller
	ctx     context.Context
	stop    context.CancelFunc
	call    *op.Call
	o       op.FanOutable
	request any
	reach   op.Reach
	probe   op.Probe
	listed  bool // the directory knows what the request is about
	now     bool // this datacenter is asked once, as the caller wants
	began   time.Time
	watch   *directory.Watch // nil where the directory is not asked
	moved   chan struct{}    // capacity 1

	round int
	parts map[partKey]*part
	// unready is how long the next look may wait when there is no answer yet.
	unready time.Duration

	mu sync.Mutex // guards what parts say
}

// partKey tells parts apart: what is asked of whom.
type partKey struct {
	dc, operation string
	whole         bool // the request itself, not the probe
}

// ask begins a question.
func (c *Caller) ask(ctx context.Context, call *op.Call, now bool) (*asking, error) {
	o, ok := call.Operation.(op.FanOutable)
	if !ok || !o.FansOut() {
		return nil, op.Errorf(op.CodeInvalid, "%s cannot be asked of several datacenters (%q): name one", call.Operation.OpName(), call.Header.Datacenter)
	}
	reach, err := op.ParseReach(call.Header.Datacenter)
	if err != nil {
		return nil, err
	}
	request, err := call.Request()
	if err != nil {
		return nil, err
	}
	a := &asking{caller: c, call: call, o: o, request: request, reach: reach, now: now, began: time.Now(),
		moved: make(chan struct{}, 1), parts: map[partKey]*part{}}
	if a.probe, ok = o.Probe(request); !ok {
		a.probe = op.Probe{Operation: o, Request: request, Has: func(any) bool { return true }}
	}
	if a.listed = a.probe.Service != ""; a.listed {
		a.watch = c.directory.Watch(a.probe.Service)
	}
	a.ctx, a.stop = context.WithCancel(ctx)
	return a, nil
}

func (a *asking) close() {
	a.stop()
	if a.watch != nil {
		a.watch.Close()
	}
}

// decision is an answer.
type decision struct {
	dc          string // that answers alone; empty for several
	datacenters []string
	results     []any
	o           op.FanOutable
	meta        op.Meta
	answered    prometheus.Counter // of such answers
	due         bool               // it is time to say something, even if nothing has changed
}

// reply makes the answer.
func (d *decision) reply() *op.Reply {
	d.answered.Inc()
	return op.NewReply(d.meta, d.o.Merged(d.datacenters, d.results))
}

// sameStates reports whether the datacenters took part in the same way.
func (d *decision) sameStates(o *decision) bool {
	if len(d.meta.Outcomes) != len(o.meta.Outcomes) {
		return false
	}
	for i, one := range d.meta.Outcomes {
		if other := o.meta.Outcomes[i]; one.Datacenter != other.Datacenter || one.State != other.State {
			return false
		}
	}
	return true
}

// next returns the answer as soon as there is one, and when called again, whenever
// there may be another. With a beat it returns at each of them, too.
func (a *asking) next(ctx context.Context, beat <-chan time.Time) (*decision, error) {
	var changed <-chan struct{}
	if a.watch != nil {
		changed = a.watch.Changed()
	}
	first := a.round == 0
	due := false
	for {
		if !first {
			review := time.NewTimer(reviewEvery)
			if a.unready > 0 {
				review.Reset(a.unready)
			}
			select {
			case <-a.moved:
			case <-changed:
			case <-review.C:
			case <-beat:
				due = true
			case <-ctx.Done():
			case <-a.caller.group.Context().Done():
			}
			review.Stop()
		}
		first = false
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case a.caller.group.Context().Err() != nil:
			return nil, op.ErrStopping
		}
		d, err := a.decide()
		if err != nil {
			return nil, err
		}
		if d != nil {
			d.due = due
			return d, nil
		}
	}
}

// fingerprint gathers what an answer was decided from.
type fingerprint struct{ b []byte }

func (f *fingerprint) add(dc string, index uint64) {
	f.b = append(append(f.b, dc...), 0)
	f.b = binary.BigEndian.AppendUint64(f.b, index)
}

func (f *fingerprint) index() uint64 {
	h := fnv.New64a()
	_, _ = h.Write(f.b) // does not fail
	return op.OpaqueFrom + h.Sum64()%op.OpaqueFrom
}

package federation

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/transport"
)

// Hedged reads: one that takes longer than nearly all do is sent to a second
// server as well.
const (
	// latencyWindow is of how many reads the p95 is taken, latencyRefresh after how
	// many it is taken again, latencyLeast how many there must be.
	latencyWindow  = 128
	latencyRefresh = 16
	latencyLeast   = 32
	// hedgeMargin is what a read may be late beyond the p95, as a share of it: where
	// all take about the same time, the slowest twentieth is not late.
	hedgeMargin = 0.08
	// hedgeShare is the share of reads that may be hedged, so that a datacenter
	// that is slow because it is busy is not made busier; hedgeBurst is how many
	// may be in a row.
	hedgeShare = 0.1
	hedgeBurst = 20
	// hedgeFloor and hedgeCeiling bound the delay.
	hedgeFloor   = 5 * time.Millisecond
	hedgeCeiling = 2 * time.Second
)

// latency is how long the reads of a datacenter take, and the token bucket of its
// hedges: each read fills it by hedgeShare, each hedge takes one.
type latency struct {
	mu      sync.Mutex
	samples [latencyWindow]time.Duration
	n       int
	p95     atomic.Int64 // 0 while unknown
	budget  float64      // hedges that may be made
}

func (p *latency) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples[p.n%latencyWindow] = d
	p.n++
	p.budget = min(hedgeBurst, p.budget+hedgeShare)
	if p.n < latencyLeast || p.n%latencyRefresh != 0 {
		return
	}
	sorted := slices.Clone(p.samples[:min(p.n, latencyWindow)])
	slices.Sort(sorted)
	p.p95.Store(int64(sorted[len(sorted)*95/100]))
}

// spendHedge reports whether another hedge is within the share.
func (p *latency) spendHedge() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.budget < 1 {
		return false
	}
	p.budget--
	return true
}

// suspectAfter is when a server that has not answered a read is asked last for a
// while: three round trips and what a leader's hold may take.
func (r *Router) suspectAfter(to transport.Target) time.Duration {
	const floor = 150 * time.Millisecond
	return min(3*r.cfg.Transport.RTT(to, rpc.Protocol)+floor, hedgeCeiling)
}

// hedgeDelay is how long a read waits for the first server before it asks the
// next as well.
func (r *Router) hedgeDelay(dc *datacenter, to transport.Target) time.Duration {
	p95 := time.Duration(dc.load.latency.p95.Load())
	if p95 == 0 {
		return r.suspectAfter(to) + rand.N(10*time.Millisecond)
	}
	return min(max(p95+time.Duration(hedgeMargin*float64(p95)), hedgeFloor), hedgeCeiling)
}

// hedge is the second try of a read, if it comes to it.
type hedge struct {
	stop context.CancelFunc // ends the first try

	mu      sync.Mutex
	closed  bool          // the first try has ended: it is too late to begin
	done    chan struct{} // closed when it has ended; nil if it has not begun
	reply   *op.Reply
	err     error
	overdue bool // the first server took longer than a server that lives should
}

// close says that the first try has ended and returns the second's end, nil if
// it has not begun.
func (h *hedge) close() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return h.done
}

// race asks the first server and, for a read that is late, the next as well;
// the first answer wins. Other calls go to one server at a time.
func (r *Router) race(ctx context.Context, dc *datacenter, targets []transport.Target, call *op.Call) (*op.Reply, error) {
	read := call.Operation.OpKind() == op.KindRead
	via := observedTransport{Transport: r.cfg.Transport, router: r, dc: dc, read: read, blocking: call.Header.MinIndex > 0}
	if read {
		via.bulk = r.sizes.long(call)
	}
	failed := func(to transport.Target, _ error) { dc.load.suspect(to.NodeID) }
	if len(targets) == 1 || !read || via.blocking {
		return rpc.TryEach(ctx, via, targets, call, failed)
	}
	if _, err := call.Body(); err != nil { // encoded once for both
		return nil, err
	}
	first, stop := context.WithCancel(ctx)
	defer stop()
	h := &hedge{stop: stop}
	second, cancel := context.WithCancel(ctx)
	defer cancel() // ends the slower try
	defer context.AfterFunc(r.group.Context(), cancel)()
	start := time.Now()
	timer := time.AfterFunc(r.hedgeDelay(dc, targets[0]), func() {
		r.second(h, dc, func() {
			tracing.Of(ctx).Event("sent to a second server")
			c := *call
			h.reply, h.err = rpc.TryEach(second, via, targets[1:], &c, failed)
			h.overdue = time.Since(start) > r.suspectAfter(targets[0])
		})
	})
	defer timer.Stop()
	own := *call
	reply, err := rpc.TryEach(first, via, targets[:1], &own, failed)
	done := h.close()
	if done == nil && err != nil && rpc.RetryElsewhere(ctx, rpc.DeadlineMargin(via, targets[0]), err, op.KindRead) {
		reply, next := rpc.TryEach(ctx, via, targets[1:], call, failed)
		return reply, rpc.MoreTelling(err, next, op.KindRead)
	}
	if err == nil || done == nil || first.Err() == nil && !rpc.Retryable(err, op.KindRead) {
		return reply, err
	}
	<-done // it ends with ctx
	if h.err == nil && h.overdue {
		dc.load.suspect(targets[0].NodeID)
		dc.load.of(targets[0].NodeID).doubt.Store(true)
		r.wake()
	}
	return h.reply, rpc.MoreTelling(err, h.err, op.KindRead)
}

// second begins the second try unless the first has ended or too many reads are
// hedged already.
func (r *Router) second(h *hedge, dc *datacenter, try func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || !dc.load.latency.spendHedge() {
		return
	}
	done := make(chan struct{})
	err := r.group.Spawn("second try", func(context.Context) {
		defer close(done)
		try()
		if h.err == nil {
			r.metrics.won(dc.name)
			h.stop()
		}
	})
	if err == nil {
		h.done = done
		r.metrics.hedged(dc.name)
	}
}

// bulkAbove is from which size on, in bytes, a request or an answer goes on
// connections of its own: at 1 % loss it would fill a small call's connection.
const bulkAbove = 16 << 10

// sizes remembers which reads had long answers lately. Two reads that fall on
// the same place share it: the worst of that is a read on the other connections.
type sizes struct {
	seed  maphash.Seed
	marks [1024]atomic.Uint64
}

func (s *sizes) place(call *op.Call) (mark *atomic.Uint64, hash uint64) {
	body, err := call.Body()
	if err != nil {
		return nil, 0
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(call.Header.Datacenter)
	_, _ = h.WriteString(call.Operation.OpName())
	_, _ = h.Write(body)
	hash = h.Sum64()
	return &s.marks[hash%uint64(len(s.marks))], hash | 1 // 0 is nothing
}

// long reports whether the read's last answer was long.
func (s *sizes) long(call *op.Call) bool {
	mark, hash := s.place(call)
	return mark != nil && mark.Load() == hash
}

// note remembers the size of a read's answer.
func (s *sizes) note(call *op.Call, reply *op.Reply) {
	body, err := reply.Body()
	if err != nil {
		return
	}
	mark, hash := s.place(call)
	switch {
	case mark == nil:
	case len(body) > bulkAbove:
		mark.Store(hash)
	case mark.Load() == hash:
		mark.Store(0)
	}
}

package checks

import (
	"sync"
	"time"
)

// expiredText begins the output of a TTL check that was not reported in time;
// clients know it.
const expiredText = "TTL expired (last output before timeout follows): "

// Expired is the output of a check whose last report had the given one.
func Expired(last string) string { return expiredText + last }

// TTL watches over a check that others report: without a report for the given
// time it is critical.
type TTL struct {
	ttl    time.Duration
	report func(Result)

	mu    sync.Mutex
	timer *time.Timer
	last  string
	until time.Time
	ended bool
}

// NewTTL starts to wait for a report.
func NewTTL(ttl time.Duration, report func(Result)) *TTL {
	t := &TTL{ttl: ttl, report: report, until: time.Now().Add(ttl)}
	t.timer = time.AfterFunc(ttl, t.expire)
	return t
}

// Seen notes a report and begins the wait anew.
func (t *TTL) Seen(output string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.last, t.until = output, time.Now().Add(t.ttl)
	t.timer.Reset(t.ttl)
}

// Resume sets the end of the wait: of a report made before a restart. That is
// the only time of the wall clock here. It is turned into a wait at once, and
// one that is longer than a report can be good for shows a clock that was set
// back: the wait is then that of a new report.
func (t *TTL) Resume(output string, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := min(time.Until(until), t.ttl)
	t.last, t.until = output, time.Now().Add(wait)
	t.timer.Reset(wait)
}

// Until is when the wait ends.
func (t *TTL) Until() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.until
}

// Stop ends the wait; nothing is reported any more.
func (t *TTL) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
}

func (t *TTL) expire() {
	t.mu.Lock()
	if t.ended || time.Now().Before(t.until) {
		t.mu.Unlock()
		return
	}
	last := t.last
	t.mu.Unlock()
	t.report(Result{Critical, Expired(last)})
}

package counted

import (
	"testing"
	"time"
)

func TestTrafficIsThatOfTheLastSpan(t *testing.T) {
	var f Bytes
	start := time.Now()
	const span = 100 * time.Millisecond
	at := func(d time.Duration) time.Time { return start.Add(d) }
	f.Add(at(0), span, 1000)
	for _, c := range []struct {
		after    time.Duration
		low, top float64
	}{{50 * time.Millisecond, 1000, 1000}, {150 * time.Millisecond, 400, 600}, {199 * time.Millisecond, 0, 20}, {time.Second, 0, 0}} {
		if got := f.Level(at(c.after), span); got < c.low || got > c.top {
			t.Errorf("%v later: %v, want %v to %v", c.after, got, c.low, c.top)
		}
	}
}

func TestLossIsRememberedForAWhileAndNotAtTheEdge(t *testing.T) {
	now := time.Now()
	l := Loss{At: now}
	note := func(after time.Duration, sent, lost float64) bool {
		now = now.Add(after)
		l.Note(now, sent, lost)
		return l.Lossy
	}
	for _, c := range []struct {
		name       string
		after      time.Duration
		sent, lost float64
		lossy      bool
	}{
		{"nothing", time.Second, 1000, 0, false},
		{"one packet is chance", time.Second, 1, 1, false},
		{"1 % of a thousand", time.Second, 1000, 10, true},
		{"it was only late", time.Second, 0, -8, true},
		{"0.2 % keeps what is", time.Minute, 10_000, 20, true},
		{"calm for minutes", 5 * time.Minute, 10_000, 1, false},
		{"0.2 % keeps what is", time.Minute, 10_000, 20, false},
		{"no traffic", time.Hour, 0, 0, false},
	} {
		if got := note(c.after, c.sent, c.lost); got != c.lossy {
			t.Errorf("%s: lossy %v at %.4f", c.name, got, l.Share())
		}
	}
	if l.sent < 0 || l.lost < 0 {
		t.Errorf("%+v", l)
	}
}

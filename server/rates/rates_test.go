package rates

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// run has each source ask so often a second for a while, and returns how many of its
// calls a second were admitted in the second half.
func run(l *Limiter, seconds int, each map[string]float64) map[string]float64 {
	const step = time.Millisecond
	steps := seconds * int(time.Second/step)
	owed, got := map[string]float64{}, map[string]float64{}
	for i := range steps {
		for name, rate := range each {
			for owed[name] += rate * step.Seconds(); owed[name] >= 1; owed[name]-- {
				if l.Admit(name, false) && i >= steps/2 {
					got[name]++
				}
			}
		}
		<-time.After(step)
	}
	for name := range got {
		got[name] /= float64(seconds) / 2
	}
	return got
}

func near(got, want float64) bool { return math.Abs(got-want) <= 0.1*want+1 }

func TestTheRateIsSharedFairly(t *testing.T) {
	for name, c := range map[string]struct{ asked, want map[string]float64 }{
		"below the rate":         {map[string]float64{"a": 300, "b": 600}, map[string]float64{"a": 300, "b": 600}},
		"one alone":              {map[string]float64{"a": 5000}, map[string]float64{"a": 1000}},
		"a flood and a neighbor": {map[string]float64{"flood": 20000, "b": 200}, map[string]float64{"flood": 800, "b": 200}},
		"two floods":             {map[string]float64{"a": 20000, "b": 3000, "c": 100}, map[string]float64{"a": 450, "b": 450, "c": 100}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(nil)
				l.Set(Settings{Mode: Enforcing, Read: 1000})
				for source, got := range run(l, 10, c.asked) {
					if !near(got, c.want[source]) {
						t.Errorf("%s got %.0f a second, want %.0f", source, got, c.want[source])
					}
				}
			})
		})
	}
}

// What asks little is admitted whatever others do, in bursts too.
func TestABurstOfWhoAsksLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		l.Set(Settings{Mode: Enforcing, Read: 1000})
		run(l, 4, map[string]float64{"flood": 20000, "quiet": 1})
		for i := range 100 {
			if !l.Admit("quiet", false) {
				t.Fatalf("call %d of a burst is refused", i+1)
			}
		}
	})
}

func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		ask := func(write bool) (refused int) {
			for range 500 {
				if !l.Admit("a", write) {
					refused++
				}
			}
			return refused
		}
		for _, c := range []struct {
			set                  Settings
			refuseRead, refuseWr bool
		}{
			{Settings{Mode: Disabled, Read: 1, Write: 1}, false, false},
			{Settings{Mode: Permissive, Read: 1, Write: 1}, false, false},
			{Settings{Mode: Enforcing, Read: 1, Write: -1}, true, false},
			{Settings{Mode: Enforcing, Read: -1, Write: 1}, false, true},
			{Settings{Mode: Enforcing, Read: -1, Write: -1}, false, false},
		} {
			l.Set(c.set)
			if got := ask(false) > 0; got != c.refuseRead {
				t.Errorf("%+v: reads are refused: %t", c.set, got)
			}
			if got := ask(true) > 0; got != c.refuseWr {
				t.Errorf("%+v: writes are refused: %t", c.set, got)
			}
		}
	})
}

// However many sources come, what is kept of them is bounded.
func TestSourcesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(nil)
		l.Set(Settings{Mode: Enforcing, Read: 1000})
		for i := range 2 * maxSources {
			l.Admit(fmt.Sprint(i), false)
		}
		by := l.now.Load().read
		if n := len(by.sources); n > maxSources+1 {
			t.Errorf("%d sources are kept", n)
		}
		<-time.After(2 * forget)
		l.Admit("a", false)
		if n := len(by.sources); n != 1 {
			t.Errorf("%d sources are kept though one asks", n)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	l := New(nil)
	l.Set(Settings{Mode: Enforcing, Read: 1e9})
	b.ReportAllocs()
	for b.Loop() {
		l.Admit("a", false)
	}
}

package local

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
)

// runs stands in for a run of a check.
func (s *State) runs(id, status, output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result(s.checks[id], checks.Result{Status: status, Output: output})
	s.ran(s.checks[id])
}

// lives runs one life of an agent after another over the same files and
// catalog; what passes between them passes in down.
type lives struct {
	t    *testing.T
	dir  string
	f    *fakeCatalog
	addr string // where checks find somebody
}

func newLives(t *testing.T) *lives {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, listener.Close()) })
	return &lives{t: t, dir: t.TempDir(), f: newFakeCatalog(), addr: listener.Addr().String()}
}

// live runs one, with checks from a file; before is what happens before it
// starts, and killed ends it without a word.
func (l *lives) live(down time.Duration, killed bool, file []config.CheckDefinition, test func(t *testing.T, s *State)) {
	l.t.Helper()
	synctest.Test(l.t, func(t *testing.T) {
		<-time.After(down) // each bubble begins at the same moment
		s, err := New(Config{Caller: listing{l.f}, NodeName: "n1", Dir: l.dir, UpdateInterval: 5 * time.Minute, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
		must(t, err)
		must(t, s.Define(nil, file))
		must(t, s.Start())
		synctest.Wait()
		test(t, s)
		if killed {
			s.mu.Lock()
			for _, c := range s.checks {
				c.ranAt = time.Time{} // stopping has nothing to keep
			}
			s.mu.Unlock()
		}
		must(t, s.Stop(t.Context()))
	})
}

// check is one that passes when it runs by itself.
func (l *lives) check(id string) config.CheckDefinition {
	return config.CheckDefinition{ID: id, TCP: l.addr, Interval: time.Hour}
}

func TestStatesOutliveARestart(t *testing.T) {
	const hour = time.Hour // the interval
	for name, c := range map[string]struct {
		down   time.Duration // from the first start to the second
		killed bool
		change func(*config.CheckDefinition)
		want   string
	}{
		"soon":                   {down: 10 * time.Minute, want: "passing all is well"},
		"killed":                 {down: 10 * time.Minute, killed: true, want: "passing "},
		"within two intervals":   {down: 2*hour + 4*time.Second, want: "passing all is well"},
		"after two intervals":    {down: 2*hour + 6*time.Second, want: "critical"},
		"the clock was set back": {down: 0, want: "critical"},
		"another target":         {down: 10 * time.Minute, change: func(d *config.CheckDefinition) { d.TCP = "127.0.0.1:1" }, want: "critical"},
		"another initial state":  {down: 10 * time.Minute, change: func(d *config.CheckDefinition) { d.Status = "warning" }, want: "passing all is well"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLives(t)
			def := l.check("disk")
			l.live(0, c.killed, []config.CheckDefinition{def}, func(t *testing.T, s *State) {
				must(t, s.AddService(config.ServiceDefinition{Name: "web", Checks: []config.CheckDefinition{l.check("web")}}))
				after(5 * time.Second)
				s.runs("disk", "passing", "all is well")
				s.runs("web", "passing", "all is well")
				after(2 * time.Second)
			})
			_, before := l.f.count()
			if c.change != nil {
				c.change(&def)
			}
			l.live(c.down, false, []config.CheckDefinition{def}, func(t *testing.T, s *State) {
				for id, check := range s.Checks() {
					if got := check.Status + " " + check.Output; !strings.HasPrefix(got, c.want) && (id == "disk" || c.change == nil) {
						t.Errorf("%s after the restart: %q, want %q", id, got, c.want)
					}
				}
				after(2 * time.Second) // checks have run, and say something else
				if _, now := l.f.count(); now != before && strings.HasPrefix(c.want, "passing") {
					t.Errorf("%d writes to a catalog that had the same", now-before)
				}
			})
		})
	}
}

// Output that changes with each run is kept now and then, and in the end.
func TestOutputIsKeptNowAndThen(t *testing.T) {
	l := newLives(t)
	file := []config.CheckDefinition{l.check("disk")}
	kept := func() string {
		k, err := readKept(disk.New(l.dir).Path(resultFolder, "disk"))
		must(t, err)
		return k.Result.Status + " " + k.Result.Output
	}
	l.live(0, false, file, func(t *testing.T, s *State) {
		after(2*time.Second + keepPeriod/2) // it has run by itself
		s.runs("disk", "warning", "")
		after(keepPeriod)
		for i := range 20 {
			s.runs("disk", "passing", fmt.Sprint(i))
			after(keepPeriod)
		}
		if got := kept(); got != "passing 0" {
			t.Errorf("after 20 s it is %q", got)
		}
		for i := range 15 {
			s.runs("disk", "passing", fmt.Sprint(20+i))
			after(keepPeriod)
		}
		if got := kept(); got != "passing 30" {
			t.Errorf("after 35 s it is %q", got)
		}
		s.runs("disk", "warning", "at once")
		after(keepPeriod)
		if got := kept(); got != "warning at once" {
			t.Errorf("after another state it is %q", got)
		}
		s.runs("disk", "warning", "last")
	})
	if got := kept(); got != "warning last" {
		t.Errorf("in the end it is %q", got)
	}
}

// One state that cannot be written makes no other older than it is.
func TestTimesAreKeptWhileNothingCanBeWritten(t *testing.T) {
	l := newLives(t)
	file := []config.CheckDefinition{l.check("calm"), l.check("full")}
	calm, full := disk.New(l.dir).Path(resultFolder, "calm"), disk.New(l.dir).Path(resultFolder, "full")
	l.live(0, true, file, func(t *testing.T, s *State) {
		after(4 * time.Second) // they have run by themselves
		must(t, os.Remove(full))
		must(t, os.MkdirAll(filepath.Join(full, "in the way"), 0o700))
		s.runs("calm", "warning", "")
		after(2 * keepPeriod)
		at := time.Now()
		s.runs("calm", "warning", "")
		s.runs("full", "warning", "")
		after(2 * keepPeriod)
		info, err := os.Stat(calm)
		if must(t, err); info.ModTime().Before(at) {
			t.Errorf("it ran at %s, and its file says %s", at, info.ModTime())
		}
	})
}

// What is no state of a check is not taken up as one, whatever the file says.
func TestDamagedStatesArePutAside(t *testing.T) {
	for name, text := range map[string]string{
		"no state":  `{"Result":{"CheckID":"ttl","Status":"passhng","Until":"2100-01-01T00:00:00Z"}}`,
		"truncated": `{"Result":{"CheckID":"ttl","Sta`,
		"empty":     ``,
		"too long":  strings.Repeat(" ", maxKept) + `{"Result":{"CheckID":"ttl","Status":"passing","Until":"2100-01-01T00:00:00Z"}}`,
	} {
		l := newLives(t)
		path := disk.New(l.dir).Path(resultFolder, "ttl")
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		l.live(0, false, []config.CheckDefinition{{ID: "ttl", TTL: time.Hour}}, func(t *testing.T, s *State) {
			if got := s.Checks()["ttl"].Status; got != "critical" {
				t.Errorf("%s: the check is %s", name, got)
			}
		})
		if _, err := os.Stat(path + ".bad"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStatesOfChecksThatAreGoneGo(t *testing.T) {
	l := newLives(t)
	count := func(want int) {
		t.Helper()
		if list, err := os.ReadDir(filepath.Join(l.dir, resultFolder)); err != nil || len(list) != want {
			t.Errorf("%d states are kept, want %d: %v", len(list), want, err)
		}
	}
	l.live(0, false, []config.CheckDefinition{l.check("one"), l.check("two")}, func(t *testing.T, s *State) {
		must(t, s.AddCheck(l.check("three")))
		for _, id := range []string{"one", "two", "three"} {
			s.runs(id, "passing", "")
		}
		after(2 * keepPeriod)
		count(3)
		s.runs("three", "critical", "") // and its end comes before it is kept
		must(t, s.RemoveCheck("three"))
		after(2 * keepPeriod)
		count(2)
	})
	l.live(0, false, []config.CheckDefinition{l.check("one")}, func(*testing.T, *State) {})
	count(1)
}

// After a start, checks run soon, and not all at once.
func TestTheFirstRunAfterAStartComesSoon(t *testing.T) {
	l := newLives(t)
	var file []config.CheckDefinition
	for i := range 400 {
		file = append(file, l.check(fmt.Sprint(i)))
	}
	ranIn := func(s *State, d time.Duration) (n int) {
		after(d)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.checks {
			if !c.ranAt.IsZero() {
				n++
			}
		}
		return n
	}
	l.live(0, false, file, func(t *testing.T, s *State) {
		if early, all := ranIn(s, 100*time.Millisecond), ranIn(s, 2*time.Second); early > 100 || all != 400 {
			t.Errorf("%d ran within a tenth of a second, %d within 2 s, of 400", early, all)
		}
	})
}

// BenchmarkKeepingResults is a second of 2,000 checks that run every 10 s, one
// in ten of them with other output each time.
func BenchmarkKeepingResults(b *testing.B) {
	s, err := New(Config{Caller: newFakeCatalog(), NodeName: "n1", Dir: b.TempDir(), Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 2000 {
		if err := s.addCheck(config.CheckDefinition{ID: fmt.Sprint(i), TCP: "127.0.0.1:1", Interval: 10 * time.Second}, true); err != nil {
			b.Fatal(err)
		}
		s.runs(fmt.Sprint(i), "passing", strings.Repeat("x", 400))
	}
	if err := s.keepResults(false); err != nil {
		b.Fatal(err)
	}
	next := 0
	for b.Loop() {
		for range 200 {
			output := strings.Repeat("x", 400)
			if next%10 == 0 {
				output = fmt.Sprint(output, next)
			}
			s.runs(fmt.Sprint(next%2000), "passing", output)
			next++
		}
		if err := s.keepResults(false); err != nil {
			b.Fatal(err)
		}
	}
}

package logging

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// locked is a buffer that a test looks at while others write.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since the last call.
func (l *locked) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// limited is a logger that is limited, what it writes, and its end.
func limited(t *testing.T, level slog.Level) (*slog.Logger, *Limit, *locked) {
	t.Helper()
	out, at := new(locked), new(slog.LevelVar)
	at.Set(level)
	l := NewLimit(New(out, at, false).Handler())
	return slog.New(Named(l, "agent", Origin{"n1", "dc1"})), l, out
}

func TestAStormOfLinesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, limit, out := limited(t, slog.LevelInfo)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { limit.Run(ctx); close(done) }()
		raft := log.With("component", "raft")
		raft.Error("the first of another kind")
		for i := range 100_000 {
			raft.Warn("peer does not answer", "peer", i)
			if i == 50_000 {
				raft.Error("a rare one in the storm")
				log.Warn("peer does not answer") // of another component
			}
		}
		text := out.take()
		if n := strings.Count(text, "\n"); n != LimitLines+3 {
			t.Errorf("%d lines of 100003 at once", n)
		}
		for _, want := range []string{"peer=0\n", "the first of another kind", "a rare one in the storm", "component=agent node=n1 datacenter=dc1\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q was swallowed", want)
			}
		}
		left := 100_000 - LimitLines
		if got := limit.Suppressed(); got != uint64(left) {
			t.Errorf("%d lines counted as left out, want %d", got, left)
		}
		<-time.After(LimitWindow + limitSweep)
		synctest.Wait()
		if got, want := out.take(), fmt.Sprintf("peer does not answer … and %d more in 30s", left); !strings.Contains(got, want) || !strings.Contains(got, "component=raft") || strings.Count(got, "\n") != 1 {
			t.Errorf("told %q, want one line with %q", got, want)
		}
		raft.Warn("peer does not answer")
		if got := out.take(); strings.Count(got, "\n") != 1 {
			t.Errorf("the first of a new window is %q", got)
		}
		for range LimitLines {
			raft.Warn("peer does not answer")
		}
		cancel()
		<-done
		if got := out.take(); !strings.Contains(got, "and 1 more") {
			t.Errorf("the end does not tell what was left out: %q", got)
		}
	})
}

func TestAStormOfManyKindsIsBounded(t *testing.T) {
	log, _, out := limited(t, slog.LevelInfo)
	for i := range 100_000 {
		log.Info(fmt.Sprint("line ", i))
	}
	log.With("component", "other").Error("heard")
	text := out.take()
	if n := strings.Count(text, "\n"); n > limitKinds+LimitLines+1 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(text, "heard") {
		t.Error("an error of another component is swallowed")
	}
}

// A library that names members in its messages makes many kinds, and so does who
// listens to fine lines: neither makes rare lines share with repeats.
func TestManyKindsDoNotTakeTheRoomOfOthers(t *testing.T) {
	log, _, out := limited(t, slog.LevelDebug)
	gossip, raft := log.With("component", "gossip"), log.With("component", "raft")
	for i := range 10 * limitKinds {
		gossip.Info(fmt.Sprintf("member n%d failed", i))
		raft.Debug(fmt.Sprintf("entry %d", i))
	}
	out.take()
	for i := range 100 {
		raft.Error("peer does not answer", "try", i)
	}
	raft.Error("the log cannot be written")
	gossip.Debug("fine")
	if text := out.take(); strings.Count(text, "peer does not answer") != LimitLines || !strings.Contains(text, "the log cannot be written") || !strings.Contains(text, "fine") {
		t.Errorf("a line was swallowed: %q", text)
	}
}

// What is remembered of a message is bounded.
func TestLongMessagesOfOneBeginningAreOfOneKind(t *testing.T) {
	log, limit, out := limited(t, slog.LevelInfo)
	long := strings.Repeat("x", limitMessage)
	for i := range 2 * LimitLines {
		log.Info(long + fmt.Sprint(i))
	}
	if n := strings.Count(out.take(), "\n"); n != LimitLines {
		t.Errorf("%d lines", n)
	}
	for k := range limit.s.kinds {
		if len(k.message) > limitMessage {
			t.Errorf("%d bytes of a message are kept", len(k.message))
		}
	}
}

func TestListenersSeeWhatTheLogSees(t *testing.T) {
	var out bytes.Buffer
	tee := NewTee(New(&out, new(slog.LevelVar), false).Handler())
	l := listen(t, tee, slog.LevelInfo, false)
	log := slog.New(Named(NewLimit(tee), "agent", Origin{"n1", "dc1"}))
	for range 400 {
		log.Info("again")
	}
	if n := len(l.Lines()); n != LimitLines || strings.Count(out.String(), "\n") != n {
		t.Errorf("a listener has %d lines, the log %d", n, strings.Count(out.String(), "\n"))
	}
	if got := string(<-l.Lines()); !strings.HasSuffix(got, "agent: again: node=n1 datacenter=dc1\n") {
		t.Errorf("a listener has %q", got)
	}
}

func TestLinesSayWhereTheyComeFrom(t *testing.T) {
	var out bytes.Buffer
	at := new(slog.LevelVar)
	log := slog.New(Named(New(&out, at, true).Handler(), "agent", Origin{"n1", "dc1"}))
	raft := HCLog(log.With("pool", "lan").With("component", "storage").With("component", "raft", "db", "log"))
	for _, c := range []struct {
		write func()
		want  map[string]any
	}{
		{func() { log.Info("a") }, map[string]any{"component": "agent", "node": "n1", "datacenter": "dc1"}},
		{func() { raft.Info("b", "node", "Node at 1.2.3.4 [Candidate]", "term", 3) },
			map[string]any{"component": "raft", "node": "n1", "datacenter": "dc1", "pool": "lan", "db": "log", "about_node": "Node at 1.2.3.4 [Candidate]", "term": 3.0}},
		{func() { log.With("datacenter", "dc2").Info("c", "component", "x", "msg", "y", "level", 1, "time", 2) },
			map[string]any{"component": "agent", "datacenter": "dc1", "about_datacenter": "dc2", "about_component": "x", "about_msg": "y", "about_level": 1.0, "about_time": 2.0, "msg": "c", "level": "INFO"}},
		{func() { log.WithGroup("g").With("node", "x").Info("d", "component", "y") },
			map[string]any{"component": "agent", "node": "n1", "g": map[string]any{"node": "x", "component": "y"}}},
	} {
		out.Reset()
		c.write()
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for key, want := range c.want {
			if fmt.Sprint(got[key]) != fmt.Sprint(want) {
				t.Errorf("%s is %v, want %v in %s", key, got[key], want, &out)
			}
			if n := strings.Count(out.String(), `"`+key+`":`); n != 1 && key != "node" && key != "component" {
				t.Errorf("%s stands %d times in %s", key, n, &out)
			}
		}
	}
}

func BenchmarkAHiddenLine(b *testing.B) {
	log := slog.New(Named(NewLimit(NewTee(New(new(bytes.Buffer), new(slog.LevelVar), false).Handler())), "agent", Origin{"n1", "dc1"}))
	b.ReportAllocs()
	for b.Loop() {
		log.Debug("nothing", "n", 1)
	}
}

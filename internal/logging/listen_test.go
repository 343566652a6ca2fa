package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func tee(t *testing.T) (*Tee, *slog.Logger, *bytes.Buffer) {
	t.Helper()
	out := new(bytes.Buffer)
	h := NewTee(New(out, new(slog.LevelVar), false).Handler())
	return h, slog.New(h), out
}

func listen(t *testing.T, h *Tee, level slog.Level, asJSON bool) *Listener {
	t.Helper()
	l, err := h.Listen(level, asJSON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestListenersHearWhatTheLogDoesNotShow(t *testing.T) {
	h, log, out := tee(t)
	debug, warn := listen(t, h, slog.LevelDebug, false), listen(t, h, slog.LevelWarn, false)
	log.With("component", "raft").WithGroup("g").Debug("hidden from the file", "a", 1)
	if got := string(<-debug.Lines()); !strings.Contains(got, " [DEBUG] raft: hidden from the file: g.a=1") || !strings.HasSuffix(got, "\n") {
		t.Errorf("line: %q", got)
	}
	if len(warn.Lines()) != 0 {
		t.Error("a debug line reached a listener at warn")
	}
	if out.Len() != 0 {
		t.Errorf("a listener made the log show %q", out)
	}
	log.Warn("for all")
	if string(<-debug.Lines()) != string(<-warn.Lines()) || !strings.Contains(out.String(), "for all") {
		t.Error("a warning did not reach all")
	}
}

func TestTextLinesHaveTheFormOfHCLog(t *testing.T) {
	h, log, _ := tee(t)
	l := listen(t, h, LevelTrace, false)
	for _, c := range []struct {
		write func()
		want  string
	}{
		{func() { log.With("component", "http").Info("request", "path", "/v1/x", "level", 7) }, "[INFO]  http: request: path=/v1/x level=7\n"},
		{func() { log.With("msg", "mine").Debug("plain") }, "[DEBUG] plain: msg=mine\n"},
		{func() { log.Warn("two\nlines", "text", "a \"b\"\n") }, `[WARN]  two lines: text="a \"b\"\n"` + "\n"},
		{func() { log.Error("bare") }, "[ERROR] bare\n"},
		{func() { HCLog(log.With("component", "raft").WithGroup("g")).Trace("vote", "term", 3, "component", "x") }, "[TRACE] raft: vote: g.term=3 g.component=x\n"},
	} {
		c.write()
		at, rest, _ := strings.Cut(string(<-l.Lines()), " ")
		if when, err := time.Parse("2006-01-02T15:04:05.000Z0700", at); err != nil || time.Since(when) > time.Minute || rest != c.want {
			t.Errorf("%s %q, want %q; %v", at, rest, c.want, err)
		}
	}
}

func TestJSONLinesHaveTheFieldsOfHCLog(t *testing.T) {
	h, log, _ := tee(t)
	l := listen(t, h, LevelTrace, true)
	HCLog(log.With("component", "raft")).Trace("vote", "term", 3)
	var got map[string]any
	if err := json.Unmarshal(<-l.Lines(), &got); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["@timestamp"]))
	if got["@level"] != "trace" || got["@message"] != "vote" || got["@module"] != "raft" || got["term"] != 3.0 || err != nil || time.Since(at) > time.Minute {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSlowListenersLoseLinesAndHearHowMany(t *testing.T) {
	h, log, _ := tee(t)
	l := listen(t, h, slog.LevelInfo, false)
	if l.Lost() != nil {
		t.Error("lost lines before there was one")
	}
	for range listenerQueue + 7 { // nobody reads: this would block if logging waited
		log.Info("line")
	}
	if got := string(l.Lost()); !strings.Contains(got, "7 lines dropped") {
		t.Errorf("%q", got)
	}
	if l.Lost() != nil {
		t.Error("lost lines are told twice")
	}
	if h.Lost() != 7 || h.Listeners() != 1 {
		t.Errorf("%d lines of %d listeners counted", h.Lost(), h.Listeners())
	}
	if n := len(l.Lines()); n != listenerQueue {
		t.Errorf("%d lines wait", n)
	}
}

func TestListenersAreBoundedAndGo(t *testing.T) {
	h, log, _ := tee(t)
	first := listen(t, h, slog.LevelDebug, false)
	for range MaxListeners - 1 {
		listen(t, h, slog.LevelError, false)
	}
	if _, err := h.Listen(slog.LevelInfo, false); !errors.Is(err, ErrTooManyListeners) {
		t.Errorf("one too many: %v", err)
	}
	first.Close()
	if log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug lines are still made for a listener that has gone")
	}
	listen(t, h, slog.LevelInfo, false)
}

func BenchmarkNobodyListens(b *testing.B) {
	log := slog.New(NewTee(slog.DiscardHandler))
	b.ReportAllocs()
	for b.Loop() {
		log.Debug("nothing", "n", 1)
	}
}

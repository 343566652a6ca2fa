package logging

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLibraryLinesKeepTheirLevel(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	l := New(&out, level, false)
	Std(l).Printf("[WARN] memberlist: node %s is slow", "a")
	Std(l).Printf("[DEBUG] memberlist: hidden")
	HCLog(l).Info("elected", "term", 7)
	got := out.String()
	for _, want := range []string{"level=WARN", "node a is slow", "level=INFO", "term=7"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "hidden") {
		t.Errorf("a debug line passed at level info:\n%s", got)
	}
	level.Set(LevelTrace)
	HCLog(l).Trace("finest")
	if !strings.Contains(out.String(), "level=TRACE") {
		t.Errorf("trace is not named:\n%s", out.String())
	}
}

func TestParseLevel(t *testing.T) {
	for in, want := range map[string]slog.Level{"": slog.LevelInfo, "warn": slog.LevelWarn, "ERR": slog.LevelError, "trace": LevelTrace} {
		if got, err := ParseLevel(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("an unknown level was accepted")
	}
}

func TestComplaintsOfTheNetworkAreBounded(t *testing.T) {
	var out bytes.Buffer
	l := Std(New(&out, new(slog.LevelVar), false))
	const packets = 10 * complaintsBurst
	for range packets {
		l.Print("[ERR] memberlist: bad packet")
	}
	if n := strings.Count(out.String(), "bad packet"); n < complaintsBurst || n > 2*complaintsBurst {
		t.Errorf("%d lines for %d packets", n, packets)
	}
	out.Reset()
	for range packets {
		l.Print("[INFO] serf: member joined")
	}
	if n := strings.Count(out.String(), "joined"); n != packets {
		t.Errorf("%d lines for %d events", n, packets)
	}
}

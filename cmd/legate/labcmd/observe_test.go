package labcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/lifecycle"
)

func observing(t *testing.T) *observers {
	t.Helper()
	group := lifecycle.New("test")
	t.Cleanup(func() {
		if err := group.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return &observers{dir: t.TempDir(), prometheusAddr: "127.0.0.1:0", grafanaAddr: "127.0.0.1:0", group: group}
}

// script puts a program of this name on the PATH, which has nothing else.
func script(t *testing.T, name, text string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if name == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	script(t, "", "")
	said, err := observing(t).watch(t.Context(), nil)
	if err != nil || !strings.Contains(said, withoutPrometheus) || !strings.Contains(said, withoutGrafana) {
		t.Errorf("%q, %v", said, err)
	}
}

func TestAProgramThatEndsAtOnceShowsItsWords(t *testing.T) {
	for _, name := range []string{"prometheus", "grafana", "grafana-server"} {
		script(t, name, "echo no such option: $1; exit 3\n")
		said, err := observing(t).watch(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), name+" ended at once") || !strings.Contains(err.Error(), "no such option:") {
			t.Errorf("%s: %q, %v", name, said, err)
		}
		if name == "grafana" && !strings.Contains(err.Error(), "no such option: server") {
			t.Errorf("grafana got other arguments: %v", err)
		}
	}
}

func TestWhoWatchesListensOnLoopbackOnly(t *testing.T) {
	script(t, "", "")
	for _, addr := range []string{"0.0.0.0:9090", "10.0.0.1:9090", ":9090", "localhost", ""} {
		o := observing(t)
		o.grafanaAddr = addr
		if _, err := o.watch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "-grafana-addr") {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// copyTree copies a data directory.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// files lists the files below dir whose path has the form of glob below it.
func files(t testing.TB, dir, glob string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, glob))
	if err != nil || len(found) == 0 {
		var all []string
		_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error { all = append(all, p); return nil })
		t.Fatalf("no file %s in %q (%v)", glob, all, err)
	}
	return found
}

// part is a part of a file: from and to are in hundredths of its length.
type part struct{ from, to int }

var (
	all    = part{0, 100}
	early  = part{12, 50}
	middle = part{33, 67}
	late   = part{67, 100}
)

// scribble makes nonsense of a part of a file. (Nonsense at the end of a
// write-ahead log looks like a write that a crash cut off, and is taken for that.)
func scribble(t testing.TB, file string, p part) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if p == all {
		b = bytes.Repeat([]byte{0xC1, 0xFF, 0x00, '{'}, len(b)/4+4)[:max(len(b), 16)]
	} else {
		for i := len(b) * p.from / 100; i < len(b)*p.to/100; i++ {
			b[i] ^= 0xA5
		}
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	n := start(t, spec{host: h, name: "victim", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	awaitLeader(t, patience, n)
	for i := range 50 {
		if err := n.put(fmt.Sprintf("k/%d", i), strings.Repeat("v", 1000), ""); err != nil {
			t.Fatal(err)
		}
	}
	n.Kill()
	// A second start and end make tables of what the first left in logs.
	n.start()
	awaitLeader(t, patience, n)
	n.Signal(os.Interrupt)
	n.WaitExit(patience)
	whole := filepath.Join(t.TempDir(), "whole")
	copyTree(t, n.dir, whole)

	for _, c := range []struct {
		glob string
		part part
		// survives: the agent may also start and have everything, as what the
		// file held can be done without.
		survives bool
	}{
		{"node-id", all, false},
		{"agent.json", all, false},
		{"serf/local.snapshot", all, true},
		{"serf/remote.snapshot", all, true},
		{"quic-reset-key", all, true},
		{"raft/log/MANIFEST-*", all, false},
		{"raft/log/MANIFEST-*", early, false},
		{"raft/state/*/MANIFEST-*", all, false},
		{"raft/state/*/MANIFEST-*", early, false},
		{"raft/log/MANIFEST-*", middle, false},
		{"raft/log/MANIFEST-*", late, false},
		{"raft/state/*/MANIFEST-*", middle, false},
		{"raft/state/*/MANIFEST-*", late, false},
		{"raft/log/OPTIONS-*", all, false},
		{"raft/log/*.log", all, false},
		{"raft/log/*.log", middle, false},
		{"raft/state/*/*.log", all, true},
		{"raft/log/*.sst", all, false},
		{"raft/log/*.sst", early, false},
		{"raft/state/*/*.sst", all, false},
		{"raft/state/*/*.sst", early, false},
	} {
		t.Run(fmt.Sprintf("%s,part=%d-%d", strings.ReplaceAll(c.glob, "/", "-"), c.part.from, c.part.to), func(t *testing.T) {
			t.Parallel()
			s := n.spec
			s.host = proctest.Loopback(t)
			s.ip = s.host.Addr(1, 1)
			s.dir = filepath.Join(t.TempDir(), "data")
			copyTree(t, whole, s.dir)
			hurt := newNode(t, s)
			for _, file := range files(t, s.dir, c.glob) {
				scribble(t, file, c.part)
			}
			hurt.launch()
			endsOrHasAll(t, hurt, c.survives)
			hurt.Kill()
			calm(t, "the output", hurt.String())

			// Whatever the damaged start did, the files that were put back are enough.
			for _, file := range files(t, whole, c.glob) {
				rel, err := filepath.Rel(whole, file)
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(s.dir, rel), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			hurt.start()
			proctest.Until(t, patience, "everything is there once the file is restored", hurt.hasAll)
			hurt.Kill()
		})
	}
}

// hasAll checks the keys that the victim was given.
func (n *node) hasAll() error {
	keys, _, err := n.client.KV().Keys("k/", "", nil)
	if err == nil && len(keys) != 50 {
		err = fmt.Errorf("%d keys, want 50", len(keys))
	}
	return err
}

// endsOrHasAll waits until the agent has ended with exit code 1 and a reason
// that names the place or, where the agent may survive, until it has
// everything. An agent that runs without its data is worse than none.
func endsOrHasAll(t testing.TB, n *node, survives bool) {
	t.Helper()
	proctest.Until(t, patience, "the damage shows", func() error {
		if n.Exited() {
			return nil
		}
		return n.hasAll()
	})
	switch {
	case !n.Exited() && !survives:
		t.Logf("the agent started and has everything")
	case n.Exited():
		if code := n.WaitExit(patience); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		_, reason, _ := strings.Cut(n.String(), "\nError: ")
		contains(t, "the reason", reason, n.dir)
		t.Logf("says: %s", strings.TrimSpace(reason))
		if survives {
			t.Errorf("the agent cannot do without the file")
		}
	}
}

package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestLogFileRotates(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l.log")
	other := filepath.Join(dir, "l-other.log")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(path, Rotation{Bytes: 10, Age: time.Hour, Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	l.now = func() time.Time { return now }
	l.created = now
	write := func(line string) {
		t.Helper()
		now = now.Add(time.Second)
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		write(fmt.Sprintf("line %d..", i)) // 8 bytes: each after the first begins a file
	}
	now = now.Add(2 * time.Hour)
	write("x")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	slices.Sort(texts)
	if want := []string{"", "line 3..", "line 4..", "x"}; !slices.Equal(texts, want) {
		t.Errorf("files hold %q, want %q (%q)", texts, want, files)
	}
}

// NodeID implements agentProcess.

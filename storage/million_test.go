package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage/raftlog"
)

// Many keys of 512 bytes: a local snapshot is quick, and another process opens
// log and state and reads the first row soon and within little memory. With
// LEGATE_LONG=1 there are a million, and the figures are those promised.
func TestManyKeysOpenFast(t *testing.T) {
	keys, mark, open, memory := 50_000, 10*time.Second, 20*time.Second, 1024 // the race detector takes its share
	if os.Getenv("LEGATE_LONG") == "1" {
		keys, mark, open, memory = 1_000_000, 200*time.Millisecond, time.Second, 200
	}
	dir := t.TempDir()
	l, s, release := openBoth(t, dir)
	began := time.Now()
	for from := 0; from < keys; from += 10_000 {
		fill(t, s, from, from+10_000)
		store(t, l, from+1, from+10_000)
	}
	t.Logf("%d keys written in %v", keys, time.Since(began))
	began = time.Now()
	if err := s.Mark(s.Generation(), s.Position()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > mark {
		t.Errorf("a local snapshot took %v, more than %v", took, mark)
	} else {
		t.Logf("local snapshot: %v", took)
	}
	began = time.Now()
	scratch := s.Scratch("test")
	if _, err := s.Checkpoint(scratch); err != nil {
		t.Fatal(err)
	}
	t.Logf("checkpoint: %v, %.0f MB of state", time.Since(began), s.diskBytes()/1e6)
	if err := errors.Join(os.RemoveAll(scratch), s.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	release()
	took, rss := measureOpen(t, dir, keys)
	if took > open || rss > memory {
		t.Errorf("opening took %v and %d MiB, more than %v or %d MiB", took, rss, open, memory)
	}
	t.Logf("opened with the first read in %v, %d MiB resident", took, rss)
}

func openBoth(t *testing.T, dir string) (*raftlog.Log, *State, func()) {
	t.Helper()
	cache := pebble.NewCache(64 << 20)
	l, err := raftlog.Open(Options{Dir: filepath.Join(dir, "log"), Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenState(Options{Dir: filepath.Join(dir, "state"), Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	return l, s, cache.Unref
}

func store(t *testing.T, l *raftlog.Log, from, to int) {
	t.Helper()
	data := bytes.Repeat([]byte("d"), 560)
	for from <= to {
		var entries []*raft.Log
		for range 500 {
			entries = append(entries, &raft.Log{Index: uint64(from), Term: 1, Data: data})
			from++
		}
		if err := l.StoreLogs(entries); err != nil {
			t.Fatal(err)
		}
	}
	if to > 20_000 { // as after snapshots
		if err := l.DeleteRange(1, uint64(to-10_240)); err != nil {
			t.Fatal(err)
		}
	}
}

// measureOpen runs this test binary again, as the process that opens dir.
func measureOpen(t *testing.T, dir string, keys int) (took time.Duration, rss int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestOpenForMeasure$")
	c.Env = append(os.Environ(), "LEGATE_MEASURE="+dir, "LEGATE_MEASURE_KEYS="+strconv.Itoa(keys))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var micros int64
	if _, err := fmt.Sscanf(string(out), "opened %d %d", &micros, &rss); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return time.Duration(micros) * time.Microsecond, rss
}

// TestOpenForMeasure is the process that TestManyKeysOpenFast measures.
func TestOpenForMeasure(t *testing.T) {
	dir := os.Getenv("LEGATE_MEASURE")
	if dir == "" {
		t.Skip("run by TestManyKeysOpenFast")
	}
	keys, err := strconv.Atoi(os.Getenv("LEGATE_MEASURE_KEYS"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l, s, release := openBoth(t, dir)
	v := s.View()
	r, err := plain.Get(v, fmt.Appendf(nil, "key/%07d", keys/2))
	took := time.Since(began)
	if err != nil || r == nil || len(r.Data) != 512 {
		t.Fatalf("the row is %v, %v", r, err)
	}
	if last, _ := l.LastIndex(); last != uint64(keys) {
		t.Fatalf("the log ends at %d", last)
	}
	for i := 0; i < keys; i += keys / 1000 { // so that memory is not that of an idle process
		if _, err := plain.Get(v, fmt.Appendf(nil, "key/%07d", i)); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("opened %d %d\n", took.Microseconds(), residentMiB(t))
	if err := errors.Join(v.Close(), s.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	release()
}

func residentMiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	var size, resident int
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize() >> 20
}

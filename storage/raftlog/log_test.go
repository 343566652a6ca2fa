package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage/engine"
)

func openTestLog(t testing.TB, fs vfs.FS, cache int64) *Log {
	t.Helper()
	l, err := openCaching(engine.Options{Dir: "log", FS: fs}, cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func entries(from, to uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{
			Index: i, Term: 7, Type: raft.LogConfiguration, Data: fmt.Append(nil, "data", i),
			Extensions: fmt.Append(nil, "ext", i), AppendedAt: time.Unix(12, 34),
		})
	}
	return logs
}

// What Raft requires of an empty store, to the letter.
func TestEmptyLog(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), 0)
	if first, last := l.bounds(); first != 0 || last != 0 {
		t.Errorf("bounds %d, %d", first, last)
	}
	if err := l.GetLog(1, &raft.Log{}); err != raft.ErrLogNotFound {
		t.Errorf("GetLog: %v", err)
	}
	if _, err := l.Get([]byte("k")); err == nil || err.Error() != "not found" {
		t.Errorf("Get: %v", err)
	}
	if _, err := l.GetUint64([]byte("k")); err == nil || err.Error() != "not found" {
		t.Errorf("GetUint64: %v", err)
	}
	if err := l.DeleteRange(1, 10); err != nil {
		t.Errorf("DeleteRange: %v", err)
	}
	if err := l.Set([]byte("CurrentTerm"), []byte("12345678")); err != nil {
		t.Error(err)
	}
	if v, err := l.GetUint64([]byte("CurrentTerm")); err != nil || v != 0x3132333435363738 {
		t.Errorf("got %x, %v", v, err)
	}
}

// Entries come back whole, from memory and from disk, over cuts and restarts.
func TestLogKeepsEntries(t *testing.T) {
	for name, cache := range map[string]int64{"cached": 0, "hardly cached": 1000} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			l, err := openCaching(engine.Options{Dir: "log", FS: mem}, cache)
			if err != nil {
				t.Fatal(err)
			}
			must := func(errs ...error) {
				t.Helper()
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
			}
			verify := func(from, to uint64) {
				t.Helper()
				if first, last := l.bounds(); first != from || last != to {
					t.Fatalf("bounds %d to %d, want %d to %d", first, last, from, to)
				}
				for _, want := range entries(from, to) {
					var got raft.Log
					must(l.GetLog(want.Index, &got))
					if got.Term != want.Term || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) ||
						!bytes.Equal(got.Extensions, want.Extensions) || !got.AppendedAt.Equal(want.AppendedAt) {
						t.Fatalf("got %+v, want %+v", got, want)
					}
				}
				for _, i := range []uint64{0, from - 1, to + 1} {
					if err := l.GetLog(i, &raft.Log{}); err != raft.ErrLogNotFound {
						t.Fatalf("entry %d: %v", i, err)
					}
				}
			}
			must(l.StoreLogs(entries(5, 60)))
			verify(5, 60)
			must(l.DeleteRange(1, 20))
			verify(21, 60)
			must(l.DeleteRange(50, 60), l.StoreLogs(entries(50, 55)))
			verify(21, 55)
			if err := l.StoreLogs(entries(57, 58)); !errors.Is(err, ErrGap) {
				t.Errorf("a gap: %v", err)
			}
			if err := l.StoreLogs(entries(55, 58)); !errors.Is(err, ErrGap) {
				t.Errorf("an overlap: %v", err)
			}
			if err := l.DeleteRange(30, 40); !errors.Is(err, ErrGap) {
				t.Errorf("a hole: %v", err)
			}
			must(l.Close())
			l = openTestLog(t, mem, cache)
			verify(21, 55)
			must(l.DeleteRange(21, 55))
			if first, last := l.bounds(); first != 0 || last != 0 {
				t.Errorf("bounds %d, %d after all was removed", first, last)
			}
			must(l.StoreLogs(entries(1000, 1010)))
			verify(1000, 1010)
		})
	}
}

func TestTailCacheIsBounded(t *testing.T) {
	const limit = 10_000
	l := openTestLog(t, vfs.NewMem(), limit)
	for i := uint64(1); i < 2000; i += 10 {
		if err := l.StoreLogs(entries(i, i+9)); err != nil {
			t.Fatal(err)
		}
		if l.tail.bytes > limit {
			t.Fatalf("%d bytes in a cache of %d", l.tail.bytes, limit)
		}
		var sum int64
		for j := range l.tail.entries {
			sum += l.tail.cost(&l.tail.entries[j])
		}
		if sum != l.tail.bytes || len(l.tail.entries) == 0 {
			t.Fatalf("%d entries of %d bytes count as %d", len(l.tail.entries), sum, l.tail.bytes)
		}
	}
	if n := cap(l.tail.entries); n > 1000 {
		t.Errorf("room for %d entries", n)
	}
}

package state

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// fill writes n keys below "tree/" of 100 bytes each, many with each commit.
func fill(t *testing.T, s *storage.State, n int) {
	t.Helper()
	value := make([]byte, 100)
	for i := 0; i < n; {
		tx := s.Begin()
		for range min(4096, n-i) {
			tx.Next()
			r := &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: fmt.Sprintf("tree/%07d", i), Value: value}}
			if _, err := kv.ApplyEntry(tx, r); err != nil {
				t.Fatal(err)
			}
			i++
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// Deleting a large tree holds up every command behind it. With LEGATE_LONG set it
// is 500,000 keys, and must be over in a second and a half; the short form shows
// that nothing is left.
func TestDeletingALargeTreeIsBounded(t *testing.T) {
	keys, limit := 20_000, time.Minute
	if os.Getenv("LEGATE_LONG") != "" {
		keys, limit = 500_000, 1500*time.Millisecond
	}
	s, err := storage.OpenState(storage.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, keys)
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	start := time.Now()
	if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: "tree/"}}); err != nil {
		t.Fatal(err)
	}
	applied := time.Since(start)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("%d keys deleted in %v, of which applying took %v", keys, took, applied)
	if took > limit {
		t.Errorf("it took more than %v", limit)
	}
	v := s.View()
	defer v.Close()
	list, err := kv.List.Query(v, &kv.ListRequest{Prefix: "tree/"})
	if err != nil || len(*list) != 0 || v.Index() != uint64(keys)+1 {
		t.Errorf("%d are left, index %d, %v", len(*list), v.Index(), err)
	}
}

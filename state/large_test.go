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

// A large tree is deleted at once, in the time that a few keys take. With LEGATE_LONG set it
// is 500,000 keys.
func TestDeletingALargeTreeIsBounded(t *testing.T) {
	keys := 20_000
	if os.Getenv("LEGATE_LONG") != "" {
		keys = 500_000
	}
	s, err := storage.OpenState(storage.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, keys)
	tree := func(prefix string, now int64) (took time.Duration) {
		t.Helper()
		start := time.Now()
		tx := s.Begin()
		defer tx.Discard()
		tx.Next()
		if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: prefix}, Now: now}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	few := tree("tree/00000", 1) // 100 keys, one by one
	took := tree("tree/", 1)
	t.Logf("%d keys deleted in %v, 100 in %v", keys, took, few)
	if limit := 20*few + 100*time.Millisecond; took > limit {
		t.Errorf("it took more than %v", limit)
	}
	v := s.View()
	defer v.Close()
	list, err := kv.List.Query(v, &kv.ListRequest{Prefix: "tree/"})
	if err != nil || len(*list) != 0 || v.Index() != uint64(keys)+2 {
		t.Errorf("%d are left, index %d, %v", len(*list), v.Index(), err)
	}
}

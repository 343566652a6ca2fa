package storage

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/layout"
	"github.com/legate-project/legate/storage/raftlog"
)

// Memtables take their memory out of the cache: what is left must be enough to
// keep the blocks that are read again and again.
func TestBlocksStayInTheCache(t *testing.T) {
	cache := pebble.NewCache(DefaultMemory)
	defer cache.Unref()
	state, err := OpenState(Options{Dir: t.TempDir(), Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	log, err := raftlog.Open(Options{Dir: t.TempDir(), Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	const rows = 20_000
	key := func(i int) []byte { return fmt.Appendf(nil, "k%08x", uint32(i)*2654435761) }
	for from := 0; from < rows; from += 1000 {
		tx := state.Begin()
		for i := range 1000 {
			tx.Next()
			if err := tx.set(string(key(from+i)), append(layout.NewRow(1, layout.FlagLive, 0), make([]byte, 100)...)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	db := state.current.Load().DB
	// Memtables grow with use: this is what they take when they are grown.
	defer cache.Reserve(2 * engine.MemTable)()
	for range 2 {
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
			t.Fatal(err)
		}
	}
	read := func() {
		for i := range rows {
			if _, closer, err := db.Get(key(i)); err != nil {
				t.Fatal(err)
			} else if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
	before := db.Metrics().BlockCache.Misses
	read()
	if missed := db.Metrics().BlockCache.Misses - before; missed > rows/100 {
		t.Errorf("%d of %d reads of what was just read went to the disk", missed, rows)
	}
}

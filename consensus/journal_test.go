package consensus

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// While a state is on its way, and for a while after, the entries that its
// receiver needs next are kept.
func TestLogWaitsForAStateThatIsSent(t *testing.T) {
	log, err := raftlog.Open(storage.Options{Dir: "log", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var entries []*raft.Log
	for i := range 100 {
		entries = append(entries, &raft.Log{Index: uint64(i + 1), Term: 1})
	}
	j := newJournal(log, nil)
	if err := j.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	cut := func(high, first uint64) {
		t.Helper()
		if err := j.DeleteRange(1, high); err != nil {
			t.Fatal(err)
		}
		if got, _ := j.FirstIndex(); got != first {
			t.Fatalf("the log begins at %d, want %d", got, first)
		}
	}
	unpin := j.pin(40)
	cut(20, 21)
	cut(60, 41)
	unpin()
	cut(70, 41)
	for p := range j.pins {
		p.until = time.Now().Add(-time.Second)
	}
	cut(70, 71)
	if len(j.pins) != 0 {
		t.Errorf("%d pins remain", len(j.pins))
	}
}

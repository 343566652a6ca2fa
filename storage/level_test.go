package storage

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/internal/version"
)

// What a command of a level that this build does not know wrote is not opened, also when
// later commands had lower ones.
func TestAStateOfANewerBuildIsNotOpened(t *testing.T) {
	mem := vfs.NewMem()
	s := openState(t, mem)
	reach := func(level uint16) {
		t.Helper()
		tx := s.Begin()
		defer tx.Discard()
		tx.Next()
		tx.Reach(level)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if s.Level() != 0 {
		t.Errorf("a new state has level %d", s.Level())
	}
	reach(version.Level)
	reach(1)
	closed(t, s)
	s = openState(t, mem)
	if s.Level() != version.Level {
		t.Errorf("it has level %d", s.Level())
	}
	dir := s.Scratch("test")
	p, err := s.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Replace(dir, p); err != nil || s.Level() != version.Level {
		t.Errorf("a state that was received has level %d (%v)", s.Level(), err)
	}
	reach(version.Level + 1)
	closed(t, s)
	if s, err := OpenState(Options{Dir: "state", FS: mem}); !errors.Is(err, ErrNewer) {
		t.Errorf("opened: %v, %v", s, err)
	}
}

// A level that is damaged is no level: the state is not opened, and says what is wrong.
func TestAStateWithADamagedLevelIsNotOpened(t *testing.T) {
	for _, row := range [][]byte{{}, {2}, {0, 0, 2}} {
		mem := vfs.NewMem()
		s := openState(t, mem)
		if err := s.current.Load().DB.Set(levelKey(), row, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		closed(t, s)
		if s, err := OpenState(Options{Dir: "state", FS: mem}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "feature level") {
			t.Errorf("opened with a level of %d bytes: %v, %v", len(row), s, err)
		}
	}
}

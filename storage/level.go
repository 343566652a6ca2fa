package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/storage/layout"
)

// ErrNewer says that a state holds what this build does not know, so that it would answer
// wrongly and write otherwise than the other servers.
var ErrNewer = errors.New("storage: a newer version wrote the state")

// levelKey holds the highest feature level of the commands that were applied. It goes with
// the state to followers, who might see none of these commands. States of builds without
// levels have none.
func levelKey() []byte { return []byte{layout.SpaceMeta, 'l'} }

// Reach says that a command of this feature level is applied.
func (tx *Txn) Reach(level uint16) { tx.level = max(tx.level, level) }

// Reached is the highest feature level of the commands that were applied, this one
// included: the same on every server, as it follows from the log. From a level on, all
// servers that apply the command know that level.
func (tx *Txn) Reached() uint16 { return max(tx.level, uint16(tx.in.level.Load())) }

// Level is the highest feature level of the commands that were applied, as of the last
// commit.
func (s *State) Level() uint16 {
	if in := s.current.Load(); in != nil {
		return uint16(in.level.Load())
	}
	return 0
}

// raise adds the level to the batch where it is a new one.
func (tx *Txn) raise(b *pebble.Batch) error {
	if tx.adopted {
		tx.Reach(tx.s.Level())
	}
	if uint32(tx.level) <= tx.in.level.Load() {
		return nil
	}
	tx.in.level.Store(uint32(tx.level))
	return b.Set(levelKey(), binary.BigEndian.AppendUint16(nil, tx.level), nil)
}

// readLevel reads the level of an instance: ErrNewer for one that this build does not know.
func readLevel(db *pebble.DB) (level uint16, err error) {
	row, closer, err := db.Get(levelKey())
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the feature level: %w", err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if len(row) != 2 {
		return 0, fmt.Errorf("the feature level has %d bytes: %w", len(row), ErrCorrupt)
	}
	if level = binary.BigEndian.Uint16(row); level > version.Level {
		return level, fmt.Errorf("%w: it has feature level %d, and legate %s knows levels up to %d: start the version of the other servers here", ErrNewer, level, version.Release(), version.Level)
	}
	return level, nil
}

// Package layout is how keys and rows of a state are made of bytes. Numbers and letters in
// it are on every disk: they are only ever added.
package layout

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/legate-project/legate/storage/engine/damage"
)

// The key space of the state, by first byte.
const (
	SpaceIndex     = 'i' // i, table, index, index key, primary key, length of the primary key (2 bytes)
	SpaceDerived   = 'd' // d, and what follows i: see storage.NewDerivedIndex
	SpaceMeta      = 'm' // m, name
	SpaceRow       = 'r' // r, table, primary key
	SpaceTombstone = 't' // t, modify index (8 bytes), key of the row that is a tombstone
)

// A row is the index that wrote it (8 bytes, big endian), a flag, and the
// record in MessagePack; nothing after the flag in tombstones and index rows.
const (
	RowHeader     = 9
	FlagLive      = 0
	FlagTombstone = 1
)

// IndexHeader is what precedes an index key: space, table and index.
const IndexHeader = 3

// MaxPrimaryKey bounds a primary key: its length takes two bytes in an index row.
const MaxPrimaryKey = 1<<16 - 1

// ErrKeyTooLong is returned by Put for a primary key of more than 65,535 bytes;
// nothing was written. It depends on the key alone, so all servers agree.
var ErrKeyTooLong = errors.New("storage: the key is too long")

func NewRow(index uint64, flag byte, bodySize int) []byte {
	row := make([]byte, RowHeader, RowHeader+bodySize)
	binary.BigEndian.PutUint64(row, index)
	row[8] = flag
	return row
}

// SplitRow takes a row apart; body aliases row.
func SplitRow(row []byte) (index uint64, live bool, body []byte, err error) {
	if len(row) < RowHeader || row[8] > FlagTombstone {
		return 0, false, nil, fmt.Errorf("a row of %d bytes has no valid header: %w", len(row), damage.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(row), row[8] == FlagLive, row[RowHeader:], nil
}

func AppendRowKey(buf []byte, table byte, key []byte) []byte {
	return append(append(buf, SpaceRow, table), key...)
}

// PrimaryOf returns the primary key that an index row points to; it aliases key.
func PrimaryOf(key []byte) ([]byte, error) {
	if len(key) >= IndexHeader+2 {
		end := len(key) - 2
		n := int(binary.BigEndian.Uint16(key[end:]))
		if n <= end-IndexHeader {
			return key[end-n : end], nil
		}
	}
	return nil, fmt.Errorf("the key of an index row %x: %w", key, damage.ErrCorrupt)
}

func TombstoneKey(index uint64, key string) string {
	buf := make([]byte, 0, 9+len(key))
	buf = binary.BigEndian.AppendUint64(append(buf, SpaceTombstone), index)
	return string(append(buf, key...))
}

package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The key space of the state, by first byte.
const (
	// g, see spaceCut
	spaceIndex     = 'i' // i, table, index, index key, primary key, length of the primary key (2 bytes)
	spaceDerived   = 'd' // d, and what follows i: see NewDerivedIndex
	spaceMeta      = 'm' // m, name
	spaceRow       = 'r' // r, table, primary key
	spaceTombstone = 't' // t, modify index (8 bytes), key of the row that is a tombstone
)

// A row is the index that wrote it (8 bytes, big endian), a flag, and the
// record in MessagePack; nothing after the flag in tombstones and index rows.
const (
	rowHeader     = 9
	flagLive      = 0
	flagTombstone = 1
)

// indexHeader is what precedes an index key: space, table and index.
const indexHeader = 3

// maxPrimaryKey bounds a primary key: its length takes two bytes in an index row.
const maxPrimaryKey = 1<<16 - 1

// ErrKeyTooLong is returned by Put for a primary key of more than 65,535 bytes;
// nothing was written. It depends on the key alone, so all servers agree.
var ErrKeyTooLong = errors.New("storage: the key is too long")

func newRow(index uint64, flag byte, bodySize int) []byte {
	row := make([]byte, rowHeader, rowHeader+bodySize)
	binary.BigEndian.PutUint64(row, index)
	row[8] = flag
	return row
}

// splitRow takes a row apart; body aliases row.
func splitRow(row []byte) (index uint64, live bool, body []byte, err error) {
	if len(row) < rowHeader || row[8] > flagTombstone {
		return 0, false, nil, fmt.Errorf("a row of %d bytes has no valid header: %w", len(row), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(row), row[8] == flagLive, row[rowHeader:], nil
}

func appendRowKey(buf []byte, table byte, key []byte) []byte {
	return append(append(buf, spaceRow, table), key...)
}

// rowKey keeps rows apart whose index keys or primary keys run into each
// other: the length at the end says where the primary key begins.
func (ix *Index[T, P]) rowKey(indexKey, primary []byte) []byte {
	key := make([]byte, 0, indexHeader+len(indexKey)+len(primary)+2)
	key = append(ix.appendPrefix(key, indexKey), primary...)
	return binary.BigEndian.AppendUint16(key, uint16(len(primary)))
}

func (ix *Index[T, P]) appendPrefix(buf, prefix []byte) []byte {
	return append(append(buf, ix.space, ix.table.id, ix.id), prefix...)
}

// primaryOf returns the primary key that an index row points to; it aliases key.
func primaryOf(key []byte) ([]byte, error) {
	if len(key) >= indexHeader+2 {
		end := len(key) - 2
		n := int(binary.BigEndian.Uint16(key[end:]))
		if n <= end-indexHeader {
			return key[end-n : end], nil
		}
	}
	return nil, fmt.Errorf("the key of an index row %x: %w", key, ErrCorrupt)
}

func tombstoneKey(index uint64, key string) string {
	buf := make([]byte, 0, 9+len(key))
	buf = binary.BigEndian.AppendUint64(append(buf, spaceTombstone), index)
	return string(append(buf, key...))
}

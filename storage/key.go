package storage

import (
	"encoding/binary"

	"github.com/legate-project/legate/storage/layout"
)

// ErrKeyTooLong is returned by Put for a primary key of more than 65,535 bytes;
// nothing was written. It depends on the key alone, so all servers agree.
var ErrKeyTooLong = layout.ErrKeyTooLong

// Key joins parts into one key: see layout.Key.
func Key(parts ...string) []byte { return layout.Key(parts...) }

// SplitKey returns the parts of a Key, or ErrCorrupt.
func SplitKey(key []byte) ([]string, error) { return layout.SplitKey(key) }

// rowKey keeps rows apart whose index keys or primary keys run into each
// other: the length at the end says where the primary key begins.
func (ix *Index[T, P]) rowKey(indexKey, primary []byte) []byte {
	key := make([]byte, 0, layout.IndexHeader+len(indexKey)+len(primary)+2)
	key = append(ix.appendPrefix(key, indexKey), primary...)
	return binary.BigEndian.AppendUint16(key, uint16(len(primary)))
}

func (ix *Index[T, P]) appendPrefix(buf, prefix []byte) []byte {
	return append(append(buf, ix.space, ix.table.id, ix.id), prefix...)
}

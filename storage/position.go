package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/storage/layout"
)

// Position is a place in the Raft log.
type Position struct {
	Index              uint64 // of the entry
	Term               uint64 // of the entry
	Configuration      []byte // the newest configuration at Index, as Raft encodes it; nil for none
	ConfigurationIndex uint64 // of the entry with that configuration
}

// meta is what is written with each batch.
type meta struct {
	position Position
	index    uint64 // the datacenter's: of the last command
	staging  bool   // another instance has rows that are staged
}

// metaVersion is the format of the whole instance, not only of this row. Versions before
// 0.2.0 refuse metaVersionStaging: they would not find what is staged.
const (
	metaVersion        = 1
	metaVersionStaging = 2
)

const metaHeader = 1 + 4*8

func metaKey() []byte { return []byte{layout.SpaceMeta, 'p'} }
func markKey() []byte { return []byte{layout.SpaceMeta, 's'} }

func (m *meta) encode() []byte {
	buf := make([]byte, 0, metaHeader+len(m.position.Configuration))
	version := byte(metaVersion)
	if m.staging {
		version = metaVersionStaging
	}
	buf = append(buf, version)
	buf = binary.BigEndian.AppendUint64(buf, m.position.Index)
	buf = binary.BigEndian.AppendUint64(buf, m.position.Term)
	buf = binary.BigEndian.AppendUint64(buf, m.position.ConfigurationIndex)
	buf = binary.BigEndian.AppendUint64(buf, m.index)
	return append(buf, m.position.Configuration...)
}

func decodeMeta(buf []byte) (meta, error) {
	if len(buf) < metaHeader || buf[0] != metaVersion && buf[0] != metaVersionStaging {
		return meta{}, fmt.Errorf("the position has %d bytes of an unknown version: %w", len(buf), ErrCorrupt)
	}
	return meta{
		position: Position{
			Index:              binary.BigEndian.Uint64(buf[1:]),
			Term:               binary.BigEndian.Uint64(buf[9:]),
			ConfigurationIndex: binary.BigEndian.Uint64(buf[17:]),
			Configuration:      slices.Clone(buf[metaHeader:]),
		},
		index:   binary.BigEndian.Uint64(buf[25:]),
		staging: buf[0] == metaVersionStaging,
	}, nil
}

// readMeta reads the row under key; the zero meta when there is none.
func readMeta(db *pebble.DB, key []byte) (m meta, err error) {
	row, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, fmt.Errorf("read the position: %w", err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	return decodeMeta(row)
}

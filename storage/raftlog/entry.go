package raftlog

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage/engine"
)

// An entry of the log is its term (8 bytes), type (1), time of appending (8
// bytes, nanoseconds since 1970, 0 for none), the length of its extensions (4),
// the extensions, the data.
const entryHeader = 8 + 1 + 8 + 4

func entrySize(e *raft.Log) int { return entryHeader + len(e.Extensions) + len(e.Data) }

// encodeEntry fills buf, which has entrySize(e) bytes.
func encodeEntry(buf []byte, e *raft.Log) {
	binary.BigEndian.PutUint64(buf, e.Term)
	buf[8] = byte(e.Type)
	var appended uint64
	if !e.AppendedAt.IsZero() {
		appended = uint64(e.AppendedAt.UnixNano())
	}
	binary.BigEndian.PutUint64(buf[9:], appended)
	binary.BigEndian.PutUint32(buf[17:], uint32(len(e.Extensions)))
	n := copy(buf[entryHeader:], e.Extensions)
	copy(buf[entryHeader+n:], e.Data)
}

// decodeEntry copies what it needs out of buf.
func decodeEntry(index uint64, buf []byte, out *raft.Log) error {
	if len(buf) < entryHeader || uint64(binary.BigEndian.Uint32(buf[17:])) > uint64(len(buf)-entryHeader) {
		return fmt.Errorf("entry %d of the log has %d bytes: %w", index, len(buf), engine.ErrCorrupt)
	}
	*out = raft.Log{Index: index, Term: binary.BigEndian.Uint64(buf), Type: raft.LogType(buf[8])}
	if at := binary.BigEndian.Uint64(buf[9:]); at != 0 {
		out.AppendedAt = time.Unix(0, int64(at))
	}
	body := slices.Clone(buf[entryHeader:])
	n := int(binary.BigEndian.Uint32(buf[17:]))
	if n > 0 {
		out.Extensions = body[:n:n]
	}
	out.Data = body[n:]
	return nil
}

// tail keeps the newest entries decoded, without gaps, up to a number of
// bytes. Replication and apply read them again right after the append.
type tail struct {
	limit   int64
	bytes   int64
	entries []raft.Log
}

// entryOverhead is what an entry costs in memory besides its bytes.
const entryOverhead = 112

func (t *tail) cost(e *raft.Log) int64 {
	return entryOverhead + int64(len(e.Data)) + int64(len(e.Extensions))
}

func (t *tail) get(index uint64, out *raft.Log) bool {
	if len(t.entries) == 0 || index < t.entries[0].Index {
		return false
	}
	i := index - t.entries[0].Index
	if i >= uint64(len(t.entries)) {
		return false
	}
	*out = t.entries[i]
	return true
}

func (t *tail) append(entries []*raft.Log) {
	if n := len(t.entries); n > 0 && t.entries[n-1].Index+1 != entries[0].Index {
		t.clear()
	}
	for _, e := range entries {
		t.entries = append(t.entries, *e)
		t.bytes += t.cost(e)
	}
	drop := 0
	for t.bytes > t.limit && drop < len(t.entries) {
		t.bytes -= t.cost(&t.entries[drop])
		drop++
	}
	t.cut(drop)
}

// cut forgets the oldest n entries. The array behind them shrinks when append
// next outgrows it; until then the forgotten ones hold no data.
func (t *tail) cut(n int) {
	clear(t.entries[:n])
	t.entries = t.entries[n:]
}

// remove forgets what lies between low and high, an end of the log.
func (t *tail) remove(low, high uint64) {
	for len(t.entries) > 0 && t.entries[0].Index >= low && t.entries[0].Index <= high {
		t.bytes -= t.cost(&t.entries[0])
		t.cut(1)
	}
	for n := len(t.entries); n > 0 && t.entries[n-1].Index >= low && t.entries[n-1].Index <= high; n-- {
		t.bytes -= t.cost(&t.entries[n-1])
		t.entries[n-1] = raft.Log{}
		t.entries = t.entries[:n-1]
	}
}

func (t *tail) clear() {
	t.entries, t.bytes = nil, 0
}

package archive

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/legate-project/legate/state/archive/pack"
)

// The header of state.bin is a map of the index, which Consul's header has too,
// and Meta in JSON. Behind it comes each row as the byte rowType, which is a type
// of no record of Consul's, and an array of key and value.
const (
	headerIndex = "\x82\xa9LastIndex\xcf" // and 8 bytes, big endian
	headerMeta  = "\xa6Legate"            // and text
	rowType     = 'L'
	rowHeader   = 0x92 // an array of two
)

// writeBuffer gathers rows on their way to the compressor, in bytes.
const writeBuffer = 64 << 10

// Write writes an archive. It goes through rows twice, to count and to write:
// both times they must be the same, in order of their keys. The counts in meta
// are filled in. It returns what was described.
func Write(w io.Writer, meta Meta, rows iter.Seq2[Row, error]) (Meta, error) {
	if err := meta.count(rows); err != nil {
		return meta, fmt.Errorf("count the records: %w", err)
	}
	head, err := meta.header()
	if err != nil {
		return meta, fmt.Errorf("describe a snapshot: %w", err)
	}
	outer := pack.Meta{Index: meta.RaftIndex, Term: meta.Term, Configuration: pack.Configuration{Servers: meta.Servers},
		ConfigurationIndex: meta.ConfigurationIndex, Size: int64(len(head)) + int64(meta.Bytes)}
	outer.Describe(meta.Time)
	err = pack.Write(w, outer, meta.Time, func(w io.Writer) error { return writeRows(w, head, rows) })
	if err != nil {
		return meta, fmt.Errorf("write a snapshot: %w", err)
	}
	return meta, nil
}

// header is what state.bin begins with.
func (m *Meta) header() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	head := binary.BigEndian.AppendUint64([]byte(headerIndex), m.Index)
	return appendRaw(append(head, headerMeta...), text), nil
}

func writeRows(w io.Writer, head []byte, rows iter.Seq2[Row, error]) error {
	buf := bufio.NewWriterSize(w, writeBuffer)
	if _, err := buf.Write(head); err != nil {
		return err
	}
	var frame []byte
	for r, err := range rows {
		if err != nil {
			return err
		}
		frame = appendRaw(appendRaw(append(frame[:0], rowType, rowHeader), r.Key), r.Value)
		if _, err := buf.Write(frame); err != nil {
			return err
		}
	}
	return buf.Flush()
}

// appendRaw appends bytes as MessagePack had them before it told text and bytes
// apart: the form that every decoder takes, those of Consul's tools among them.
func appendRaw(b, raw []byte) []byte {
	switch n := len(raw); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, raw...)
}

// count fills in what there is.
func (m *Meta) count(rows iter.Seq2[Row, error]) error {
	m.Format, m.Rows, m.Bytes = Format, 0, 0
	var tally tally
	for r, err := range rows {
		if err != nil {
			return err
		}
		if err := r.check(); err != nil {
			return err
		}
		tally.add(r)
		m.Bytes += uint64(frameSize(r))
		m.Rows++
	}
	m.Tables = tally.tables()
	return nil
}

// tally counts rows by table.
type tally struct{ records, indexes [256]Table }

func (t *tally) add(r Row) {
	kind := &t.indexes
	if r.Record() {
		kind = &t.records
	}
	table := &kind[r.Key[1]]
	table.Rows++
	table.Bytes += uint64(len(r.Key) + len(r.Value))
}

func (t *tally) tables() []Table {
	out := []Table{}
	for i, kind := range []*[256]Table{&t.records, &t.indexes} {
		for id, table := range kind {
			if table.Rows > 0 {
				table.ID, table.Name, table.Indexes = id, TableName(id), i == 1
				out = append(out, table)
			}
		}
	}
	return out
}

// frameSize is how many bytes a row takes among the records.
func frameSize(r Row) int { return 2 + rawSize(len(r.Key)) + rawSize(len(r.Value)) }

func rawSize(n int) int {
	switch {
	case n < 32:
		return 1 + n
	case n <= math.MaxUint16:
		return 3 + n
	}
	return 5 + n
}

// check says whether the row is one of the state.
func (r Row) check() error {
	switch {
	case len(r.Key) < keyHeader || len(r.Key) > maxKey || len(r.Value) < valueHeader || len(r.Value) > maxValue:
		return fmt.Errorf("%w: a record with a key of %d and a value of %d bytes", ErrInvalid, len(r.Key), len(r.Value))
	case r.Key[0] != spaceRecord && r.Key[0] != spaceIndex:
		return fmt.Errorf("%w: a record of the unknown kind %q", ErrInvalid, r.Key[0])
	case r.Value[valueHeader-1] != 0:
		return fmt.Errorf("%w: a record with the unknown mark %d", ErrInvalid, r.Value[valueHeader-1])
	}
	return nil
}

package kv

import (
	"encoding/binary"
	"iter"

	"github.com/cespare/xxhash/v2"

	"github.com/legate-project/legate/storage"
)

// Mark is a key that is there, or a deletion that is remembered: one of Entry and Grave is
// set.
type Mark struct {
	Key   string // without the prefix
	Entry *Entry
	Grave *Grave
}

// Marks yields what is below a prefix from a key on, given without the prefix, in order of
// the keys; with deletions if they are asked for.
func Marks(r storage.Reader, prefix, from string, deleted bool) iter.Seq2[Mark, error] {
	if !deleted {
		return entryMarks(r, prefix, from)
	}
	return func(yield func(Mark, error) bool) {
		next, stop := iter.Pull2(graveMarks(r, prefix, from))
		defer stop()
		head, err, more := next()
		for m, failed := range entryMarks(r, prefix, from) {
			for more && err == nil && failed == nil && head.Key < m.Key {
				if !yield(head, nil) {
					return
				}
				head, err, more = next()
			}
			if more && err == nil && failed == nil && head.Key == m.Key { // the key is there again
				head, err, more = next()
			}
			if !yield(m, failed) || failed != nil {
				return
			}
		}
		for more {
			if !yield(head, err) || err != nil {
				return
			}
			head, err, more = next()
		}
	}
}

func entryMarks(r storage.Reader, prefix, from string) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		for e, err := range entries.ScanFrom(r, []byte(prefix), []byte(prefix+from)) {
			m := Mark{Entry: e}
			if err == nil {
				m.Key = e.Key[len(prefix):]
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

func graveMarks(r storage.Reader, prefix, from string) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		for g, err := range graves.ScanFrom(r, []byte(prefix), []byte(prefix+from)) {
			m := Mark{Grave: g}
			if err == nil {
				m.Key = g.Key[len(prefix):]
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// Origin is the datacenter that wrote or deleted the key, as Entry has it.
func (m *Mark) Origin() string {
	if m.Grave != nil {
		return m.Grave.Origin
	}
	return m.Entry.Origin
}

// Sum is a checksum: of what clients write, so that it is the same wherever the key was
// copied to, and, if times are asked for, of when they did.
func (m *Mark) Sum(times bool) uint64 {
	d := xxhash.New()
	var head [25]byte
	binary.BigEndian.PutUint64(head[:], uint64(len(m.Key)))
	at, value := int64(0), []byte(nil)
	if m.Grave != nil {
		at, head[24] = m.Grave.Time, 1
	} else {
		at, value = m.Entry.Time, m.Entry.Value
		binary.BigEndian.PutUint64(head[8:], m.Entry.Flags)
	}
	if times {
		binary.BigEndian.PutUint64(head[16:], uint64(at))
	}
	_, _ = d.Write(head[:]) // a hash takes everything
	_, _ = d.WriteString(m.Key)
	_, _ = d.Write(value)
	return d.Sum64()
}

package progress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/legate-project/legate/storage/engine"
)

// Note is what a server keeps for itself beside a Progress: where the rows of the parts
// are, and between which keys.
type Note struct {
	Instance string
	Spans    []Span // of the parts ahead and of the one before them, in order; of others nobody asks
}

// Span is the first and the last key of a part.
type Span struct {
	Part        uint64
	First, Last []byte
}

// Encode returns what DecodeNote reads.
func (n *Note) Encode() []byte {
	b := appendBytes(nil, []byte(n.Instance))
	for _, s := range n.Spans {
		b = binary.AppendUvarint(b, s.Part)
		b = appendBytes(appendBytes(b, s.First), s.Last)
	}
	return b
}

func appendBytes(b, part []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// DecodeNote reads what Encode returned.
func DecodeNote(b []byte) (n Note, err error) {
	number := func() (v uint64) {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			err = fmt.Errorf("the note of what is staged: %w", engine.ErrCorrupt)
			return 0
		}
		b = b[size:]
		return v
	}
	part := func() []byte {
		size := number()
		if err == nil && size > uint64(len(b)) {
			err = fmt.Errorf("the note of what is staged: %w", engine.ErrCorrupt)
		}
		if err != nil {
			return nil
		}
		p := bytes.Clone(b[:size])
		b = b[size:]
		return p
	}
	n.Instance = string(part())
	for len(b) > 0 && err == nil {
		n.Spans = append(n.Spans, Span{Part: number(), First: part(), Last: part()})
	}
	return n, err
}

// Add notes a part that was added to the Progress. It must have its keys between those of
// the parts before and behind it, as far as these have come.
func (n *Note) Add(p *Progress, s Span) error {
	at, known := slices.BinarySearchFunc(n.Spans, s.Part, func(e Span, part uint64) int {
		switch {
		case e.Part < part:
			return -1
		case e.Part > part:
			return 1
		}
		return 0
	})
	before := at > 0 && n.Spans[at-1].Part+1 == s.Part && bytes.Compare(n.Spans[at-1].Last, s.First) >= 0
	behind := at < len(n.Spans) && n.Spans[at].Part == s.Part+1 && bytes.Compare(n.Spans[at].First, s.Last) <= 0
	if known || before || behind {
		return fmt.Errorf("its keys are not between those of the parts beside it: %w", ErrOrder)
	}
	n.Spans = slices.Insert(n.Spans, at, s)
	n.Spans = slices.DeleteFunc(n.Spans, func(e Span) bool { return e.Part+1 < p.Parts })
	return nil
}

// Package progress counts the parts of a state that is staged, which come in any order.
package progress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/legate-project/legate/storage/engine"
)

// ErrOrder says that a part is not one that continues what is staged.
var ErrOrder = errors.New("storage: the staged rows are not those that are continued")

// MaxAhead bounds the parts that are staged before one that is missing: who sends
// several at a time has fewer on the way.
const MaxAhead = 64

// Progress of staging: parts come in any order, since several are on their way at
// a time.
type Progress struct {
	Parts uint64 // all below are staged
	Rows  uint64
	ID    []byte
	Ahead []uint64 // above Parts, in order
}

// Encode returns what Decode reads.
func (p *Progress) Encode() []byte {
	b := binary.AppendUvarint(nil, p.Parts)
	b = binary.AppendUvarint(b, p.Rows)
	b = binary.AppendUvarint(b, uint64(len(p.ID)))
	b = append(b, p.ID...)
	for _, part := range p.Ahead {
		b = binary.AppendUvarint(b, part)
	}
	return b
}

// Decode reads what Encode returned.
func Decode(b []byte) (p Progress, err error) {
	next := func() (v uint64) {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			err = fmt.Errorf("the progress of staging: %w", engine.ErrCorrupt)
			return 0
		}
		b = b[size:]
		return v
	}
	p.Parts, p.Rows = next(), next()
	idSize := next()
	if err == nil && idSize > uint64(len(b)) {
		err = fmt.Errorf("the progress of staging: %w", engine.ErrCorrupt)
	}
	if err != nil {
		return p, err
	}
	p.ID, b = bytes.Clone(b[:idSize]), b[idSize:]
	for len(b) > 0 && err == nil {
		p.Ahead = append(p.Ahead, next())
	}
	return p, err
}

// Add notes a part.
func (p *Progress) Add(part uint64) error {
	at, known := slices.BinarySearch(p.Ahead, part)
	switch {
	case part < p.Parts || known:
		return fmt.Errorf("it is staged already: %w", ErrOrder)
	case part > p.Parts+MaxAhead:
		return fmt.Errorf("the parts from %d on are missing: %w", p.Parts, ErrOrder)
	}
	p.Ahead = slices.Insert(p.Ahead, at, part)
	for len(p.Ahead) > 0 && p.Ahead[0] == p.Parts {
		p.Ahead = p.Ahead[1:]
		p.Parts++
	}
	return nil
}

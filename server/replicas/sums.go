package replicas

import (
	"iter"

	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

// Bounds of one question for checksums.
const (
	// maxRanges is how many ranges are asked for at once, maxRangeBytes how many bytes
	// they may have in a request: see op/feed.
	maxRanges     = 64
	maxRangeBytes = 32 << 10
	// maxPieces is how many pieces an answer has, about, minPieces how many one range.
	maxPieces = 1024
	minPieces = 8
	// maxBound is how many bytes of a key may stand for the beginning of a piece. Longer
	// keys belong to the piece before.
	maxBound = 256
)

// whole is the range of all keys.
func whole() replication.Range { return replication.Range{End: true} }

// before reports whether a key is below the end of the range.
func before(rg *replication.Range, key string) bool { return rg.End || key < rg.To }

// cutter cuts a range into pieces of about the same number of keys, in one pass: when
// there are too many pieces, each two become one.
type cutter struct {
	max    int
	size   uint64 // keys of a full piece
	pieces []replication.Piece
}

func (c *cutter) add(key string, sum uint64) {
	n := len(c.pieces)
	if full := c.pieces[n-1].Count >= c.size; full && len(key) <= maxBound {
		if n == c.max {
			c.halve()
			n = len(c.pieces)
		}
		if c.pieces[n-1].Count >= c.size {
			c.pieces = append(c.pieces, replication.Piece{Range: replication.Range{From: key}})
			n++
		}
	}
	last := &c.pieces[n-1]
	last.Count++
	last.Sum ^= sum
}

// halve makes one piece of each two.
func (c *cutter) halve() {
	c.size *= 2
	kept := c.pieces[:0]
	for i := 0; i < len(c.pieces); i += 2 {
		p := c.pieces[i]
		if i+1 < len(c.pieces) {
			p.Count += c.pieces[i+1].Count
			p.Sum ^= c.pieces[i+1].Sum
		}
		kept = append(kept, p)
	}
	c.pieces = kept
}

// stock is what is below a prefix, as it is compared.
type stock struct {
	v      storage.Reader
	prefix string
	newest bool                         // with deletions and times
	skip   func(*kv.Mark) (bool, error) // what does not count; nil for nothing
}

// from yields what counts from a key on.
func (s *stock) from(key string) iter.Seq2[kv.Mark, error] {
	return func(yield func(kv.Mark, error) bool) {
		for m, err := range kv.Marks(s.v, s.prefix, key, s.newest) {
			skip := false
			if err == nil && s.skip != nil {
				skip, err = s.skip(&m)
			}
			if skip {
				continue
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// cut returns the pieces of a range, at least one and max at most, which follow each other
// without gaps.
func (s *stock) cut(rg replication.Range, max int) ([]replication.Piece, error) {
	c := cutter{max: max, size: 1, pieces: []replication.Piece{{Range: replication.Range{From: rg.From}}}}
	for m, err := range s.from(rg.From) {
		if err != nil {
			return nil, err
		}
		if !before(&rg, m.Key) {
			break
		}
		c.add(m.Key, m.Sum(s.newest))
	}
	for i := range c.pieces {
		if i+1 < len(c.pieces) {
			c.pieces[i].To = c.pieces[i+1].From
		} else {
			c.pieces[i].To, c.pieces[i].End = rg.To, rg.End
		}
	}
	return c.pieces, nil
}

// measure counts and sums what is here in the ranges of pieces, in order.
func (s *stock) measure(pieces []replication.Piece) ([]replication.Piece, error) {
	own := make([]replication.Piece, len(pieces))
	for i := 0; i < len(pieces); {
		// Pieces that follow each other are read in one pass.
		end := i + 1
		for end < len(pieces) && !pieces[end-1].End && pieces[end].From == pieces[end-1].To {
			end++
		}
		at := i
		for m, err := range s.from(pieces[i].From) {
			if err != nil {
				return nil, err
			}
			for at < end && !before(&pieces[at].Range, m.Key) {
				at++
			}
			if at == end {
				break
			}
			own[at].Count++
			own[at].Sum ^= m.Sum(s.newest)
		}
		i = end
	}
	return own, nil
}

// total is the checksum of everything.
func (s *stock) total() (sum uint64, err error) {
	for m, err := range s.from("") {
		if err != nil {
			return 0, err
		}
		sum ^= m.Sum(s.newest)
	}
	return sum, nil
}

package replicas

import (
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

// cut returns the pieces of a range, at least one, which follow each other without gaps.
// Entries that skip names do not count.
func cut(v storage.Reader, prefix string, rg replication.Range, max int, skip func(*kv.Entry) bool) ([]replication.Piece, error) {
	c := cutter{max: max, size: 1, pieces: []replication.Piece{{Range: replication.Range{From: rg.From}}}}
	for e, err := range kv.From(v, prefix, rg.From) {
		if err != nil {
			return nil, err
		}
		key := e.Key[len(prefix):]
		if !before(&rg, key) {
			break
		}
		if !skip(e) {
			c.add(key, kv.Sum(e, prefix))
		}
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
func measure(v storage.Reader, prefix string, pieces []replication.Piece) ([]replication.Piece, error) {
	own := make([]replication.Piece, len(pieces))
	for i := 0; i < len(pieces); {
		// Pieces that follow each other are read in one pass.
		end := i + 1
		for end < len(pieces) && !pieces[end-1].End && pieces[end].From == pieces[end-1].To {
			end++
		}
		at := i
		for e, err := range kv.From(v, prefix, pieces[i].From) {
			if err != nil {
				return nil, err
			}
			key := e.Key[len(prefix):]
			for at < end && !before(&pieces[at].Range, key) {
				at++
			}
			if at == end {
				break
			}
			own[at].Count++
			own[at].Sum ^= kv.Sum(e, prefix)
		}
		i = end
	}
	return own, nil
}

// total is the checksum of everything below a prefix.
func total(v storage.Reader, prefix string, skip func(*kv.Entry) bool) (sum uint64, err error) {
	for e, err := range kv.From(v, prefix, "") {
		if err != nil {
			return 0, err
		}
		if !skip(e) {
			sum ^= kv.Sum(e, prefix)
		}
	}
	return sum, nil
}

func nothing(*kv.Entry) bool { return false }

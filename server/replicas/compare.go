package replicas

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

const (
	// leaf is up to how many keys a range that differs is not divided any more.
	leaf = 8
	// maxDiffering is how many ranges that differ are remembered, at most: beyond, each
	// two that follow each other become one.
	maxDiffering = 4096
	// maxRounds bounds how often ranges are divided: each time into minPieces at least.
	maxRounds = 24
)

// errAnswered ends a subscription that has said what was asked for.
var errAnswered = errors.New("answered")

// differing finds the ranges in which the source has other keys than there are here. What
// changes there after index has to be followed beside them.
func (f *follower) differing(ctx context.Context) (ranges []replication.Range, index uint64, err error) {
	open := []replication.Range{whole()}
	for round := 0; len(open) > 0; round++ {
		var next []replication.Range
		for len(open) > 0 {
			asked := take(&open)
			told, err := f.ask(ctx, asked, index)
			if err != nil {
				return nil, 0, err
			}
			if index == 0 {
				index = told.Index
			}
			if err := f.sort(told.Pieces, round < maxRounds, &next, &ranges); err != nil {
				return nil, 0, err
			}
		}
		open = next
	}
	return fitting(ranges), index, nil
}

// take removes from the list as many ranges as one question has.
func take(list *[]replication.Range) []replication.Range {
	n, size := 0, 0
	for n < len(*list) && n < maxRanges {
		if size += rangeBytes(&(*list)[n]); size > maxRangeBytes && n > 0 {
			break
		}
		n++
	}
	taken := (*list)[:n]
	*list = (*list)[n:]
	return taken
}

func rangeBytes(rg *replication.Range) int { return len(rg.From) + len(rg.To) + 16 }

// ask asks the source for checksums of ranges, as of an index at least: another server may
// answer than the time before, and what it is behind by would not be told of later.
func (f *follower) ask(ctx context.Context, ranges []replication.Range, index uint64) (told *replication.Told, err error) {
	err = f.subscribe(ctx, &replication.FollowRequest{Prefix: f.rule.Prefix, Target: f.rule.Target, Newest: f.newest(), Sums: true, Ranges: ranges, Index: index}, func(t *replication.Told) error {
		told = t
		return errAnswered
	})
	switch {
	case !errors.Is(err, errAnswered):
		return nil, fmt.Errorf("ask for checksums: %w", err)
	case told.Forgotten: // it has lost what it answered with before
		return nil, errCompare
	case len(told.Pieces) < len(ranges) || len(told.Pieces) > 2*maxPieces:
		return nil, op.Errorf(op.CodeInternal, "datacenter %s answered with %d checksums for %d ranges", f.rule.Datacenter, len(told.Pieces), len(ranges))
	}
	return told, nil
}

// sort puts pieces that differ where they are divided again, or among those that are
// wanted.
func (f *follower) sort(pieces []replication.Piece, again bool, next, wanted *[]replication.Range) error {
	var own []replication.Piece
	err := f.r.look(func(v *storage.View) (err error) {
		own, err = f.stock(v).measure(pieces)
		return err
	})
	if err != nil {
		return err
	}
	for i := range pieces {
		p, here := &pieces[i], &own[i]
		switch {
		case p.Count == here.Count && p.Sum == here.Sum:
		case !again || p.Count <= leaf || here.Count == 0:
			*wanted = append(*wanted, p.Range)
			if len(*wanted) > maxDiffering {
				*wanted = coarser(*wanted)
			}
		default:
			*next = append(*next, p.Range)
			if len(*next) > maxDiffering {
				*next = coarser(*next)
			}
		}
	}
	return nil
}

// coarser makes one range of each two, with what is between them.
func coarser(ranges []replication.Range) []replication.Range {
	kept := ranges[:0]
	for i := 0; i < len(ranges); i += 2 {
		rg := ranges[i]
		if i+1 < len(ranges) {
			rg.To, rg.End = ranges[i+1].To, ranges[i+1].End
		}
		kept = append(kept, rg)
	}
	return kept
}

// fitting returns the ranges as one request has them: those that touch are one, and if
// there are too many, they have what is between them, too.
func fitting(ranges []replication.Range) []replication.Range {
	ranges = merged(ranges)
	for {
		size := 0
		for i := range ranges {
			size += rangeBytes(&ranges[i])
		}
		if size <= maxRangeBytes {
			return ranges
		}
		ranges = coarser(ranges)
	}
}

// merged makes one range of those that touch each other.
func merged(ranges []replication.Range) []replication.Range {
	slices.SortFunc(ranges, func(a, b replication.Range) int { return strings.Compare(a.From, b.From) })
	kept := ranges[:0]
	for _, rg := range ranges {
		if n := len(kept); n > 0 && (kept[n-1].End || kept[n-1].To >= rg.From) {
			if !kept[n-1].End && (rg.End || rg.To > kept[n-1].To) {
				kept[n-1].To, kept[n-1].End = rg.To, rg.End
			}
			continue
		}
		kept = append(kept, rg)
	}
	return kept
}

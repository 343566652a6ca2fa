package kv

import (
	"bytes"
	"iter"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o copy_gen.go -file copy.go
//msgp:limit arrays:65536 maps:64

// CopyRequest writes what came from another datacenter for a rule of replication.
type CopyRequest struct {
	// Target and Rule name the rule: Rule is its CreateIndex.
	Target string `msg:"t"`
	Rule   uint64 `msg:"r"`
	// Items are keys without the rule's prefix.
	Items []replication.Item `msg:"i,omitempty"`
	// Index of the other datacenter up to which everything is here now; 0 says nothing of
	// it.
	Index uint64 `msg:"ix,omitempty"`
	// Begun says that the rule copies from now on.
	Begun bool `msg:"b,omitempty"`
	// Here is the name of this datacenter, for rules of mode newest.
	Here string `msg:"h,omitempty"`
}

// CopyResult counts what was done.
type CopyResult struct {
	Written uint64 `msg:"w,omitempty"`
	Deleted uint64 `msg:"x,omitempty"`
}

// Copy writes what came from another datacenter. It is refused where the rule has gone or
// is paused.
var Copy = op.Internal[CopyRequest, CopyResult]{Name: "kv.copy"}

// ApplyCopy carries out Copy. Sessions and locks are not copied: a lock of a key that is
// copied over is let go.
func ApplyCopy(tx *storage.Txn, r *CopyRequest) (*CopyResult, error) {
	rule, err := replication.Find(tx, r.Target)
	switch {
	case err != nil:
		return nil, err
	case rule == nil || rule.CreateIndex != r.Rule:
		return nil, replication.NoRule(r.Target)
	case rule.Paused:
		return nil, op.Errorf(op.CodeConflict, "the rule that copies keys to %q is paused", r.Target)
	}
	res := &CopyResult{}
	for i := range r.Items {
		it, err := &r.Items[i], error(nil)
		if rule.Mode == replication.Newest {
			err = copyNewest(tx, rule, r.Here, it, res)
		} else {
			err = copyItem(tx, rule.Target, it, res)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.Index > 0 || r.Begun {
		return res, replication.Advance(tx, rule.Target, &replication.Progress{Rule: rule.CreateIndex, Index: r.Index, Begun: true})
	}
	return res, nil
}

func copyItem(tx *storage.Txn, target string, it *replication.Item, res *CopyResult) error {
	key := []byte(target + it.Key)
	if it.Gone {
		gone, err := entries.Delete(tx, key)
		if gone {
			res.Deleted++
		}
		return err
	}
	old, err := entries.Get(tx, key)
	if err != nil || old != nil && Same(old, it) {
		return err
	}
	row := renewed(tx, old, &Entry{Key: string(key), Flags: it.Flags, Value: it.Value})
	row.Session, row.Origin, row.OriginIndex, row.Time = "", it.Origin, it.OriginIndex, it.Time
	res.Written++
	return entries.Replace(tx, key, old, row)
}

// Same reports whether an entry is what came for it.
func Same(e *Entry, it *replication.Item) bool {
	return !it.Gone && e.Flags == it.Flags && e.Origin == it.Origin && e.OriginIndex == it.OriginIndex && e.Session == "" && bytes.Equal(e.Value, it.Value)
}

// ItemOf is an entry of a datacenter as it is told of below a prefix.
func ItemOf(e *Entry, prefix, datacenter string) replication.Item {
	it := replication.Item{Key: e.Key[len(prefix):], Flags: e.Flags, Value: e.Value, Time: e.Time, Origin: e.Origin, OriginIndex: e.OriginIndex}
	if it.Origin == "" {
		it.Origin, it.OriginIndex = datacenter, e.ModifyIndex
	}
	return it
}

// From yields the entries below a prefix from a key on, given without the prefix.
func From(r storage.Reader, prefix, from string) iter.Seq2[*Entry, error] {
	return entries.ScanFrom(r, []byte(prefix), []byte(prefix+from))
}

// Lookup returns the entry of a key, or nil.
func Lookup(r storage.Reader, key string) (*Entry, error) { return entries.Get(r, []byte(key)) }

// Newer yields what was written or deleted below a prefix after an index, from a key on,
// given without the prefix.
func Newer(r storage.Reader, prefix, from string, after uint64) iter.Seq2[storage.Newer[Entry], error] {
	return entries.Newer(r, []byte(prefix), []byte(prefix+from), after)
}

// CountNewer counts that; it is not 0 where Remembers says no because of what was deleted.
func CountNewer(v *storage.View, prefix string, after uint64) (int, error) {
	return entries.CountNewer(v, []byte(prefix), after)
}

// Remembers reports whether Newer yields all deletions below a prefix after an index.
func Remembers(v *storage.View, prefix string, index uint64) (bool, error) {
	return entries.Remembers(v, []byte(prefix), index)
}

// Count counts the keys below a prefix, up to a limit.
func Count(r storage.Reader, prefix string, limit int) (n int, err error) {
	for _, err := range entries.Keys(r, []byte(prefix)) {
		if err != nil || n == limit {
			return n, err
		}
		n++
	}
	return n, nil
}

// Below is what Changes gathers of the keys below a prefix, without it.
func Below(prefix string) storage.Source { return entries.SourceBelow([]byte(prefix)) }

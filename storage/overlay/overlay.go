// Package overlay holds what a transaction has written and not committed: rows by their keys, and
// the keys in order.
//
// It promises that a command can be rolled back. It does not know what rows mean.
package overlay

import (
	"maps"
	"slices"
	"strings"
)

// Overlay holds what a Txn has written: a map for reads and commits, and the
// keys in order for scans. Keys are put in order only when a scan asks.
type Overlay struct {
	Entries map[string]Entry
	sorted  []string // never changed in place: scans hold on to it
	fresh   []string // keys that sorted lacks, as they came; may repeat
	space   byte
	undo    []change  // of the current command
	Bytes   int       // keys and rows written, roughly
	Written [256]bool // by the second byte of keys that were written, rolled back or not: see New
}

// Entry is a row, or with gone the removal of one.
type Entry struct {
	Row   []byte
	Gone  bool
	Quiet bool // wakes nobody
}

// change is how a key was before the current command wrote it.
type change struct {
	key  string
	was  Entry
	here bool
}

// New returns an empty Overlay. Written says which second bytes keys have that begin with
// space.
func New(space byte) Overlay { return Overlay{Entries: map[string]Entry{}, space: space} }

// manyWrites is how many writes are worth making room for at once.
const manyWrites = 4096

// Reserve makes room for n writes.
func (o *Overlay) Reserve(n int) {
	if n < manyWrites {
		return
	}
	larger := make(map[string]Entry, len(o.Entries)+n)
	maps.Copy(larger, o.Entries)
	o.Entries = larger
	o.undo, o.fresh = slices.Grow(o.undo, n), slices.Grow(o.fresh, n)
}

// Set writes a row.
func (o *Overlay) Set(key string, e Entry) {
	was, here := o.Entries[key]
	o.undo = append(o.undo, change{key, was, here})
	o.Entries[key] = e
	o.Bytes += len(key) + len(e.Row)
	if len(key) > 1 && key[0] == o.space {
		o.Written[key[1]] = true
	}
	if !here {
		o.fresh = append(o.fresh, key)
	}
}

// Mark begins a command: rollback returns to here.
func (o *Overlay) Mark() { o.undo = o.undo[:0] }

// Rollback goes back to Mark.
func (o *Overlay) Rollback() {
	for _, c := range slices.Backward(o.undo) {
		if c.here {
			o.Entries[c.key] = c.was
		} else {
			delete(o.Entries, c.key)
		}
	}
	o.undo = o.undo[:0]
}

// Keys returns the keys that begin with prefix, in order. Some may have been
// rolled back since: look them up. Later writes do not change the result.
func (o *Overlay) Keys(prefix string) []string {
	if len(o.fresh) > 0 {
		slices.Sort(o.fresh)
		merged := make([]string, 0, len(o.sorted)+len(o.fresh))
		i := 0
		for _, k := range o.fresh {
			for i < len(o.sorted) && o.sorted[i] < k {
				merged = append(merged, o.sorted[i])
				i++
			}
			if (i == len(o.sorted) || o.sorted[i] != k) && (len(merged) == 0 || merged[len(merged)-1] != k) {
				merged = append(merged, k)
			}
		}
		o.sorted = append(merged, o.sorted[i:]...)
		o.fresh = o.fresh[:0]
	}
	from, _ := slices.BinarySearch(o.sorted, prefix)
	to := from
	for to < len(o.sorted) && strings.HasPrefix(o.sorted[to], prefix) {
		to++
	}
	return o.sorted[from:to]
}

package storage

import (
	"maps"
	"slices"
	"strings"
)

// overlay holds what a Txn has written: a map for reads and commits, and the
// keys in order for scans. Keys are put in order only when a scan asks.
type overlay struct {
	entries map[string]entry
	sorted  []string  // never changed in place: scans hold on to it
	fresh   []string  // keys that sorted lacks, as they came; may repeat
	undo    []change  // of the current command
	bytes   int       // keys and rows written, roughly
	tables  [256]bool // whose rows were written, rolled back or not
}

// entry is a row, or with gone the removal of one.
type entry struct {
	row   []byte
	gone  bool
	quiet bool // wakes nobody
}

// change is how a key was before the current command wrote it.
type change struct {
	key  string
	was  entry
	here bool
}

func newOverlay() overlay { return overlay{entries: map[string]entry{}} }

// manyWrites is how many writes are worth making room for at once.
const manyWrites = 4096

// reserve makes room for n writes.
func (o *overlay) reserve(n int) {
	if n < manyWrites {
		return
	}
	larger := make(map[string]entry, len(o.entries)+n)
	maps.Copy(larger, o.entries)
	o.entries = larger
	o.undo, o.fresh = slices.Grow(o.undo, n), slices.Grow(o.fresh, n)
}

func (o *overlay) set(key string, e entry) {
	was, here := o.entries[key]
	o.undo = append(o.undo, change{key, was, here})
	o.entries[key] = e
	o.bytes += len(key) + len(e.row)
	if len(key) > 1 && key[0] == spaceRow {
		o.tables[key[1]] = true
	}
	if !here {
		o.fresh = append(o.fresh, key)
	}
}

// mark begins a command: rollback returns to here.
func (o *overlay) mark() { o.undo = o.undo[:0] }

func (o *overlay) rollback() {
	for _, c := range slices.Backward(o.undo) {
		if c.here {
			o.entries[c.key] = c.was
		} else {
			delete(o.entries, c.key)
		}
	}
	o.undo = o.undo[:0]
}

// keys returns the keys that begin with prefix, in order. Some may have been
// rolled back since: look them up. Later writes do not change the result.
func (o *overlay) keys(prefix string) []string {
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

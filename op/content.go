package op

import "reflect"

// Content stands for what a result says: results that say the same share one,
// though their indexes differ. Only its address counts.
type Content struct{ _ byte } // not empty, or all had one address

// ContentOf returns the content of a result that comes after another: that one's
// if it is known that both say the same. Rows that were read and left out, as
// those of a failing instance, raise the index of a result and leave it as it
// was. To compare costs as much as to read, so it is done only if somebody
// waits, and for operations whose results are kept (Read.Shared).
func ContentOf(o Operation, result any, waited bool, before any, was *Content) *Content {
	if q, ok := o.(Queryable); ok && waited && was != nil && q.Sharable() && reflect.DeepEqual(before, result) {
		return was
	}
	return &Content{}
}

// Waiter is one who waits for news. What it has is known only if that was read
// at the index which it names: who comes with an index from elsewhere is
// answered with whatever is newer.
type Waiter struct {
	Index uint64
	has   *Content
}

// News reports whether a result, read at the index and newer or not than the one
// waited from, is to be told.
func (w *Waiter) News(index uint64, newer bool, c *Content) bool {
	if index == w.Index {
		w.has = c
	}
	return newer && c != w.has
}

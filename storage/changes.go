package storage

import (
	"slices"
	"strings"
	"sync"
)

// Source is a table or an index whose changed keys Changes gathers.
type Source struct{ prefix string }

// Source is all records of the table; its keys are primary keys.
func (t *Table[T, P]) Source() Source { return Source{string(appendRowKey(nil, t.id, nil))} }

// Source is all rows of the index. Its keys are index keys, each with the
// primary key behind it: see Index.Parts.
func (ix *Index[T, P]) Source() Source {
	return Source{string(ix.appendPrefix(nil, nil))}
}

// Parts returns the parts of the index key in a key that Changes gave for the
// index; ok is false for anything else. The index is one of n parts.
func (ix *Index[T, P]) Parts(key string, n int) (parts []string, ok bool) {
	primary, err := primaryOf(append(ix.appendPrefix(nil, nil), key...))
	if err != nil {
		return nil, false
	}
	parts, err = SplitKey([]byte(key[:len(key)-2-len(primary)]))
	return parts, err == nil && len(parts) == n
}

// Changed is a key that was written or deleted.
type Changed struct {
	Source int    // its place in the list that Changes was asked for
	Key    string // what follows the table or index
}

// Changes gathers which keys of some tables and indexes commits write or delete,
// each once, until they are taken. It is safe for concurrent use.
type Changes struct {
	s       *State
	sources []Source
	limit   int
	wake    chan struct{} // capacity 1

	mu    sync.Mutex
	keys  map[Changed]struct{}
	whole bool
	upTo  uint64
}

// Changes gathers up to limit changed keys from now on: beyond, and when the
// state is replaced, Take says that anything may have changed. Close it.
func (s *State) Changes(limit int, sources ...Source) *Changes {
	c := &Changes{s: s, sources: sources, limit: limit, wake: make(chan struct{}, 1), keys: map[Changed]struct{}{}}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	if s.watches.followers == nil {
		s.watches.followers = map[*Changes]struct{}{}
	}
	s.watches.followers[c] = struct{}{}
	c.upTo = s.Index() // of a commit that is about to tell of itself as well: a view shows that
	return c
}

// Ready receives when something has changed since Take. A commit is told of
// before it returns.
func (c *Changes) Ready() <-chan struct{} { return c.wake }

// Take returns what has changed since it was called last; whole says that it may
// be anything, and then the keys are not all.
func (c *Changes) Take() (keys map[Changed]struct{}, whole bool) {
	keys, whole, _ = c.TakeUpTo()
	return keys, whole
}

// TakeUpTo is Take, and returns the index of the newest commit that has told of itself:
// up to it, a view that is opened now shows everything, and the keys are all that
// changed.
func (c *Changes) TakeUpTo() (keys map[Changed]struct{}, whole bool, upTo uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys, whole = c.keys, c.whole
	c.keys, c.whole = map[Changed]struct{}{}, false
	return keys, whole, c.upTo
}

// Close ends the gathering.
func (c *Changes) Close() {
	c.s.watches.mu.Lock()
	defer c.s.watches.mu.Unlock()
	delete(c.s.watches.followers, c)
}

func (c *Changes) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// note takes the keys of a commit that are among the sources, and its index. Of what was
// deleted at once the keys are not known.
func (c *Changes) note(written map[string]entry, cut []string, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upTo = max(c.upTo, index)
	found := false
	for _, prefix := range cut {
		if slices.ContainsFunc(c.sources, func(s Source) bool { return strings.HasPrefix(prefix, s.prefix) || strings.HasPrefix(s.prefix, prefix) }) {
			found, c.whole, c.keys = true, true, map[Changed]struct{}{}
		}
	}
	for key, e := range written {
		if e.quiet || c.whole {
			continue
		}
		for i, s := range c.sources {
			rest, ok := strings.CutPrefix(key, s.prefix)
			if !ok {
				continue
			}
			found = true
			if c.keys[Changed{i, rest}] = struct{}{}; len(c.keys) > c.limit {
				c.keys, c.whole = map[Changed]struct{}{}, true
			}
			break
		}
	}
	if found {
		c.signal()
	}
}

// all notes that anything may have changed.
func (c *Changes) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys, c.whole = map[Changed]struct{}{}, true
	c.signal()
}

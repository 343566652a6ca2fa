package wake

import (
	"iter"
	"slices"
	"strings"
	"sync"
)

// Changed is a key that was written or deleted.
type Changed struct {
	Source int    // its place in the list that Changes was asked for
	Key    string // what follows the table or index
}

// Changes gathers which keys of some tables and indexes commits write or delete,
// each once, until they are taken. It is safe for concurrent use.
type Changes struct {
	ws      *Register
	sources []string
	limit   int
	wake    chan struct{} // capacity 1

	mu    sync.Mutex
	keys  map[Changed]struct{}
	whole bool
	upTo  uint64
}

// Follow gathers up to limit changed keys from now on, of rows whose keys begin with one of the
// prefixes: beyond, and when the state is replaced, Take says that anything may have changed.
// index is that of the last commit. Close it.
func (ws *Register) Follow(limit int, index func() uint64, prefixes ...string) *Changes {
	c := &Changes{ws: ws, sources: prefixes, limit: limit, wake: make(chan struct{}, 1), keys: map[Changed]struct{}{}}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.followers == nil {
		ws.followers = map[*Changes]struct{}{}
	}
	ws.followers[c] = struct{}{}
	c.upTo = index() // of a commit that is about to tell of itself as well: a view shows that
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
	c.ws.mu.Lock()
	defer c.ws.mu.Unlock()
	delete(c.ws.followers, c)
}

func (c *Changes) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Told is what a commit tells of itself.
type Told struct {
	Keys  iter.Seq[string] // of the rows that it wrote or deleted
	Cut   []string         // prefixes of which all is gone, and the keys are not known
	Index uint64
}

// note takes the keys of a commit that are among the sources, and its index. Of what was
// deleted at once the keys are not known.
func (c *Changes) note(t Told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upTo = max(c.upTo, t.Index)
	found := false
	for _, prefix := range t.Cut {
		if slices.ContainsFunc(c.sources, func(s string) bool { return strings.HasPrefix(prefix, s) || strings.HasPrefix(s, prefix) }) {
			found, c.whole, c.keys = true, true, map[Changed]struct{}{}
		}
	}
	for key := range t.Keys {
		if c.whole {
			break
		}
		for i, s := range c.sources {
			rest, ok := strings.CutPrefix(key, s)
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

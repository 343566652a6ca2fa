// Package unchanged remembers what questions were answered with last, so that who asks
// again and waits is not told the same. It remembers some thousands of them and
// promises nothing of the others: they are answered once more.
package unchanged

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// MaxQuestions is how many questions are remembered, each some 200 bytes.
const MaxQuestions = 8192

// maxIndexes is at how many indexes an answer is remembered: clients that ask the
// same are not all woken at the same one.
const maxIndexes = 8

// Answers are what questions were answered with last. It is safe for concurrent
// use.
type Answers struct {
	seed maphash.Seed
	mu   sync.Mutex
	last *simplelru.LRU[uint64, answer] // by the hash of the question
}

// answer is the hash of a body with the last indexes at which it was the answer. What
// it was between them nobody knows.
type answer struct {
	body    uint64
	indexes [maxIndexes]uint64
	next    int
}

// New remembers nothing yet.
func New() *Answers {
	last, _ := simplelru.NewLRU[uint64, answer](MaxQuestions, nil) // the size is valid
	return &Answers{seed: maphash.MakeSeed(), last: last}
}

// note remembers what a question is answered with. It reports whether that is what
// it was answered with at the index that the asker has.
func (a *Answers) note(question string, has, index uint64, body []byte) (same bool) {
	key, sum := maphash.String(a.seed, question), maphash.Bytes(a.seed, body)
	a.mu.Lock()
	defer a.mu.Unlock()
	now, ok := a.last.Get(key)
	if !ok || now.body != sum {
		now = answer{body: sum}
	}
	same = slices.Contains(now.indexes[:], has)
	if !slices.Contains(now.indexes[:], index) {
		now.indexes[now.next] = index
		now.next = (now.next + 1) % maxIndexes
		a.last.Add(key, now)
	}
	return same
}

// Wait is that of one request for another answer than its client has. The zero value
// is that of a request that does not wait.
type Wait struct {
	has   uint64 // the index of what the client has
	until time.Time
}

// On returns the index and the time to wait with: those given where the wait begins,
// else the index that is known since and what is left.
func (w *Wait) On(index uint64, d time.Duration) (uint64, time.Duration) {
	if w.has == 0 {
		w.has, w.until = index, time.Now().Add(d)
		return index, d
	}
	return w.has, max(time.Until(w.until), time.Millisecond)
}

// Unchanged notes an answer. It reports true when the client has it already, from an
// older index, and has time left to wait for another one: then it waits on from this
// index.
func (w *Wait) Unchanged(a *Answers, question string, index uint64, body []byte) bool {
	if !a.note(question, w.has, index, body) || w.has == 0 || index <= w.has || !time.Now().Before(w.until) {
		return false
	}
	w.has = index
	return true
}

package admission

import (
	"errors"
	"io"
	"sync"
)

// ErrBudget is what a Reader returns when others have taken all.
var ErrBudget = errors.New("too much is being received at this time")

// Budget is of bytes that those who receive share. It is safe for concurrent use.
type Budget struct {
	share int // that one of them may have; 0 for all

	mu   sync.Mutex
	left int
	by   map[string]int // what each has taken
}

// NewBudget returns one of so many bytes.
func NewBudget(n int) *Budget { return NewShared(n, 0) }

// NewShared returns a budget of which each who receives may have a share at most, or, if
// that is more, what one reader alone takes.
func NewShared(n, share int) *Budget { return &Budget{left: n, share: share, by: map[string]int{}} }

// Left is how many bytes nobody has.
func (b *Budget) Left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// take takes n more for a reader that has some already.
func (b *Budget) take(who string, n, has int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	alone := b.by[who] == has
	if n > b.left || who != "" && b.share > 0 && !alone && b.by[who]+n > b.share {
		return false
	}
	b.left -= n
	if who != "" {
		b.by[who] += n
	}
	return true
}

func (b *Budget) give(who string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	if b.by[who] -= n; b.by[who] <= 0 {
		delete(b.by, who)
	}
}

// Reader returns a reader of r that takes what it has read beyond the first free bytes
// from the budget, and fails with ErrBudget where that is not possible. Release gives it
// back.
func (b *Budget) Reader(r io.Reader, free int) *Reader { return b.ReaderFor("", r, free) }

// ReaderFor is Reader for somebody, who has a share at most; "" for who has all.
func (b *Budget) ReaderFor(who string, r io.Reader, free int) *Reader {
	return &Reader{r: r, b: b, who: who, free: free}
}

// Reader reads at the expense of a Budget. One goroutine may read while another releases.
type Reader struct {
	r    io.Reader
	b    *Budget
	who  string
	free int

	mu       sync.Mutex
	read     int
	taken    int
	released bool
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if !r.count(n) {
		return 0, ErrBudget
	}
	return n, err
}

func (r *Reader) count(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read += n
	more := max(0, r.read-r.free) - r.taken
	if more == 0 || r.released {
		return true
	}
	if !r.b.take(r.who, more, r.taken) {
		return false
	}
	r.taken += more
	return true
}

// Release gives back what was taken, once; from then on nothing is.
func (r *Reader) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.released {
		r.released = true
		r.b.give(r.who, r.taken)
	}
}

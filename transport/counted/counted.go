// Package counted keeps counts of what a connection or a path carries, in which the
// past is forgotten: bytes of the last span of time, and packets that were lost.
//
// It promises that what is counted depends on the times that it is given alone. It does
// not know what carries the packets.
package counted

import (
	"math"
	"sync"
	"time"
)

// Bounds of what is remembered of losses.
const (
	// LossMemory is in what time the past fades to a third.
	LossMemory = 30 * time.Second
	// LossyAbove is the share of lost packets above which a path is lossy, calmBelow
	// that below which it no longer is: apart, so that a path at the edge does not go to
	// and fro. Below 0.3 % fewer than one call in a hundred is late, and the p99 needs no
	// help.
	LossyAbove = 0.003
	calmBelow  = 0.001
	lossyLeast = 2  // lost packets are needed to call a path lossy: one is chance
	calmLeast  = 50 // sent packets are needed to call it calm again
)

// Bytes counts those of the last span: of the running one, and the share that still
// counts of the one before. It is safe for concurrent use.
type Bytes struct {
	mu     sync.Mutex
	begin  time.Time
	now    int64
	before int64
}

func (b *Bytes) roll(at time.Time, span time.Duration) {
	switch passed := at.Sub(b.begin); {
	case passed >= 2*span:
		b.begin, b.now, b.before = at, 0, 0
	case passed >= span:
		b.begin, b.now, b.before = b.begin.Add(span), 0, b.now
	}
}

// Add counts n bytes.
func (b *Bytes) Add(at time.Time, span time.Duration, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(at, span)
	b.now += int64(n)
}

// Level is how many bytes the last span had.
func (b *Bytes) Level(at time.Time, span time.Duration) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(at, span)
	left := 1 - float64(at.Sub(b.begin))/float64(span)
	return float64(b.now) + max(0, left)*float64(b.before)
}

// Loss is what is remembered of packets. It is not safe for concurrent use.
type Loss struct {
	At         time.Time // of the last count
	Lossy      bool
	sent, lost float64
}

// Note counts packets that were sent and lost since the last count.
func (l *Loss) Note(at time.Time, sent, lost float64) {
	keep := math.Exp(-at.Sub(l.At).Seconds() / LossMemory.Seconds())
	l.At = at
	l.sent = max(0, l.sent*keep+sent)
	l.lost = max(0, l.lost*keep+lost) // what was taken for lost may come after all
	switch share := l.Share(); {
	case !l.Lossy && share > LossyAbove && l.lost >= lossyLeast:
		l.Lossy = true
	case l.Lossy && share < calmBelow && l.sent >= calmLeast:
		l.Lossy = false
	}
}

// Share is the share of the packets that were lost, 0 to 1.
func (l *Loss) Share() float64 {
	if l.sent == 0 {
		return 0
	}
	return min(1, l.lost/l.sent)
}

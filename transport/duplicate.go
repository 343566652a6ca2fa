package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A duplicate request is a request that is sent on two connections to the same endpoint at
// once, so that a lost packet delays the answer only if the other copy loses
// one, too. Its stream opens with duplicateMark in place of a frame's length, then
//
//	origin   16 bytes, random for each asking endpoint
//	number   8 bytes, big endian, counted by the origin
//
// and the frame. Whoever is asked joins the two: see deduplicate.go.
const (
	duplicateMark   = 0xfffffffe
	duplicateHeader = 16 + 8
	// maxDuplicate bounds the request, in bytes: what fits a packet with the rest.
	maxDuplicate = 1100
	// duplicateWindow is how many numbers of an origin are told apart; one that is
	// further behind the newest is refused. Half of it bounds how far those that
	// began within duplicateHold are apart: both copies of an older request have come, or
	// their connections are deaf and dropped.
	duplicateWindow = 8192
	duplicateHold   = 5 * time.Second
	// minGrace and maxGrace bound how long the slower answer may still come,
	// which is a round trip: to stop it costs more packets than to take it.
	minGrace = 10 * time.Millisecond
	maxGrace = 500 * time.Millisecond
)

// duplicateID tells requests apart, for ever.
type duplicateID [duplicateHeader]byte

// numbers hands out the numbers of this endpoint's duplicate requests.
type numbers struct {
	origin [16]byte

	mu   sync.Mutex
	next uint64
	low  uint64               // all below have ended, or are older than duplicateHold
	open map[uint64]time.Time // at or above low, not ended: when they began
}

func (n *numbers) init() {
	n.open = map[uint64]time.Time{}
	_, _ = rand.Read(n.origin[:]) // it never fails
}

// begin returns a number for a request; false while those in progress are too
// far apart.
func (n *numbers) begin() (number uint64, id duplicateID, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.next-n.low >= duplicateWindow/2 {
		if now.Sub(n.open[n.low]) < duplicateHold {
			return 0, id, false
		}
		n.close(n.low) // it waits for long: it must not keep others from going twice
	}
	number = n.next
	n.next++
	n.open[number] = now
	copy(id[:], n.origin[:])
	binary.BigEndian.PutUint64(id[len(n.origin):], number)
	return number, id, true
}

func (n *numbers) end(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.close(number)
}

// close forgets a number; n.mu is held.
func (n *numbers) close(number uint64) {
	delete(n.open, number)
	for n.low < n.next {
		if _, still := n.open[n.low]; still {
			return
		}
		n.low++
	}
}

// copyOf is how one copy ended.
type copyOf struct {
	answer []byte
	err    error
	second bool
}

// copies are the two of one request on their way. They outlive the call that
// waits for the first of them.
type copies struct {
	path    *path
	ctx     context.Context
	cancel  context.CancelFunc
	results chan copyOf

	mu    sync.Mutex
	ended int
	first time.Time // when the first answer came; zero if it failed
}

func (p *path) newCopies(ctx context.Context) *copies {
	c := &copies{path: p, results: make(chan copyOf, 2)}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c
}

func (p *copies) send(c *conn, m message, second bool) {
	answer, err := c.onOwnStream(p.ctx, m)
	p.results <- copyOf{answer, err, second}
	p.end(c, err)
}

// end notes the end of a copy; the second tells whether a packet was lost.
func (p *copies) end(c *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended++; p.ended < 2 {
		if err == nil {
			p.first = time.Now()
		}
		return
	}
	p.cancel()
	if p.first.IsZero() || errors.Is(err, errDuplicateTaken) {
		return // nothing to compare with
	}
	p.path.pair(time.Since(p.first) > lateGap(c.span()))
}

// both reports whether both copies have ended.
func (p *copies) both() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended == 2
}

// lateGap is how much later than the other a copy comes of which a packet was
// lost: that is sent again after a round trip at the earliest.
func lateGap(trip time.Duration) time.Duration { return max(trip/2, minGrace) }

// twice sends a request on two connections and returns the first answer. It is
// never begun again on another connection: what has reached the peer by one of
// the two counts. ok is false if it was not sent.
func (p *path) twice(ctx context.Context, pair [2]*conn, head, body []byte) (answer []byte, ok bool, err error) {
	e := p.e
	number, id, ok := e.numbers.begin()
	if !ok {
		return nil, false, nil
	}
	defer e.numbers.end(number)
	m := message{mark: id[:], head: head, body: body}
	both := p.newCopies(ctx)
	for i, c := range pair {
		if err := e.workers.Do(func(context.Context) { both.send(c, m, i == 1) }); err != nil {
			both.cancel()
			return nil, true, fmt.Errorf("%w: %w", ErrClosed, err)
		}
	}
	var failed error
	for range pair {
		select {
		case r := <-both.results:
			if r.err == nil {
				pair[0].series.doubled(r.second)
				if !both.both() {
					time.AfterFunc(min(max(pair[0].span(), minGrace), maxGrace), both.cancel)
				}
				return r.answer, true, nil
			}
			failed = graver(failed, r.err)
		case <-ctx.Done():
			both.cancel()
			return nil, true, ended(ctx, ErrLost)
		}
	}
	return nil, true, failed
}

// graver of two copies' errors is the one after which the request may have been
// executed.
func graver(a, b error) error {
	if a == nil || errors.Is(a, ErrUnreachable) || errors.Is(a, ErrRefused) {
		return b
	}
	return a
}

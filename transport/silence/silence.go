// Package silence finds out that the peer of a connection is gone, from packets
// alone: a live one acknowledges what it gets at once, however long it works on the
// answer.
//
// It does not say whether a peer works: one that acknowledges is there.
package silence

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxPause is the longest time between two looks at a connection on which requests
// wait for long. The connection's own keep-alives find out what happens between.
const maxPause = 4 * time.Second

// lateShare is which share of the patience a look may be late. What came while this
// process stood still was not read yet.
const lateShare = 5

// Link is the connection that is watched. Received, Waiting and Patience must not block.
type Link struct {
	Received func() uint64        // packets that came so far
	Waiting  func() bool          // requests wait for answers
	Patience func() time.Duration // how long a request may go without as much as an acknowledgement
	Probe    func()               // sends something that a live peer acknowledges at once
	Gone     func()               // the peer is dead, frozen or cut off: every request may know it now, not at its deadline
}

// Mark is how many packets had come at a time.
type Mark struct {
	packets uint64
	at      time.Time
}

// Watch watches one connection. Owner: the connection; nothing runs once no request
// waits. Its methods are safe for concurrent use.
type Watch struct {
	link Link
	mute atomic.Uint64 // packets received when it fell silent, plus one; 0: it has not

	mu     sync.Mutex
	timer  *time.Timer
	armed  bool
	due    bool          // an acknowledgement is, since mark
	probed bool          // of a probe: nothing else waits for one
	doubt  bool          // a sign of life is due, whether a request waits or not
	mark   Mark          // when the first request was sent, or a probe, since a packet came
	pause  time.Duration // before the next probe
	next   time.Time     // of the timer
}

// New returns the watch of a connection. Nothing runs until Sent.
func New(l Link) *Watch { return &Watch{link: l} }

// Now is taken before a request is sent.
func (w *Watch) Now() Mark { return Mark{w.link.Received(), time.Now()} }

// Sent says that a request was sent at a mark: its acknowledgement is due.
func (w *Watch) Sent(at Mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.due || w.mark.packets != at.packets {
		w.mark = at
	}
	looks := w.armed && w.due
	w.due, w.probed = true, false
	if patience := w.link.Patience(); !looks {
		w.pause = patience
		w.rest(patience)
	}
}

// Doubt asks the peer for a sign of life, also while no request waits. Until one comes the
// connection is silent; a peer that gives none in the time that a request may go without is given up.
func (w *Watch) Doubt() {
	w.mute.Store(w.link.Received() + 1)
	w.mu.Lock()
	w.doubt, w.due, w.probed, w.mark = true, true, true, w.Now()
	w.pause = w.link.Patience()
	w.rest(w.pause)
	w.mu.Unlock()
	w.link.Probe()
}

// rest looks after a while; w.mu is held.
func (w *Watch) rest(d time.Duration) {
	w.armed, w.next = true, time.Now().Add(d)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.look)
		return
	}
	w.timer.Reset(d)
}

func (w *Watch) look() {
	if do := w.judge(); do != nil {
		do()
	}
}

// judge returns what is to be done about the peer, nil for nothing. What came may
// have acknowledged other requests than those that wait: so the peer is probed, and
// again, ever more seldom, while a request waits.
func (w *Watch) judge() func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, patience := w.Now(), w.link.Patience()
	left, moved := patience-now.at.Sub(w.mark.at), now.packets != w.mark.packets
	w.doubt = w.doubt && !moved
	switch {
	case !w.doubt && !w.link.Waiting():
		w.armed, w.due = false, false
	case w.due && !moved && left > 0:
		w.rest(left)
	case w.due && !moved && now.at.Sub(w.next) > patience/lateShare: // it is this process that stood still
		w.mark = now
		w.rest(patience)
		return w.link.Probe
	case w.due && !moved:
		w.armed = false
		return w.link.Gone
	case w.due && w.probed:
		w.due, w.pause = false, max(patience, min(2*w.pause, maxPause))
		w.rest(w.pause)
	default:
		w.due, w.probed, w.mark = true, true, now
		w.rest(patience)
		return w.link.Probe
	}
	return nil
}

// GaveUp says that a request that was sent at a mark ended without an answer. If not
// even an acknowledgement came in a time in which one should have, the connection is
// silent.
func (w *Watch) GaveUp(sent Mark, should time.Duration) {
	if now := w.Now(); now.packets == sent.packets && now.at.Sub(sent.at) > should {
		w.mute.Store(now.packets + 1)
	}
}

// Silent reports whether no packet came since a request was given up.
func (w *Watch) Silent() bool {
	mark := w.mute.Load()
	if mark == 0 {
		return false
	}
	if w.link.Received()+1 == mark {
		return true
	}
	w.mute.CompareAndSwap(mark, 0)
	return false
}

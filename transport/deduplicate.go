package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// Bounds of what is remembered of duplicate requests.
const (
	// maxOrigins bounds the asking endpoints that are remembered; there is one for
	// each life of a peer's process. The request of one more is refused as
	// busy.
	maxOrigins = 1024
	// maxNodeOrigins bounds those of one node; one more takes the place of the one
	// that asked least lately, which is of a process that ended, or a lie.
	maxNodeOrigins = 16
	// originIdle is after how long without a request an origin may be forgotten,
	// if it has no connection either, or its node began a newer one since: a copy
	// can only come on a connection that was open when the request was sent, and
	// those of a process that ended are closed by then.
	originIdle = time.Minute
	// duplicateKeep is how long an answer is there for the second copy, and how long the
	// work goes on after a copy was lost or given up while there is no other.
	duplicateKeep = 3 * time.Second
	// maxDuplicateAnswer bounds an answer that both copies bring; a longer one comes on
	// the first alone, it would take room from others twice.
	maxDuplicateAnswer = 16 << 10
	// maxDuplicateBytes bounds the answers that are kept for second copies; above it
	// answers come on the first alone.
	maxDuplicateBytes = 16 << 20
)

// Why a copy is not answered.
var (
	errDuplicateTaken   = errors.New("answered on the other connection")
	errDuplicateBusy    = errors.New("too many origins of requests that come twice")
	errDuplicateForeign = errors.New("request comes twice and is too long for that")
)

// originKey names who asks: the verified node, and which life of its process.
type originKey struct {
	node   string
	origin [16]byte
}

// duplicates joins the copies of requests: each is carried out once, by the copy
// that comes first. It is exact, not a matter of time: numbers are remembered as
// long as a copy may still come.
type duplicates struct {
	mu      sync.Mutex
	origins map[originKey]*origin
	kept    []*duplicate // answered, waiting for the second copy, oldest first
	bytes   int
}

// origin is what is known of one asking endpoint.
type origin struct {
	began time.Time
	used  time.Time
	top   uint64                // newest number
	seen  map[uint64]*duplicate // those above top - duplicateWindow
}

// duplicate is one request of which a second copy has come or may come.
type duplicate struct {
	done   chan struct{} // closed when it is answered
	answer []byte        // nil: not kept, or taken
	at     time.Time     // when it was answered
	waits  int           // copies that wait for the answer
	end    func()        // ends the work; nil before and after it
}

// join returns what is known of the request and whether this is its first copy.
func (t *duplicates) join(k originKey, number uint64, now time.Time) (tw *duplicate, first bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.origins[k]
	if o == nil {
		if !t.makeRoom(k.node) {
			return nil, false, errDuplicateBusy
		}
		o = &origin{began: now, seen: map[uint64]*duplicate{}, top: number}
		t.origins[k] = o
	}
	o.used = now
	if number+duplicateWindow <= o.top {
		return nil, false, errDuplicateTaken
	}
	if tw := o.seen[number]; tw != nil {
		return tw, false, nil
	}
	o.advance(number)
	tw = &duplicate{done: make(chan struct{})}
	o.seen[number] = tw
	return tw, true, nil
}

// makeRoom makes room for another origin of a node and reports whether there is any; t.mu
// is held.
func (t *duplicates) makeRoom(node string) bool {
	var oldest originKey
	n := 0
	for k, o := range t.origins {
		if k.node != node {
			continue
		}
		if n++; n == 1 || o.used.Before(t.origins[oldest].used) {
			oldest = k
		}
	}
	if n >= maxNodeOrigins {
		delete(t.origins, oldest)
	}
	return len(t.origins) < maxOrigins
}

// advance forgets the numbers that fall out of the window.
func (o *origin) advance(number uint64) {
	if number <= o.top {
		return
	}
	if number-o.top >= duplicateWindow {
		clear(o.seen)
	} else {
		for n := o.top; n < number; n++ {
			if n >= duplicateWindow-1 { // below, nothing falls out yet
				delete(o.seen, n-(duplicateWindow-1))
			}
		}
	}
	o.top = number
}

// answered keeps the answer for the second copy.
func (t *duplicates) answered(tw *duplicate, answer []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if len(answer) <= maxDuplicateAnswer && t.bytes+len(answer) <= maxDuplicateBytes {
		tw.answer, tw.at = answer, now
		t.bytes += len(answer)
		t.kept = append(t.kept, tw)
	}
	tw.end = nil
	close(tw.done)
}

// expire drops answers whose second copy did not come in time; t.mu is held.
func (t *duplicates) expire(now time.Time) {
	n := 0
	for n < len(t.kept) && (t.kept[n].answer == nil || now.Sub(t.kept[n].at) > duplicateKeep) {
		t.bytes -= len(t.kept[n].answer)
		t.kept[n].answer = nil
		n++
	}
	t.kept = slices.Delete(t.kept, 0, n)
}

// take returns the answer for the second copy, nil if it is not kept.
func (t *duplicates) take(tw *duplicate) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	answer := tw.answer
	t.bytes -= len(answer)
	tw.answer = nil
	return answer
}

// sweep forgets origins that no longer ask and have no connection.
func (t *duplicates) sweep(now time.Time, connected map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	newest := map[string]time.Time{}
	for k, o := range t.origins {
		if o.began.After(newest[k.node]) {
			newest[k.node] = o.began
		}
	}
	maps.DeleteFunc(t.origins, func(k originKey, o *origin) bool {
		return now.Sub(o.used) > originIdle && (!connected[k.node] || o.began.Before(newest[k.node]))
	})
}

// attach notes that a copy waits for the request's answer, until detach is called or
// the copy's context ends; the first one says what ends the work. That is called
// when no copy has waited for duplicateKeep: who asked has given up.
func (t *duplicates) attach(ctx context.Context, tw *duplicate, end func()) (detach func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tw.waits++
	if end != nil {
		tw.end = end
	}
	return context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if tw.waits--; tw.waits == 0 {
			time.AfterFunc(duplicateKeep, func() { t.abandon(tw) })
		}
	})
}

func (t *duplicates) abandon(tw *duplicate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tw.waits == 0 && tw.end != nil {
		tw.end()
	}
}

// answerDuplicate serves a stream that opened with duplicateMark.
func (c *conn) answerDuplicate(ctx context.Context, s *stream) {
	answer, err := c.duplicateAnswer(ctx, s)
	switch {
	case err == nil:
		if err := WriteFrame(s, answer); err != nil {
			s.Cancel()
		}
	case errors.Is(err, errDuplicateBusy):
		s.refuse(codeBusy)
	case errors.Is(err, errDuplicateTaken):
		s.refuse(codeDuplicate)
	default:
		s.Cancel()
	}
}

func (c *conn) duplicateAnswer(ctx context.Context, s *stream) ([]byte, error) {
	var id duplicateID
	if _, err := io.ReadFull(s, id[:]); err != nil {
		return nil, err
	}
	request, err := ReadFrame(s, maxDuplicate)
	if err != nil {
		return nil, errors.Join(errDuplicateForeign, err)
	}
	k := originKey{node: c.remote.Peer.NodeID}
	copy(k.origin[:], id[:])
	t := &c.e.duplicates
	tw, first, err := t.join(k, binary.BigEndian.Uint64(id[len(k.origin):]), time.Now())
	switch {
	case err != nil:
		return nil, err
	case first:
		// Who asked may have given up this copy and wait for the other.
		work, end := context.WithCancel(c.e.group.Context())
		defer end()
		defer t.attach(ctx, tw, end)()
		answer := c.serve.Answer(work, c.remote, request)
		t.answered(tw, answer, time.Now())
		return answer, nil
	}
	defer t.attach(ctx, tw, nil)()
	select {
	case <-tw.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if answer := t.take(tw); answer != nil {
		return answer, nil
	}
	return nil, errDuplicateTaken
}

// refuse ends both directions with a code for the peer.
func (s *stream) refuse(code quic.StreamErrorCode) {
	s.CancelRead(code)
	s.CancelWrite(code)
	s.release()
}

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

// Bounds of what is remembered of twins.
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
	// twinKeep is how long an answer is there for the second copy, and how long the
	// work goes on after a copy was lost or given up while there is no other.
	twinKeep = 3 * time.Second
	// maxTwinAnswer bounds an answer that both copies bring; a longer one comes on
	// the first alone, it would take room from others twice.
	maxTwinAnswer = 16 << 10
	// maxTwinBytes bounds the answers that are kept for second copies; above it
	// answers come on the first alone.
	maxTwinBytes = 16 << 20
)

// Why a copy is not answered.
var (
	errTwinTaken   = errors.New("answered on the other connection")
	errTwinBusy    = errors.New("too many origins of requests that come twice")
	errTwinForeign = errors.New("request comes twice and is too long for that")
)

// originKey names who asks: the verified node, and which life of its process.
type originKey struct {
	node   string
	origin [16]byte
}

// twins joins the copies of requests: each is carried out once, by the copy
// that comes first. It is exact, not a matter of time: numbers are remembered as
// long as a copy may still come.
type twins struct {
	mu      sync.Mutex
	origins map[originKey]*origin
	kept    []*twin // answered, waiting for the second copy, oldest first
	bytes   int
}

// origin is what is known of one asking endpoint.
type origin struct {
	began time.Time
	used  time.Time
	top   uint64           // newest number
	seen  map[uint64]*twin // those above top - twinWindow
}

// twin is one request.
type twin struct {
	done   chan struct{} // closed when it is answered
	answer []byte        // nil: not kept, or taken
	at     time.Time     // when it was answered
	waits  int           // copies that wait for the answer
	end    func()        // ends the work; nil before and after it
}

// join returns the request's twin and whether this is its first copy.
func (t *twins) join(k originKey, number uint64, now time.Time) (tw *twin, first bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.origins[k]
	if o == nil {
		if !t.room(k.node) {
			return nil, false, errTwinBusy
		}
		o = &origin{began: now, seen: map[uint64]*twin{}, top: number}
		t.origins[k] = o
	}
	o.used = now
	if number+twinWindow <= o.top {
		return nil, false, errTwinTaken
	}
	if tw := o.seen[number]; tw != nil {
		return tw, false, nil
	}
	o.advance(number)
	tw = &twin{done: make(chan struct{})}
	o.seen[number] = tw
	return tw, true, nil
}

// room makes room for another origin of a node and reports whether there is any; t.mu
// is held.
func (t *twins) room(node string) bool {
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
	if number-o.top >= twinWindow {
		clear(o.seen)
	} else {
		for n := o.top; n < number; n++ {
			if n >= twinWindow-1 { // below, nothing falls out yet
				delete(o.seen, n-(twinWindow-1))
			}
		}
	}
	o.top = number
}

// answered keeps the answer for the second copy.
func (t *twins) answered(tw *twin, answer []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if len(answer) <= maxTwinAnswer && t.bytes+len(answer) <= maxTwinBytes {
		tw.answer, tw.at = answer, now
		t.bytes += len(answer)
		t.kept = append(t.kept, tw)
	}
	tw.end = nil
	close(tw.done)
}

// expire drops answers whose second copy did not come in time; t.mu is held.
func (t *twins) expire(now time.Time) {
	n := 0
	for n < len(t.kept) && (t.kept[n].answer == nil || now.Sub(t.kept[n].at) > twinKeep) {
		t.bytes -= len(t.kept[n].answer)
		t.kept[n].answer = nil
		n++
	}
	t.kept = slices.Delete(t.kept, 0, n)
}

// take returns the answer for the second copy, nil if it is not kept.
func (t *twins) take(tw *twin) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	answer := tw.answer
	t.bytes -= len(answer)
	tw.answer = nil
	return answer
}

// sweep forgets origins that no longer ask and have no connection.
func (t *twins) sweep(now time.Time, connected map[string]bool) {
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

// attach notes that a copy waits for the twin's answer, until detach is called or
// the copy's context ends; the first one says what ends the work. That is called
// when no copy has waited for twinKeep: who asked has given up.
func (t *twins) attach(ctx context.Context, tw *twin, end func()) (detach func() bool) {
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
			time.AfterFunc(twinKeep, func() { t.abandon(tw) })
		}
	})
}

func (t *twins) abandon(tw *twin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tw.waits == 0 && tw.end != nil {
		tw.end()
	}
}

// answerTwin serves a stream that opened with twinMark.
func (c *conn) answerTwin(ctx context.Context, s *stream) {
	answer, err := c.twinAnswer(ctx, s)
	switch {
	case err == nil:
		if err := WriteFrame(s, answer); err != nil {
			s.Cancel()
		}
	case errors.Is(err, errTwinBusy):
		s.refuse(codeBusy)
	case errors.Is(err, errTwinTaken):
		s.refuse(codeTwin)
	default:
		s.Cancel()
	}
}

func (c *conn) twinAnswer(ctx context.Context, s *stream) ([]byte, error) {
	var id twinID
	if _, err := io.ReadFull(s, id[:]); err != nil {
		return nil, err
	}
	request, err := ReadFrame(s, maxTwin)
	if err != nil {
		return nil, errors.Join(errTwinForeign, err)
	}
	k := originKey{node: c.remote.Peer.NodeID}
	copy(k.origin[:], id[:])
	t := &c.e.twins
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
	return nil, errTwinTaken
}

// refuse ends both directions with a code for the peer.
func (s *stream) refuse(code quic.StreamErrorCode) {
	s.CancelRead(code)
	s.CancelWrite(code)
	s.release()
}

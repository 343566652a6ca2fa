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
	// originIdle is after how long without a request an origin may be forgotten,
	// if it has no connection either: a copy can only come on one that was open
	// when the request was sent.
	originIdle = time.Minute
	// twinKeep is how long an answer is there for the second copy.
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
	used time.Time
	top  uint64           // newest number
	seen map[uint64]*twin // those above top - twinWindow
}

// twin is one request.
type twin struct {
	done   chan struct{} // closed when it is answered
	answer []byte        // nil: not kept, or taken
	at     time.Time     // when it was answered
}

// join returns the request's twin and whether this is its first copy.
func (t *twins) join(k originKey, number uint64, now time.Time) (tw *twin, first bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.origins[k]
	if o == nil {
		if len(t.origins) >= maxOrigins {
			return nil, false, errTwinBusy
		}
		o = &origin{seen: map[uint64]*twin{}, top: number}
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
	maps.DeleteFunc(t.origins, func(k originKey, o *origin) bool {
		return now.Sub(o.used) > originIdle && !connected[k.node]
	})
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
		// Who asked may have given up this copy and wait for the other: only the
		// deadline within the request ends the work.
		answer := c.serve.Answer(c.e.group.Context(), c.remote, request)
		t.answered(tw, answer, time.Now())
		return answer, nil
	}
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

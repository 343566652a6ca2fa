package early

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/internal/lifecycle"
)

// below is a pipeline that notes what it is to send; the test answers.
type below struct {
	mu   sync.Mutex
	asks []*raft.AppendEntriesRequest
	fail error
	gate chan struct{} // if not nil, requests wait for it
	done chan raft.AppendFuture
}

func (b *below) AppendEntries(ask *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	b.mu.Lock()
	b.asks = append(b.asks, ask)
	gate, err := b.gate, b.fail
	b.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return nil, err
}

func (b *below) Consumer() <-chan raft.AppendFuture { return b.done }
func (b *below) Close() error                       { return nil }

func (b *below) sent() []*raft.AppendEntriesRequest {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asks)
}

// answered is an answer to a request.
type answered struct {
	ask    *raft.AppendEntriesRequest
	answer raft.AppendEntriesResponse
}

func (a *answered) Error() error                          { return nil }
func (a *answered) Start() time.Time                      { return time.Time{} }
func (a *answered) Request() *raft.AppendEntriesRequest   { return a.ask }
func (a *answered) Response() *raft.AppendEntriesResponse { return &a.answer }

// stage is a pipeline in which entry 1 was sent by Raft, in term 1.
type stage struct {
	t      *testing.T
	below  *below
	early  *Pipelines
	raft   *pipeline
	commit atomic.Uint64 // the node's commit index
}

func newStage(t *testing.T) *stage {
	t.Helper()
	g := lifecycle.New("test")
	s := &stage{t: t, below: &below{done: make(chan raft.AppendFuture)}}
	s.commit.Store(7)
	s.early = New(g, s.commit.Load)
	p, err := s.early.Wrap(s.below)
	if err != nil {
		t.Fatal(err)
	}
	s.raft = p.(*pipeline)
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), g.Stop(context.Background())); err != nil {
			t.Error(err)
		}
		if s.early.Open() > 0 {
			t.Error("a pipeline that is closed is kept")
		}
	})
	s.ask(entries(1, 1, 1))
	s.answer(0, true)
	s.hears(1, true)
	return s
}

// entries are those from one to another, in a term.
func entries(term, from, to uint64) (out []*raft.Log) {
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: term, Type: raft.LogCommand})
	}
	return out
}

// ask makes a request as Raft does.
func (s *stage) ask(e []*raft.Log) {
	s.t.Helper()
	ask := &raft.AppendEntriesRequest{Term: e[0].Term, PrevLogEntry: e[0].Index - 1, PrevLogTerm: 1, Entries: e}
	if _, err := s.raft.AppendEntries(ask, &raft.AppendEntriesResponse{}); err != nil {
		s.t.Fatal(err)
	}
}

// write begins to write entries, and waits until so many requests were sent in all.
func (s *stage) write(e []*raft.Log, sent int) {
	s.t.Helper()
	s.early.Storing(1, e)
	s.until(func() bool { return len(s.below.sent()) == sent })
}

// until polls until the condition holds.
func (s *stage) until(holds func() bool) {
	s.t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-time.After(time.Millisecond):
		case <-limit.C:
			s.t.Fatalf("not within 10 s: %d requests went out", len(s.below.sent()))
		}
	}
}

// send has entries sent early at once, if they are.
func (s *stage) send(e []*raft.Log) {
	s.t.Helper()
	if err := s.raft.send(&batch{e[0].Index - 1, 1, 0, e}); err != nil {
		s.t.Error(err)
	}
}

// answer answers the request of that number.
func (s *stage) answer(i int, success bool) {
	s.t.Helper()
	ask := s.below.sent()[i]
	select {
	case s.below.done <- &answered{ask, raft.AppendEntriesResponse{Term: ask.Term, Success: success}}:
	case <-time.After(10 * time.Second):
		s.t.Fatal("the answer is not taken")
	}
}

// hears asserts that Raft has an answer to its request up to that entry.
func (s *stage) hears(last uint64, success bool) {
	s.t.Helper()
	select {
	case f := <-s.raft.Consumer():
		e := f.Request().Entries
		if got := e[len(e)-1].Index; got != last || f.Response().Success != success {
			s.t.Errorf("an answer up to entry %d: %+v", got, f.Response())
		}
	case <-time.After(10 * time.Second):
		s.t.Fatal("no answer")
	}
}

func (s *stage) hearsNothing() {
	s.t.Helper()
	select {
	case f := <-s.raft.Consumer():
		s.t.Errorf("an answer to what Raft has not asked: %+v", f.Request())
	case <-time.After(20 * time.Millisecond):
	}
}

// What Raft asks for is answered by what was sent early, whether the answer is there or on its way.
func TestWhatWasSentEarlyIsNotSentAgain(t *testing.T) {
	s := newStage(t)
	s.write(entries(1, 2, 3), 2)
	if ask := s.below.sent()[1]; ask.PrevLogEntry != 1 || ask.PrevLogTerm != 1 || ask.LeaderCommitIndex != 7 || len(ask.Entries) != 2 {
		t.Errorf("sent early: %+v", ask)
	}
	s.answer(1, true)
	s.hearsNothing() // Raft has not written it
	s.ask(entries(1, 2, 3))
	s.hears(3, true)

	s.write(entries(1, 4, 4), 3)
	s.ask(entries(1, 4, 4))
	s.hearsNothing()
	s.answer(2, false)
	s.hears(4, false)
	if n := len(s.below.sent()); n != 3 {
		t.Errorf("%d requests went out", n)
	}
}

// Raft may ask for what two batches brought with one request.
func TestARequestOfTwoBatches(t *testing.T) {
	s := newStage(t)
	s.write(entries(1, 2, 2), 2)
	s.write(entries(1, 3, 4), 3)
	s.answer(1, true)
	s.ask(entries(1, 2, 4))
	s.hearsNothing() // only the first of them is answered
	s.answer(2, true)
	s.hears(4, true)
}

// What does not continue what was sent is left to Raft, and so are other terms and changes of the configuration.
func TestWhatIsLeftToRaft(t *testing.T) {
	s := newStage(t)
	other := entries(1, 2, 2)
	other[0].Type = raft.LogConfiguration
	s.send(entries(1, 3, 3))
	s.send(entries(2, 2, 2))
	if s.early.Storing(1, other); len(s.raft.begun) > 0 {
		t.Error("a change of the configuration is sent early")
	}
	s.ask(entries(1, 2, 2))
	if n := len(s.below.sent()); n != 2 {
		t.Fatalf("%d requests went out", n)
	}
	s.answer(1, true)
	s.hears(2, true)

	s.write(entries(1, 3, 3), 3)
	s.ask(entries(1, 3, 4)) // more than was sent
	if n := len(s.below.sent()); n != 4 {
		t.Fatalf("%d requests went out", n)
	}
	s.answer(2, true)
	s.hearsNothing()
	s.answer(3, true)
	s.hears(4, true)
	s.write(entries(1, 5, 5), 5) // it goes on from there
}

// A pipeline that could not send says so when Raft asks next.
func TestAPipelineThatCannotSend(t *testing.T) {
	s := newStage(t)
	s.below.mu.Lock()
	s.below.fail = errors.New("broken")
	s.below.mu.Unlock()
	s.write(entries(1, 2, 2), 2)
	s.until(func() bool {
		_, err := s.raft.AppendEntries(&raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 1, PrevLogTerm: 1}, &raft.AppendEntriesResponse{})
		return err != nil
	})
}

// Raft does not ask as long as it writes: what it is ahead of it by has a bound.
func TestWhatIsSentEarlyIsBounded(t *testing.T) {
	s := newStage(t)
	for i := range uint64(maxEarly) {
		s.write(entries(1, 2+i, 2+i), 2+int(i))
	}
	s.send(entries(1, 2+maxEarly, 2+maxEarly))
	s.ask(entries(1, 2, 1+maxEarly)) // all of them
	for i := range maxEarly {
		s.answer(1+i, true)
	}
	s.hears(1+maxEarly, true)
	if n := len(s.below.sent()); n > 1+maxEarly {
		t.Errorf("%d requests went out", n)
	}
}

// What is sent late goes with the commit index at which it was being written. Another leader's may be higher, and count
// for an entry of its own in the same place.
func TestTheCommitIndexIsThatOfTheLeaderThatWrites(t *testing.T) {
	s := newStage(t)
	gate := make(chan struct{})
	s.below.mu.Lock()
	s.below.gate = gate
	s.below.mu.Unlock()
	s.write(entries(1, 2, 2), 2) // the peer stands still
	s.early.Storing(1, entries(1, 3, 3))
	s.commit.Store(100)
	close(gate)
	s.until(func() bool { return len(s.below.sent()) == 3 })
	if got := s.below.sent()[2].LeaderCommitIndex; got != 7 {
		t.Errorf("entry 3 went with the commit index %d", got)
	}
}

// Raft reads no answers after one that refuses. Who sends is not held up by those that come.
func TestAnswersAfterARefusalHoldNobodyUp(t *testing.T) {
	s := newStage(t)
	for i := uint64(2); i <= 5; i++ {
		s.ask(entries(1, i, i))
	}
	s.answer(1, false)
	s.hears(2, false)
	for i := 2; i <= 4; i++ {
		s.answer(i, false)
	}
	s.hearsNothing()
}

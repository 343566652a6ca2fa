// Package early has entries of Raft's log sent to followers while the leader writes them.
//
// Raft's library writes an entry to the leader's disk first and sends it then, so a write waits for two disks one after
// the other. Raft itself does not need that order: a follower may have entries that the leader's disk has not yet, since
// they count as committed only when a majority has written them. So whoever writes has entries sent when it begins, as
// the request that Raft is going to make; when Raft makes it, it gets the answer of the one that is on its way. Raft makes
// it once the leader has written, so nothing is committed sooner than it was.
package early

import (
	"context"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/internal/lifecycle"
)

// maxEarly is how many such requests of a pipeline Raft has not made yet; further ones are left to Raft.
const maxEarly = 8

// Pipelines are those of one node to its followers. They are safe for concurrent use.
type Pipelines struct {
	group  *lifecycle.Group
	commit func() uint64

	mu   sync.Mutex
	open map[*pipeline]struct{}
}

// New has goroutines of pipelines run in the group. commit is the node's commit index.
func New(g *lifecycle.Group, commit func() uint64) *Pipelines {
	return &Pipelines{group: g, commit: commit, open: map[*pipeline]struct{}{}}
}

// Open is how many pipelines Raft has open.
func (s *Pipelines) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// batch is entries that are being written, and what stands before them.
type batch struct {
	prevIndex, prevTerm uint64
	commit              uint64 // the leader's commit index when it began to write them
	entries             []*raft.Log
}

func (b *batch) last() uint64 { return b.entries[len(b.entries)-1].Index }

// Storing has entries sent that the leader is about to write. It does not wait. Entries that change the configuration
// change who they go to: they are left to Raft.
//
// The commit index that they go with is that of now: by the time they are sent, on a pipeline that stood still, another
// may lead, and what counts as committed here then may be its entry in the place of one of these.
func (s *Pipelines) Storing(prevTerm uint64, entries []*raft.Log) {
	if slices.ContainsFunc(entries, func(l *raft.Log) bool { return l.Type != raft.LogCommand }) {
		return
	}
	b := &batch{entries[0].Index - 1, prevTerm, s.commit(), slices.Clone(entries)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.open {
		select {
		case p.begun <- b:
		default: // its peer is slow
		}
	}
}

// Wrap makes a pipeline of a transport one that entries are sent in early. Raft closes it.
func (s *Pipelines) Wrap(below raft.AppendPipeline) (raft.AppendPipeline, error) {
	p := &pipeline{AppendPipeline: below, of: s, begun: make(chan *batch, 1), answered: make(chan struct{}, 1),
		done: make(chan raft.AppendFuture), closed: make(chan struct{})}
	for _, run := range []func(context.Context){p.sendEarly, p.deliver} {
		if err := s.group.Spawn("pipeline", run); err != nil {
			_ = p.Close() // it carried nothing
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[p] = struct{}{}
	return p, nil
}

// pipeline is Raft's pipeline to one follower. Requests of Raft and early ones go through the one below, in the
// order in which the follower is to take them.
type pipeline struct {
	raft.AppendPipeline
	of    *Pipelines
	begun chan *batch // to be sent early

	sending sync.Mutex // one request at a time goes below. Taken before mu

	mu       sync.Mutex
	model    raft.AppendEntriesRequest // the last one of Raft, without entries: what all of a term have alike
	last     uint64                    // the entry up to which requests were sent
	sent     []*request                // early ones that Raft has not made, oldest first
	made     []*request                // those of Raft, or taken for it, that it has no answer of, oldest first
	err      error                     // of what was sent early: the pipeline is of no use
	answered chan struct{}             // capacity 1: one of made may have its answer

	done   chan raft.AppendFuture
	once   sync.Once
	closed chan struct{}
}

// request is one that was sent below.
type request struct {
	below  *raft.AppendEntriesRequest
	raft   *raft.AppendEntriesRequest // as Raft made it; nil while it has not
	answer raft.AppendFuture          // nil while there is none
}

// taken is the answer to an early request, as one to that of Raft.
type taken struct {
	raft.AppendFuture
	request *raft.AppendEntriesRequest
}

// Request implements raft.AppendFuture.
func (a taken) Request() *raft.AppendEntriesRequest { return a.request }

// sendEarly sends what is being written.
func (p *pipeline) sendEarly(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.closed:
			return
		case b := <-p.begun:
			if p.send(b) != nil {
				return
			}
		}
	}
}

// send sends a batch where all before it was sent, and Raft has not sent it meanwhile.
func (p *pipeline) send(b *batch) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	p.mu.Lock()
	if p.last != b.prevIndex || p.model.Term != b.entries[0].Term || len(p.sent) >= maxEarly {
		p.mu.Unlock()
		return nil
	}
	ask := p.model
	ask.PrevLogEntry, ask.PrevLogTerm, ask.Entries, ask.LeaderCommitIndex = b.prevIndex, b.prevTerm, b.entries, b.commit
	p.sent = append(p.sent, &request{below: &ask})
	p.last = b.last()
	p.mu.Unlock()
	_, err := p.AppendPipeline.AppendEntries(&ask, new(raft.AppendEntriesResponse))
	if err != nil {
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}
	return err
}

// AppendEntries implements raft.AppendPipeline: Raft makes a request.
func (p *pipeline) AppendEntries(ask *raft.AppendEntriesRequest, answer *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if ok, err := p.take(ask); ok || err != nil {
		return nil, err // Raft waits for what Consumer yields
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	p.mu.Lock()
	p.made = append(p.made, &request{below: ask, raft: ask})
	p.model = *ask
	p.model.Entries = nil
	switch n := len(ask.Entries); {
	case n > 0:
		p.last, p.sent = ask.Entries[n-1].Index, nil
	case len(p.sent) == 0: // it only tells the commit index
		p.last = ask.PrevLogEntry
	}
	p.mu.Unlock()
	return p.AppendPipeline.AppendEntries(ask, answer)
}

// take answers a request by early ones that have the same entries. The answer to the last of them is one to all: the
// follower takes them in order, each only after the one before.
func (p *pipeline) take(ask *raft.AppendEntriesRequest) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || len(ask.Entries) == 0 {
		return false, p.err
	}
	first := slices.IndexFunc(p.sent, func(r *request) bool {
		return r.below.PrevLogEntry == ask.PrevLogEntry && r.below.PrevLogTerm == ask.PrevLogTerm && r.below.Term == ask.Term
	})
	last := slices.IndexFunc(p.sent, func(r *request) bool {
		return r.below.Entries[len(r.below.Entries)-1].Index == ask.Entries[len(ask.Entries)-1].Index
	})
	if first < 0 || last < first {
		return false, nil
	}
	r := p.sent[last]
	r.raft = ask
	p.sent, p.made = p.sent[last+1:], append(p.made, r)
	p.look()
	return true, nil
}

// look has deliver look for answers.
func (p *pipeline) look() {
	select {
	case p.answered <- struct{}{}:
	default:
	}
}

// deliver hands answers to Raft, in the order of its requests. Raft reads none after one that refuses: those are taken from
// below and left, since who sends there waits for that, and Raft would not see that the pipeline is of no use.
func (p *pipeline) deliver(ctx context.Context) {
	for refused := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-p.closed:
			return
		case f := <-p.AppendPipeline.Consumer():
			p.note(f)
		case <-p.answered:
		}
		for f := p.next(); f != nil && !refused; f = p.next() {
			select {
			case p.done <- f:
				refused = !f.Response().Success
			case <-ctx.Done():
				return
			case <-p.closed:
				return
			}
		}
	}
}

func (p *pipeline) note(f raft.AppendFuture) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range [][]*request{p.made, p.sent} {
		if i := slices.IndexFunc(list, func(r *request) bool { return r.below == f.Request() }); i >= 0 {
			list[i].answer = f
		}
	}
}

// next is the answer to the oldest request of Raft, if it is there.
func (p *pipeline) next() raft.AppendFuture {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.made) == 0 || p.made[0].answer == nil {
		return nil
	}
	r := p.made[0]
	p.made = p.made[1:]
	return taken{r.answer, r.raft}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.done }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.of.mu.Lock()
		delete(p.of.open, p)
		p.of.mu.Unlock()
	})
	return p.AppendPipeline.Close()
}

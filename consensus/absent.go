package consensus

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxAwait is how long Raft is not told that a server cannot be reached. After
// twelve times that its pauses are as long as they get.
const maxAwait = 10 * time.Minute

// absent are servers that are asked to say when they are heard again.
//
// Raft tries to send entries again after a pause that doubles with each failure,
// up to 10 s, and nothing shortens it: a server that was dead for longer had no
// entries for up to 10 s after its return, while its heartbeats were answered.
// So Raft is told of a failure when the server is heard again: then it has few
// failures, and its pause is short. What it sends after that is not what failed.
type absent struct {
	mu   sync.Mutex
	back map[raft.ServerID]chan struct{} // closed when the server answers
}

func newAbsent() *absent { return &absent{back: map[raft.ServerID]chan struct{}{}} }

// returned is closed when the server answers the next time.
func (a *absent) returned(id raft.ServerID) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.back[id] == nil {
		a.back[id] = make(chan struct{})
	}
	return a.back[id]
}

// heard tells those who wait that the server answers.
func (a *absent) heard(id raft.ServerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.back[id]; c != nil {
		close(c)
		delete(a.back, id)
	}
}

// wake ends the waiting for all of them, for once.
func (a *absent) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.back {
		close(c)
	}
	clear(a.back)
}

// heartbeat reports whether a request is one: it names no entry.
func heartbeat(ask *raft.AppendEntriesRequest) bool {
	return len(ask.Entries) == 0 && ask.PrevLogEntry == 0 && ask.PrevLogTerm == 0 && ask.LeaderCommitIndex == 0
}

// forget is for a server that nobody waits for any more.
func (a *absent) forget(id raft.ServerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.back, id)
}

// awaitReturn waits until a server answers heartbeats again, or there is no use in
// that: this node does not lead in the term any more, or the server is removed.
func (w *leaseTransport) awaitReturn(id raft.ServerID, term uint64) {
	limit, look := time.NewTimer(maxAwait), time.NewTicker(w.lease.length)
	defer limit.Stop()
	defer look.Stop()
	for w.sendsTo(id, term) {
		select {
		case <-w.absent.returned(id):
			return
		case <-w.down:
			return
		case <-limit.C:
			return
		case <-look.C:
		}
	}
	w.absent.forget(id)
}

// sendsTo reports whether this node leads in the term and the server is in its group.
func (w *leaseTransport) sendsTo(id raft.ServerID, term uint64) bool {
	r := w.node()
	if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
		return false
	}
	group := r.GetConfiguration()
	if err := group.Error(); err != nil {
		return false
	}
	return slices.ContainsFunc(group.Configuration().Servers, func(s raft.Server) bool { return s.ID == id })
}

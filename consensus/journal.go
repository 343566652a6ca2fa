package consensus

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// A state that is being sent needs the entries after it once it has arrived:
// they are kept for pinFor after the end of the transfer, so that the follower
// does not need another state at once. maxPinned bounds what that can hold back.
const (
	pinFor    = time.Minute
	maxPinned = 2_000_000 // entries
)

// journal is the Log as Raft sees it.
type journal struct {
	*raftlog.Log
	fail    func(error)
	storing func(entries []*raft.Log) // is told which are about to be written

	mu   sync.Mutex
	pins map[*pin]struct{}
}

type pin struct {
	index uint64    // of the state that was sent
	until time.Time // zero while it is being sent
}

var (
	_ raft.LogStore          = (*journal)(nil)
	_ raft.StableStore       = (*journal)(nil)
	_ raft.MonotonicLogStore = (*journal)(nil)
)

func newJournal(log *raftlog.Log, fail func(error)) *journal {
	return &journal{Log: log, fail: fail, storing: func([]*raft.Log) {}, pins: map[*pin]struct{}{}}
}

// StoreLogs implements raft.LogStore.
func (j *journal) StoreLogs(entries []*raft.Log) error {
	j.storing(entries)
	return j.Log.StoreLogs(entries)
}

// Set implements raft.StableStore. Raft panics when it cannot store its term
// or vote. Its goroutine ends here instead: no vote is cast, the process lives,
// and the node stops in order.
func (j *journal) Set(key, value []byte) error { return j.mustHold(j.Log.Set(key, value)) }

// SetUint64 implements raft.StableStore, as Set does.
func (j *journal) SetUint64(key []byte, value uint64) error {
	return j.mustHold(j.Log.SetUint64(key, value))
}

func (j *journal) mustHold(err error) error {
	if err != nil {
		j.fail(err)
		runtime.Goexit()
	}
	return nil
}

// DeleteRange implements raft.LogStore. Where it only drops the oldest
// entries, it keeps those that a transfer still needs.
func (j *journal) DeleteRange(low, high uint64) error {
	last, err := j.LastIndex()
	if err != nil {
		return err
	}
	if high < last {
		high = j.unpinned(high, last)
	}
	return j.Log.DeleteRange(low, high)
}

func (j *journal) unpinned(high, last uint64) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	floor := last - min(last, maxPinned)
	for p := range j.pins {
		if !p.until.IsZero() && time.Now().After(p.until) {
			delete(j.pins, p)
			continue
		}
		high = min(high, max(p.index, floor))
	}
	return high
}

// pin keeps the entries after index until pinFor after the returned function
// was called.
func (j *journal) pin(index uint64) (unpin func()) {
	p := &pin{index: index}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pins[p] = struct{}{}
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		p.until = time.Now().Add(pinFor)
	}
}

// Raft's own names in its stable store.
const (
	keyCurrentTerm   = "CurrentTerm"
	keyVoteTerm      = "LastVoteTerm"
	keyVoteCandidate = "LastVoteCand"
)

// reconcile makes the log continue the state. What the state has applied is
// committed and stays, whatever became of the log; entries that contradict it
// cannot be committed and go.
func reconcile(log *raftlog.Log, state *storage.State, address string) error {
	p := start(state)
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if first > p.Index+1 {
		return fmt.Errorf("%w: the state ends at %d, the log begins at %d: remove the data of this server and let it join anew",
			ErrMissingEntries, p.Index, first)
	}
	if p.Index == 0 {
		if last == 0 {
			return forgetHalfABootstrap(log)
		}
		return nil
	}
	if err := raiseTerm(log, p.Term, address); err != nil {
		return err
	}
	fits := last == 0 || first == p.Index+1
	if !fits && last >= p.Index {
		var entry raft.Log
		if err := log.GetLog(p.Index, &entry); err != nil {
			return fmt.Errorf("read entry %d: %w", p.Index, err)
		}
		fits = entry.Term == p.Term
	}
	if fits {
		return nil
	}
	if err := state.Sync(); err != nil {
		return err
	}
	return log.DeleteRange(first, last)
}

// forgetHalfABootstrap lets a node bootstrap whose power was lost while it did. Raft stores the term
// 1 first and the configuration then, and takes a node that has a term for part of a group. Term 1 without an
// entry and without a vote is nothing else: a group's first election makes the term 2.
func forgetHalfABootstrap(log *raftlog.Log) error {
	term, err := log.GetUint64([]byte(keyCurrentTerm))
	if errors.Is(err, raftlog.ErrNotFound) || err == nil && term != 1 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := log.GetUint64([]byte(keyVoteTerm)); !errors.Is(err, raftlog.ErrNotFound) {
		return err
	}
	return log.SetUint64([]byte(keyCurrentTerm), 0)
}

// raiseTerm sees to it that the node is not in a term before that of what it
// has applied. Where it was, its vote of that term is gone too: it counts as
// given to itself, so that no other gets it a second time.
func raiseTerm(log *raftlog.Log, term uint64, address string) error {
	current, err := log.GetUint64([]byte(keyCurrentTerm))
	if errors.Is(err, raftlog.ErrNotFound) {
		current, err = 0, nil
	}
	if err != nil || current >= term {
		return err
	}
	if err := log.Set([]byte(keyVoteCandidate), []byte(address)); err != nil {
		return err
	}
	if err := log.SetUint64([]byte(keyVoteTerm), term); err != nil {
		return err
	}
	return log.SetUint64([]byte(keyCurrentTerm), term)
}

package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage"
)

// maxTxnBytes is how much one batch of the state may hold before it is
// committed and another begun: 512 entries that commit together could
// otherwise fill several memtables at once.
const maxTxnBytes = 4 << 20

// outcome is what the FSM answers for one entry: a result for each of its
// commands, or why none is known.
type outcome struct {
	results []result
	err     error
	began   time.Time // when the batch was handed over, all of it committed
}

type result struct {
	value any
	err   error
}

// fsm applies committed entries to the State. Raft calls it from one goroutine.
type fsm struct {
	state   *storage.State
	machine Machine
	store   *snapshotStore
	metrics *metrics
	fail    func(error)
	applied progress
	broken  error // after it nothing is applied any more
}

var _ raft.BatchingFSM = (*fsm)(nil)

// Apply implements raft.FSM.
func (f *fsm) Apply(entry *raft.Log) any { return f.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch implements raft.BatchingFSM: entries at or below the state's
// position are skipped, the others are committed with their position.
func (f *fsm) ApplyBatch(entries []*raft.Log) []any {
	began := time.Now()
	out := make([]any, len(entries))
	for from := 0; from < len(entries); {
		n, err := f.applySome(entries[from:], out[from:], began)
		if err != nil {
			f.refuse(out[from:], err)
			break
		}
		from += n
	}
	f.metrics.apply.Observe(time.Since(began).Seconds())
	return out
}

// refuse answers entries that were not, or maybe not, applied. The node has
// failed: what comes later must not be applied over the hole.
func (f *fsm) refuse(out []any, err error) {
	f.broken = err
	f.fail(err)
	for i := range out {
		out[i] = outcome{err: err}
	}
}

// applySome applies entries up to about maxTxnBytes as one batch of the state
// and returns how many.
func (f *fsm) applySome(entries []*raft.Log, out []any, began time.Time) (int, error) {
	if f.broken != nil {
		return 0, f.broken
	}
	tx := f.state.Begin()
	defer tx.Discard()
	p := f.state.Position()
	n, commands := 0, 0
	for n < len(entries) && (n == 0 || tx.Size() < maxTxnBytes) {
		entry := entries[n]
		if entry.Index > p.Index {
			p.Index, p.Term = entry.Index, entry.Term
			o, err := f.applyEntry(tx, entry, &p)
			if err != nil {
				return 0, fmt.Errorf("apply entry %d: %w", entry.Index, err)
			}
			o.began = began
			out[n] = o
			commands += len(o.results)
		} else {
			out[n] = outcome{err: ErrLost} // known only to whoever proposed it in an earlier life
		}
		n++
	}
	tx.SetPosition(p)
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("apply entries up to %d: %w", p.Index, err)
	}
	f.metrics.commands.Add(float64(commands))
	f.applied.reach(p.Index)
	return n, nil
}

func (f *fsm) applyEntry(tx *storage.Txn, entry *raft.Log, p *storage.Position) (outcome, error) {
	switch entry.Type {
	case raft.LogConfiguration:
		p.Configuration, p.ConfigurationIndex = entry.Data, entry.Index
		return outcome{}, nil
	case raft.LogCommand:
	default:
		return outcome{}, nil
	}
	commands, err := decodeCommands(entry.Data)
	if err != nil {
		return outcome{}, err
	}
	results := make([]result, len(commands))
	for i, c := range commands {
		level, err := f.machine.Level(c)
		if err != nil {
			return outcome{}, err
		}
		tx.Reach(level)
		tx.Next()
		value, err := f.machine.Apply(tx, c)
		if err != nil {
			tx.Rollback()
		}
		results[i] = result{value, err}
	}
	return outcome{results: results}, nil
}

// Snapshot implements raft.FSM. What it returns marks the state.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	return mark{generation: f.state.Generation()}, nil
}

// Restore implements raft.FSM: the reader names a state that was received.
func (f *fsm) Restore(from io.ReadCloser) error {
	id, err := io.ReadAll(io.LimitReader(from, maxIDBytes))
	if err != nil {
		return fmt.Errorf("restore a state: %w", err)
	}
	p, err := f.store.install(string(id))
	if errors.Is(err, storage.ErrNewer) { // it would be sent again for ever
		f.broken = err
		f.fail(err)
	}
	if err != nil {
		return err
	}
	f.applied.reach(p.Index)
	return nil
}

// progress lets others wait until an index is reached.
type progress struct {
	mu      sync.Mutex
	index   uint64
	changed chan struct{} // nil while nobody waits
}

func (p *progress) reach(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = max(p.index, index)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) wait(ctx context.Context, stopped <-chan struct{}, index uint64) error {
	for {
		p.mu.Lock()
		if p.index >= index {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-stopped:
			return ErrStopped
		}
	}
}

// mark is a local snapshot: a note in the state that the log up to there may go.
type mark struct{ generation string }

var _ raft.FSMSnapshot = mark{}

// Persist implements raft.FSMSnapshot. It may run beside ApplyBatch and Restore.
func (m mark) Persist(to raft.SnapshotSink) error {
	s, ok := to.(*sink)
	if !ok {
		return errors.New("consensus: a mark was sent to a foreign snapshot store")
	}
	return s.mark(m.generation)
}

// Release implements raft.FSMSnapshot.
func (m mark) Release() {}

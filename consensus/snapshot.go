package consensus

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/consensus/stream"
	"github.com/legate-project/legate/storage"
)

// stateID names the state itself among Raft's snapshots; others are received.
const stateID = "state"

// maxIDBytes bounds the ID of a snapshot.
const maxIDBytes = 256

// snapshotStore lets Raft see the State as its one snapshot. Taking it writes
// a mark; sending it makes a checkpoint of the moment; receiving one writes it
// beside and leaves it to the FSM to make it current.
type snapshotStore struct {
	state   *storage.State
	journal *journal
	metrics *metrics

	mu       sync.Mutex
	received map[string]*sink // whole, not installed yet
}

var _ raft.SnapshotStore = (*snapshotStore)(nil)

func newSnapshotStore(state *storage.State, j *journal, m *metrics) *snapshotStore {
	return &snapshotStore{state: state, journal: j, metrics: m, received: map[string]*sink{}}
}

// start returns where Raft continues: what is applied, or the mark where only
// entries without commands lie between.
func start(state *storage.State) storage.Position {
	p, m := state.Position(), state.Marked()
	if m.Index > p.Index {
		return m
	}
	return p
}

func metaOf(id string, p storage.Position) *raft.SnapshotMeta {
	meta := &raft.SnapshotMeta{
		Version: raft.SnapshotVersionMax, ID: id, Index: p.Index, Term: p.Term,
		ConfigurationIndex: p.ConfigurationIndex,
	}
	if len(p.Configuration) > 0 {
		meta.Configuration = raft.DecodeConfiguration(p.Configuration)
	}
	return meta
}

// List implements raft.SnapshotStore.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	p := start(s.state)
	if p.Index == 0 {
		return nil, nil
	}
	return []*raft.SnapshotMeta{metaOf(stateID, p)}, nil
}

// Open implements raft.SnapshotStore: a checkpoint of this moment, or for the
// ID of a received state the word for Restore that says which.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	in, ok := s.received[id]
	s.mu.Unlock()
	if ok {
		meta := metaOf(id, in.position)
		meta.Size = int64(len(id))
		return meta, io.NopCloser(strings.NewReader(id)), nil
	}
	began := time.Now()
	unpin := s.journal.pin(s.state.Position().Index)
	out, p, err := s.checkpoint()
	if err != nil {
		unpin()
		return nil, nil, fmt.Errorf("open the state for sending: %w", err)
	}
	out.OnClose(unpin)
	s.metrics.checkpoint.Observe(time.Since(began).Seconds())
	meta := metaOf(stateID, p)
	meta.Size = out.Size()
	return meta, out, nil
}

func (s *snapshotStore) checkpoint() (*stream.Sender, storage.Position, error) {
	dir := s.state.Scratch("send")
	p, err := s.state.Checkpoint(dir)
	if err != nil {
		return nil, p, err
	}
	out, err := stream.NewSender(s.state.FS(), dir)
	if err != nil {
		_ = s.state.FS().RemoveAll(dir)
		return nil, p, err
	}
	return out, p, nil
}

// Create implements raft.SnapshotStore: for a mark as well as for a state that
// comes in; which of them shows when it is used.
func (s *snapshotStore) Create(_ raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	p := storage.Position{
		Index: index, Term: term,
		Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: configurationIndex,
	}
	return &sink{store: s, id: stateID, position: p}, nil
}

// install makes a received state current.
func (s *snapshotStore) install(id string) (storage.Position, error) {
	s.mu.Lock()
	in, ok := s.received[id]
	delete(s.received, id)
	s.mu.Unlock()
	if !ok {
		return storage.Position{}, fmt.Errorf("install the state %q: it was not received", id)
	}
	if err := s.state.Replace(in.dir, in.position); err != nil {
		_ = s.state.FS().RemoveAll(in.dir)
		return storage.Position{}, fmt.Errorf("install a received state: %w", err)
	}
	s.metrics.installed.Inc()
	return in.position, nil
}

// sink takes a mark or a stream.
type sink struct {
	store    *snapshotStore
	id       string
	position storage.Position
	dir      string
	in       *stream.Receiver // nil until the first Write
}

var _ raft.SnapshotSink = (*sink)(nil)

// ID implements raft.SnapshotSink.
func (s *sink) ID() string { return s.id }

// mark notes durably that the log up to the position is not needed any more.
func (s *sink) mark(generation string) error {
	began := time.Now()
	if err := s.store.state.Mark(generation, s.position); err != nil {
		return err
	}
	s.store.metrics.mark.Observe(time.Since(began).Seconds())
	return nil
}

// Write implements raft.SnapshotSink: the next bytes of an incoming state.
func (s *sink) Write(p []byte) (int, error) {
	if s.in == nil {
		s.dir = s.store.state.Scratch("receive")
		in, err := stream.NewReceiver(s.store.state.FS(), s.dir)
		if err != nil {
			return 0, err
		}
		s.in, s.id = in, s.dir
	}
	return s.in.Write(p)
}

// Close implements raft.SnapshotSink: the stream must be whole and open as a
// state. Until it is restored it changes nothing.
func (s *sink) Close() error {
	if s.in == nil {
		return nil
	}
	err := s.in.Finish()
	if err == nil {
		_, err = s.store.state.Inspect(s.dir)
	}
	if err != nil {
		_ = s.in.Cancel()
		return err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.received[s.id] = s
	return nil
}

// Cancel implements raft.SnapshotSink.
func (s *sink) Cancel() error {
	if s.in == nil {
		return nil
	}
	return s.in.Cancel()
}

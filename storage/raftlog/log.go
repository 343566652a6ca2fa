// Package raftlog is Raft's log and its stable store, in a Pebble instance of
// their own.
//
// It promises that what a method acknowledged is on disk, that an append is one
// synced batch, and that the log never has a gap. A Log whose write-ahead log is
// damaged before its last record is refused (engine.ErrCorrupt), never opened in
// part; a damaged last record cannot be told from a write that a power loss cut
// off. It does not know what entries mean and removes none by itself.
package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/engine/damage"
)

// Errors of the Log.
var (
	// ErrNotFound is returned by Get and GetUint64 for a key never set. Raft
	// compares its text, so that is fixed.
	ErrNotFound = errors.New("not found")
	// ErrGap is returned for an append or a removal that would leave a hole.
	ErrGap = errors.New("storage: the log would have a gap")
)

// The key space of the log, by first byte.
const (
	spaceEntry  = 'l' // l, index (8 bytes)
	spaceLogTop = 'm' // first key above the entries
	spaceStable = 's' // s, name
)

// Log memory and layout: entries live in the memtable until they are
// truncated or flushed once; a large memtable keeps most from being compacted.
const (
	logMemTables    = 4
	logL0StopWrites = 1000
)

// Log is Raft's log and stable store. What a method acknowledged is on disk.
// Its methods are safe for concurrent use; appends and removals are Raft's,
// one after the other.
type Log struct {
	engine  *engine.Engine
	series  *engine.Metrics
	metrics *logMetrics

	change sync.Mutex // held while the log changes
	mu     sync.RWMutex
	first  uint64 // 0 when empty
	last   uint64
	tail   tail
}

var (
	_ raft.LogStore          = (*Log)(nil)
	_ raft.StableStore       = (*Log)(nil)
	_ raft.MonotonicLogStore = (*Log)(nil)
)

// tailCacheBytes bounds the entries that are kept decoded in memory. It covers
// what replication and apply read again within seconds: 16 MiB are about 30,000
// entries of a busy datacenter.
const tailCacheBytes = 16 << 20

// Open opens the log in opts.Dir or creates it.
func Open(opts engine.Options) (*Log, error) { return openCaching(opts, tailCacheBytes) }

func openCaching(opts engine.Options, cacheBytes int64) (*Log, error) {
	opts, err := opts.WithDefaults("log")
	if err != nil {
		return nil, err
	}
	em, err := engine.NewMetrics(opts.Registerer, "log")
	if err != nil {
		return nil, err
	}
	l := &Log{series: em, tail: tail{limit: cacheBytes}}
	if l.metrics, err = newLogMetrics(em, l); err != nil {
		return nil, err
	}
	if err := em.Register(engine.SizeGauge("log", l.diskBytes)); err != nil {
		return nil, err
	}
	if err := l.open(opts); err != nil {
		em.Unregister()
		return nil, fmt.Errorf("open the log in %s: %w", opts.Dir, err)
	}
	return l, nil
}

func (l *Log) open(opts engine.Options) error {
	if err := engine.MakeDir(opts.FS, opts.Dir); err != nil {
		return err
	}
	if err := damage.WAL(opts.FS, opts.Dir); err != nil {
		return err
	}
	po := &pebble.Options{
		FS: opts.FS, Cache: opts.Cache,
		MemTableSize: engine.MemTable, MemTableStopWritesThreshold: logMemTables,
		L0StopWritesThreshold: logL0StopWrites,
	}
	po.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	e, err := engine.Open(opts.Dir, po, engine.NewFault(opts.Log, opts.OnFatal), l.series)
	if err != nil {
		return err
	}
	first, last, err := readBounds(e.DB)
	if err != nil {
		return errors.Join(err, e.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.engine, l.first, l.last = e, first, last
	return nil
}

// readBounds finds the first and the last entry. The first is stored: looking
// for it would step over everything that was ever removed before it.
func readBounds(db *pebble.DB) (first, last uint64, err error) {
	lower := entryKey(0)
	if row, closer, err := db.Get(firstKey()); err == nil {
		if len(row) != 8 {
			return 0, 0, errors.Join(fmt.Errorf("the first index: %w", engine.ErrCorrupt), closer.Close())
		}
		lower = entryKey(binary.BigEndian.Uint64(row))
		if err := closer.Close(); err != nil {
			return 0, 0, err
		}
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return 0, 0, err
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: []byte{spaceLogTop}})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.First() {
		first = binary.BigEndian.Uint64(it.Key()[1:])
	}
	if it.Last() {
		last = binary.BigEndian.Uint64(it.Key()[1:])
	}
	return first, last, it.Error()
}

func firstKey() []byte { return []byte{spaceLogTop, 'f'} }

func entryKey(index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceEntry}, index)
}

func stableKey(name []byte) []byte { return append([]byte{spaceStable}, name...) }

func (l *Log) bounds() (first, last uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, l.last
}

// FirstIndex returns the index of the oldest entry, 0 when the log is empty.
func (l *Log) FirstIndex() (uint64, error) { first, _ := l.bounds(); return first, nil }

// LastIndex returns the index of the newest entry, 0 when the log is empty.
func (l *Log) LastIndex() (uint64, error) { _, last := l.bounds(); return last, nil }

// IsMonotonic tells Raft that the log has no holes, so that it clears the log
// after a snapshot was installed.
func (l *Log) IsMonotonic() bool { return true }

// GetLog reads one entry; raft.ErrLogNotFound when it is not there. Its Data
// and Extensions are shared: they are not to be changed.
func (l *Log) GetLog(index uint64, out *raft.Log) error {
	l.mu.RLock()
	inside := index != 0 && index >= l.first && index <= l.last
	cached := inside && l.tail.get(index, out)
	l.mu.RUnlock()
	if cached {
		return nil
	}
	if !inside {
		return raft.ErrLogNotFound
	}
	l.metrics.cacheMiss.Inc()
	row, closer, err := l.engine.DB.Get(entryKey(index))
	if errors.Is(err, pebble.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	if err != nil {
		return fmt.Errorf("read entry %d of the log: %w", index, err)
	}
	err = decodeEntry(index, row, out)
	return errors.Join(err, closer.Close())
}

// StoreLog appends one entry.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries with one sync. They must follow the newest entry
// without a gap; an empty log may begin anywhere. An error other than ErrGap
// means that they may or may not be there after a restart.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 0 {
		return nil
	}
	l.change.Lock()
	defer l.change.Unlock()
	_, last := l.bounds()
	b, err := l.appendBatch(last, entries)
	if err != nil {
		return fmt.Errorf("append entries %d to %d: %w", entries[0].Index, entries[len(entries)-1].Index, err)
	}
	began := time.Now()
	if err := l.engine.Write(b, true); err != nil {
		return fmt.Errorf("append entries %d to %d: %w", entries[0].Index, entries[len(entries)-1].Index, err)
	}
	l.metrics.fsync.Observe(time.Since(began).Seconds())
	l.metrics.batch.Observe(float64(len(entries)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == 0 {
		l.first = entries[0].Index
	}
	l.last = entries[len(entries)-1].Index
	l.tail.append(entries)
	l.metrics.cacheBytes.Set(float64(l.tail.bytes))
	return nil
}

func (l *Log) appendBatch(last uint64, entries []*raft.Log) (*pebble.Batch, error) {
	size := 64
	for _, e := range entries {
		size += entrySize(e) + 24
	}
	b := l.engine.DB.NewBatchWithSize(size)
	if last == 0 {
		first := binary.BigEndian.AppendUint64(nil, entries[0].Index)
		if err := b.Set(firstKey(), first, nil); err != nil {
			return nil, err
		}
		last = entries[0].Index - 1
	}
	for _, e := range entries {
		if last++; e.Index != last || e.Index == 0 {
			return nil, fmt.Errorf("%w: entry %d where %d follows", ErrGap, e.Index, last)
		}
		op := b.SetDeferred(9, entrySize(e))
		op.Key[0] = spaceEntry
		binary.BigEndian.PutUint64(op.Key[1:], e.Index)
		encodeEntry(op.Value, e)
		if err := op.Finish(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// DeleteRange removes the entries from low to high, both included, durably:
// the oldest ones, the newest ones, or all. Indexes outside the log are ignored.
func (l *Log) DeleteRange(low, high uint64) error {
	l.change.Lock()
	defer l.change.Unlock()
	first, last := l.bounds()
	low, high = max(low, first), min(high, last)
	if first == 0 || low > high {
		return nil
	}
	if low > first && high < last {
		return fmt.Errorf("remove entries %d to %d of %d to %d: %w", low, high, first, last, ErrGap)
	}
	b := l.engine.DB.NewBatch()
	err := b.DeleteRange(entryKey(low), entryKey(high+1), nil)
	switch {
	case low == first && high == last:
		first, last = 0, 0
		err = errors.Join(err, b.Delete(firstKey(), nil))
	case low == first:
		first = high + 1
		err = errors.Join(err, b.Set(firstKey(), binary.BigEndian.AppendUint64(nil, first), nil))
	default:
		last = low - 1
	}
	if err == nil {
		err = l.engine.Write(b, true)
	}
	if err != nil {
		return fmt.Errorf("remove entries %d to %d: %w", low, high, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.last = first, last
	l.tail.remove(low, high)
	l.metrics.cacheBytes.Set(float64(l.tail.bytes))
	return nil
}

// Set durably stores a value of Raft under key.
func (l *Log) Set(key, value []byte) error {
	b := l.engine.DB.NewBatch()
	err := b.Set(stableKey(key), value, nil)
	if err == nil {
		err = l.engine.Write(b, true)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	return nil
}

// Get returns the value under key, or ErrNotFound itself.
func (l *Log) Get(key []byte) ([]byte, error) {
	row, closer, err := l.engine.DB.Get(stableKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	value := append([]byte{}, row...)
	return value, closer.Close()
}

// SetUint64 is Set for a number.
func (l *Log) SetUint64(key []byte, value uint64) error {
	return l.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 is Get for a number.
func (l *Log) GetUint64(key []byte) (uint64, error) {
	value, err := l.Get(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, fmt.Errorf("read %s: %d bytes are not a number: %w", key, len(value), engine.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(value), nil
}

// Failed is closed when the disk has failed; Err then says why.
func (l *Log) Failed() <-chan struct{} { return l.engine.Failed() }

// Err is nil, or wraps ErrFailed.
func (l *Log) Err() error { return l.engine.Err() }

func (l *Log) diskBytes() float64 { return float64(l.engine.DB.Metrics().DiskSpaceUsage()) }

// Close ends the log. Nothing else may be called after it.
func (l *Log) Close() error {
	l.series.Unregister()
	return l.engine.Close()
}

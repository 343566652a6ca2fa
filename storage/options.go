package storage

import (
	"errors"

	"github.com/legate-project/legate/storage/engine"
	"github.com/legate-project/legate/storage/wake"
)

// Errors that callers tell apart.
var (
	// ErrFailed wraps the first failure of the disk; every later write returns it.
	ErrFailed = engine.ErrFailed
	// ErrClosed is returned by everything after Close.
	ErrClosed = engine.ErrClosed
	// ErrCorrupt wraps what cannot be decoded.
	ErrCorrupt = engine.ErrCorrupt
	// ErrReplaced is returned by Mark when the state that it speaks of was
	// replaced in the meantime.
	ErrReplaced = errors.New("storage: the state was replaced")
	// ErrTooManyWaiters is returned by Block when MaxWaiters queries wait.
	ErrTooManyWaiters = wake.ErrTooMany
)

// DefaultMemory is a cache size that a Raft log and a State do well with, in
// bytes: up to 64 MiB for their memtables and 32 MiB or more for blocks.
const DefaultMemory = 4*engine.MemTable + 32<<20

// Options say where the State lives.
type Options = engine.Options

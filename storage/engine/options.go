package engine

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/storage/engine/damage"
)

// Errors that callers tell apart.
var (
	// ErrFailed wraps the first failure of the disk; every later write returns it.
	ErrFailed = errors.New("storage: the disk has failed")
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("storage: closed")
	// ErrCorrupt wraps what cannot be decoded.
	ErrCorrupt = damage.ErrCorrupt
)

// MemTable is the size of an instance's memtable, in bytes. 16 MiB hold some
// seconds of writes.
const MemTable = 16 << 20

// Options say where an instance lives. The zero value of a field means what
// its comment says.
type Options struct {
	// Dir is the directory of this instance alone; it is created. Required.
	Dir string
	// FS is the file system; nil is the operating system's.
	FS vfs.FS
	// Cache is the block cache, shared between instances; nil gives this
	// instance a small one of its own. Memtables take their memory out of it
	// (16 MiB for each instance, double while one is flushed): a cache that is
	// not larger than that keeps no block at all. The caller keeps its reference.
	Cache *pebble.Cache
	// Log gets what is worth knowing; nil discards it.
	Log *slog.Logger
	// Registerer gets the metrics; nil means none are exported. They are
	// unregistered by Close.
	Registerer prometheus.Registerer
	// OnFatal is called once, with the first failure of the disk. Locks of the
	// failed instance may be held: it must return at once and must not call
	// this package. After it the directory is only good for another process.
	OnFatal func(error)
}

// WithDefaults fills in what was left out.
func (o Options) WithDefaults(component string) (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("storage: %s: Options.Dir is empty", component)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	o.FS = orderedFS{o.FS}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("component", "storage", "db", component)
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	return o, nil
}

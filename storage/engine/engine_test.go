package engine

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A disk that hangs: the write returns in the end, as failed.
func TestHungDiskFailsTheWrite(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var hung atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hung.Load() && op.Kind == errorfs.OpFileSync || hung.Load() && op.Kind == errorfs.OpFileSyncData {
			<-release
		}
		return nil
	}))
	o, err := Options{Dir: "db", FS: fs}.WithDefaults("test")
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMetrics(o.Registerer, "test")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(o.Dir, &pebble.Options{FS: o.FS}, NewFault(o.Log, nil), m)
	if err != nil {
		t.Fatal(err)
	}
	e.limit = 20 * time.Millisecond
	hung.Store(true)
	b := e.DB.NewBatch()
	if err := b.Set([]byte("k"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Write(b, true); !errors.Is(err, ErrFailed) {
		t.Errorf("write to a hung disk: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

package engine

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	dto "github.com/prometheus/client_model/go"
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

// A disk that stands still for a while is counted, and the write is not failed.
func TestASlowDiskIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if slow.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
				<-time.After(8 * time.Second)
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
		for _, now := range []bool{false, true} {
			slow.Store(now)
			b := e.DB.NewBatch()
			if err := b.Set([]byte("k"), nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := e.Write(b, true); err != nil {
				t.Fatal(err)
			}
			var got dto.Metric
			if err := m.diskSlow.Write(&got); err != nil || got.GetCounter().GetValue() > 0 != now {
				t.Errorf("slow: %v, and %v slow operations are counted (%v)", now, got.GetCounter().GetValue(), err)
			}
		}
		slow.Store(false)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

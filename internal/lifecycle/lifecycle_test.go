package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStopUndoesInReverseOrder(t *testing.T) {
	g := New("test")
	var order []string
	note := func(name string) func(context.Context) error {
		return func(context.Context) error { order = append(order, name); return nil }
	}
	g.OnStop("first", note("first"))
	g.Go("second", func(ctx context.Context) { <-ctx.Done(); order = append(order, "second") })
	g.OnStop("third", note("third"))
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"third", "second", "first"}; !slices.Equal(order, want) {
		t.Fatalf("order %v, want %v", order, want)
	}
}

func TestStopNamesWhoIsStuckAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New("test")
		release := make(chan struct{})
		closed := false
		g.OnStop("file", func(context.Context) error { closed = true; return nil })
		g.Go("mule", func(context.Context) { <-release })
		g.Spawn("stream", func(context.Context) { <-release })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Stop(ctx)
		if err == nil || !strings.Contains(err.Error(), "mule") || !strings.Contains(err.Error(), "stream (1)") {
			t.Fatalf("error %v does not name the stuck goroutines", err)
		}
		if !closed {
			t.Fatal("what came before the stuck goroutine was not stopped")
		}
		close(release)
		synctest.Wait()
	})
}

// A stop whose time was used up elsewhere accuses nobody who is done.
func TestStopOutOfTimeAccusesNobodyWhoIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			g := New("test")
			g.Spawn("done", func(context.Context) {})
			synctest.Wait()
			g.Spawn("ends when told", func(ctx context.Context) { <-ctx.Done() })
			g.Go("as well", func(ctx context.Context) { <-ctx.Done() })
			if err := g.Stop(over); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestNothingStartsAfterStop(t *testing.T) {
	g := New("test")
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := func(context.Context) { t.Error("ran after stop") }
	if err := g.Go("late", run); !errors.Is(err, ErrStopped) {
		t.Errorf("Go: %v", err)
	}
	if err := g.Spawn("late", run); !errors.Is(err, ErrStopped) {
		t.Errorf("Spawn: %v", err)
	}
	if err := g.OnStop("late", func(context.Context) error { return nil }); !errors.Is(err, ErrStopped) {
		t.Errorf("OnStop: %v", err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

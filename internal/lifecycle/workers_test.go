package lifecycle

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestWorkersRunTasksBesideEachOther(t *testing.T) {
	g := New("test")
	w := NewWorkers(g, "task", 4)
	const tasks = 100
	var all sync.WaitGroup
	all.Add(tasks)
	for range tasks { // each waits for all the others
		if err := w.Do(func(context.Context) { all.Done(); all.Wait() }); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	for range tasks { // on goroutines that wait, or on new ones
		done := make(chan struct{})
		if err := w.Do(func(context.Context) { close(done) }); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Errorf("idle workers hold up the stop: %v", err)
	}
	if err := w.Do(func(context.Context) { t.Error("ran after the stop") }); !errors.Is(err, ErrStopped) {
		t.Errorf("after the stop: %v", err)
	}
}

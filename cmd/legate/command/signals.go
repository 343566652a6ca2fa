package command

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/legate-project/legate/internal/lifecycle"
)

// SignalQueue holds signals that arrive while one is handled.
const SignalQueue = 4

// Interruptible returns a context that ends with the first SIGINT or SIGTERM.
func (c *Call) Interruptible() (ctx context.Context, stop func(), err error) {
	signals := make(chan os.Signal, SignalQueue)
	c.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	work := lifecycle.New("signals")
	err = work.Go("wait for a signal", func(owner context.Context) {
		select {
		case <-signals:
			cancel()
		case <-owner.Done():
		}
	})
	return ctx, func() {
		cancel()
		signal.Stop(signals)
		_ = work.Stop(context.Background()) // its only goroutine ends at once
	}, err
}

// Background runs do once and hands its result over.
func Background(work *lifecycle.Group, name string, do func(context.Context) error) (<-chan error, error) {
	result := make(chan error, 1)
	err := work.Spawn(name, func(ctx context.Context) { result <- do(ctx) })
	return result, err
}

package storage

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// fault keeps the first failure of a disk. From then on nothing that was
// written counts: whoever waits for a write gets the failure instead.
type fault struct {
	log     *slog.Logger
	onFatal func(error)

	once  sync.Once
	done  chan struct{} // closed once cause is set
	cause error
}

func newFault(log *slog.Logger, onFatal func(error)) *fault {
	return &fault{log: log, onFatal: onFatal, done: make(chan struct{})}
}

// fail records the first failure and tells of it. It returns what err does.
func (f *fault) fail(cause error) error {
	f.once.Do(func() {
		f.cause = fmt.Errorf("%w: %w", ErrFailed, cause)
		close(f.done)
		if f.onFatal != nil {
			f.onFatal(f.cause)
		}
	})
	return f.err()
}

// err is nil, or wraps ErrFailed.
func (f *fault) err() error {
	select {
	case <-f.done:
		return f.cause
	default:
		return nil
	}
}

// pebbleLogger hands Pebble's log to slog and its fatal errors to the fault.
type pebbleLogger struct{ *fault }

var _ pebble.Logger = pebbleLogger{}

// Infof implements pebble.Logger.
func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. Pebble does not expect it to return and
// may hold locks, so the goroutine is parked for ever. That is safe because
// nobody waits for such a goroutine alone: writes are made by the engine's own
// goroutines and their callers also wait for the fault.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	_ = l.fail(newFatalError(format, args))
	select {}
}

// fatalError keeps the error that Pebble formatted, so that a full disk can be
// told from a corrupt one.
type fatalError struct {
	text  string
	cause error
}

func newFatalError(format string, args []any) fatalError {
	e := fatalError{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			e.cause = err
		}
	}
	return e
}

// Error implements error.
func (e fatalError) Error() string { return e.text }

// Unwrap returns what was formatted, or nil.
func (e fatalError) Unwrap() error { return e.cause }

// recovered turns a panic of Pebble that carries an I/O error into the fault.
// Other panics are programmers' errors and go on.
func (f *fault) recovered(p any) error {
	err, ok := p.(error)
	if _, bug := p.(runtime.Error); !ok || bug {
		panic(p)
	}
	return f.fail(err)
}

package engine

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Fault keeps the first failure of a disk. From then on nothing that was
// written counts: whoever waits for a write gets the failure instead.
type Fault struct {
	log     *slog.Logger
	onFatal func(error)

	once  sync.Once
	done  chan struct{} // closed once cause is set
	cause error
}

// NewFault returns one that has not happened. onFatal is told of it, once; nil
// for nobody.
func NewFault(log *slog.Logger, onFatal func(error)) *Fault {
	return &Fault{log: log, onFatal: onFatal, done: make(chan struct{})}
}

// Fail records the first failure and tells of it. It returns what err does.
func (f *Fault) Fail(cause error) error {
	f.once.Do(func() {
		f.cause = fmt.Errorf("%w: %w", ErrFailed, cause)
		close(f.done)
		if f.onFatal != nil {
			f.onFatal(f.cause)
		}
	})
	return f.Err()
}

// Done is closed when the disk has failed.
func (f *Fault) Done() <-chan struct{} { return f.done }

// Logger is Pebble's log, whose fatal errors are failures of the disk.
func (f *Fault) Logger() pebble.Logger { return pebbleLogger{f} }

// Err is nil, or wraps ErrFailed.
func (f *Fault) Err() error {
	select {
	case <-f.done:
		return f.cause
	default:
		return nil
	}
}

// pebbleLogger hands Pebble's log to slog and its fatal errors to the fault.
type pebbleLogger struct{ *Fault }

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
	_ = l.Fail(newFatalError(format, args))
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
func (f *Fault) recovered(p any) error {
	err, ok := p.(error)
	if _, bug := p.(runtime.Error); !ok || bug {
		panic(p)
	}
	return f.Fail(err)
}

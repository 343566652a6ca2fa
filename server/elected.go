package server

import "sync"

// elected wakes the calls that wait for a leader. Whoever leads is told of by one
// goroutine at a time; calls wait in theirs. The zero value is ready.
type elected struct {
	mu  sync.Mutex
	now chan struct{} // closed with the next news; nil while nobody waits
}

// next is closed when it becomes known who leads.
func (e *elected) next() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil {
		e.now = make(chan struct{})
	}
	return e.now
}

// tell wakes who waits.
func (e *elected) tell() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now != nil {
		close(e.now)
		e.now = nil
	}
}

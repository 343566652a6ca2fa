//go:build linux

package proctest

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// maxLines bounds what is kept of a process's output.
const maxLines = 50_000

// Output collects what a process writes, line by line. It is safe for
// concurrent use.
type Output struct {
	mu      sync.Mutex
	dropped int // lines that are no longer kept
	lines   []string
	rest    []byte        // the line that has no end yet
	changed chan struct{} // closed and replaced when a line was added
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, p...)
	for {
		line, rest, ok := bytes.Cut(o.rest, []byte("\n"))
		if !ok {
			break
		}
		o.lines = append(o.lines, string(line))
		o.rest = rest
	}
	if over := len(o.lines) - maxLines; over > maxLines/10 {
		o.lines = append([]string(nil), o.lines[over:]...)
		o.dropped += over
	}
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

// Mark is the number of lines so far, for Wait.
func (o *Output) Mark() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped + len(o.lines)
}

// Since returns the lines from a mark on, as one text.
func (o *Output) Since(mark int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(append(append([]string(nil), o.from(mark)...), string(o.rest)), "\n")
}

// String returns everything that is kept.
func (o *Output) String() string { return o.Since(0) }

// Tail returns the last lines.
func (o *Output) Tail(lines int) string { return o.Since(o.Mark() - lines) }

func (o *Output) from(mark int) []string {
	return o.lines[min(max(mark-o.dropped, 0), len(o.lines)):]
}

// Wait returns the first line at or after a mark that contains all of texts;
// false if none came in time.
func (o *Output) Wait(mark int, timeout time.Duration, texts ...string) (string, bool) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		o.mu.Lock()
		lines, changed := o.from(mark), o.changed
		mark = o.dropped + len(o.lines)
		o.mu.Unlock()
		for _, line := range lines {
			if containsAll(line, texts) {
				return line, true
			}
		}
		select {
		case <-changed:
		case <-deadline.C:
			return "", false
		}
	}
}

func containsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}

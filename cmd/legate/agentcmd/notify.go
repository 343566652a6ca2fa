package agentcmd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/sdnotify"
)

const (
	// startPeriod is how often an agent that starts is asked whether it is ready.
	startPeriod = 250 * time.Millisecond
	// statusPeriod is the same later, unless the watchdog wants to hear more often.
	statusPeriod = 5 * time.Second
	// shortestPatience is how long loops are waited for where the watchdog is shorter, or
	// there is none.
	shortestPatience = time.Second
	// startExtension is how long a start may take from each word on: a datacenter
	// without a leader is waited for, a process that hangs is not.
	startExtension = 30 * time.Second
)

// supervisor tells the service manager how the agent fares: ready once it is, alive while
// its loops answer, and what it is about for people.
type supervisor struct {
	socket  *sdnotify.Socket // nil if nobody wants to hear
	process Process
	log     *slog.Logger
	group   *lifecycle.Group
	beats   chan chan struct{} // closed by the command's loop, to show that it goes round
	ending  atomic.Bool
	told    atomic.Bool // that the agent is ready
	status  string      // as told last
}

// newSupervisor begins to tell, if the environment says whom.
func newSupervisor(p Process, log *slog.Logger) (*supervisor, error) {
	socket, err := sdnotify.FromEnvironment()
	if err != nil {
		return nil, err
	}
	m := &supervisor{socket: socket, process: p, log: log, group: lifecycle.New("service manager"), beats: make(chan chan struct{})}
	if socket == nil {
		return m, nil
	}
	if err := os.Unsetenv(sdnotify.SocketVar); err != nil { // who the agent starts does not speak for it
		return nil, fmt.Errorf("keep %s from others: %w", sdnotify.SocketVar, err)
	}
	return m, m.group.Go("tell", m.run)
}

// close ends it.
func (m *supervisor) close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := m.group.Stop(ctx); err != nil {
		m.log.Warn("the service manager is still being told", "error", err)
	}
	_ = m.socket.Close() // nothing is left to be told
}

// period is how often it looks.
func (m *supervisor) period() time.Duration {
	p := statusPeriod
	if w := m.socket.Watchdog / 2; w > 0 {
		p = min(p, w)
	}
	if !m.told.Load() {
		p = min(p, startPeriod)
	}
	return p
}

func (m *supervisor) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		m.look(ctx)
		t.Reset(m.period())
	}
}

// look tells what is so now.
func (m *supervisor) look(ctx context.Context) {
	if m.ending.Load() { // which has its own bounds
		m.send(sdnotify.Alive)
		return
	}
	if err := m.alive(ctx); err != nil {
		if ctx.Err() == nil && !m.ending.Load() {
			m.log.Error("not telling the service manager that the agent is alive", "error", err)
		}
		return
	}
	state := m.process.Ready(ctx, nil)
	lines := []string{sdnotify.Alive}
	text := string(state.Status)
	if state.Reason != "" {
		text += ": " + strings.ToLower(state.Reason[:1]) + state.Reason[1:]
	}
	if text != m.status {
		lines = append(lines, sdnotify.Status(text))
		m.status = text
	}
	switch {
	case state.Ready() && !m.told.Load():
		lines = append(lines, sdnotify.Ready)
		m.told.Store(true)
	case !m.told.Load():
		lines = append(lines, sdnotify.Extend(startExtension))
	}
	if !m.ending.Load() {
		m.send(lines...)
	}
}

// alive waits for the command's loop and, once the agent is ready, for the agent's own.
func (m *supervisor) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(m.socket.Watchdog/2, shortestPatience))
	defer cancel()
	beat := make(chan struct{})
	select {
	case m.beats <- beat:
	case <-ctx.Done():
		return fmt.Errorf("the command's loop does not answer: %w", ctx.Err())
	}
	if !m.told.Load() {
		return nil
	}
	return m.process.Alive(ctx)
}

// send tells; a manager that does not listen is no reason to end.
func (m *supervisor) send(lines ...string) {
	if err := m.socket.Send(lines...); err != nil {
		m.log.Warn("the service manager does not listen", "error", err)
	}
}

// reloading says that a reload begins, and reloaded that it is over.
func (m *supervisor) reloading() {
	if m.socket == nil || !m.told.Load() {
		return
	}
	lines, err := sdnotify.Reloading()
	if err != nil {
		m.log.Warn("the service manager is not told of the reload", "error", err)
		return
	}
	m.send(lines)
}

func (m *supervisor) reloaded() {
	if m.told.Load() {
		m.send(sdnotify.Ready)
	}
}

// stopping says that the agent ends, why, and how long that may take.
func (m *supervisor) stopping(why string, most time.Duration) {
	if m.ending.Swap(true) {
		return
	}
	m.send(sdnotify.Stopping, sdnotify.Status(why), sdnotify.Extend(most))
}

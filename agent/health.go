package agent

import (
	"context"
	"time"

	"github.com/legate-project/legate/agent/ready"
)

// startPulse begins to ask who is to answer while the agent is well, and lets others ask
// whether it is ready.
func (a *Agent) startPulse() error {
	a.readiness.Begin(a.own)
	return a.group.Go("pulse", func(ctx context.Context) { a.pulse.Run(ctx, a.touch) })
}

// touch takes the locks that everything goes through, and waits for Raft's loop.
func (a *Agent) touch(ctx context.Context) error {
	a.lan.Members()
	a.local.Counts()
	if a.server == nil {
		return nil
	}
	if pool, err := a.wanPool(); err == nil {
		pool.Members()
	}
	return a.server.raft.Alive(ctx)
}

// Alive returns nil when the loops and locks that the agent's work goes through have
// answered, and an error when they have not before ctx ends. It says nothing of other
// agents: one that is cut off is alive.
func (a *Agent) Alive(ctx context.Context) error { return a.pulse.Wait(ctx) }

// Ready says whether the agent is one to send requests to: see ready.Readiness.State.
func (a *Agent) Ready(ctx context.Context, limit *time.Duration) ready.State {
	return a.readiness.State(ctx, limit)
}

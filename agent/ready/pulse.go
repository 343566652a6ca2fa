package ready

import (
	"context"
	"fmt"
)

// Pulse shows whether what an agent's work goes through still moves.
type Pulse chan chan struct{}

// NewPulse returns one that does not beat yet.
func NewPulse() Pulse { return make(Pulse) }

// Run beats when somebody waits, until ctx ends. Touch returns when the agent's loops and
// locks have answered, or an error when they cannot any more.
func (p Pulse) Run(ctx context.Context, touch func(context.Context) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case done := <-p:
			if touch(ctx) == nil {
				close(done)
			}
		}
	}
}

// Wait returns nil after a beat, and an error if there is none before ctx ends.
func (p Pulse) Wait(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case p <- done:
		select {
		case <-done:
			return nil
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	return fmt.Errorf("the agent's loops do not answer: %w", ctx.Err())
}

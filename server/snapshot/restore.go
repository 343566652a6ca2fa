package snapshot

import (
	"context"

	"github.com/google/uuid"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/storage"
)

// parts stage the rows of an archive by commands, of which several are on their way at a
// time. What is staged shows nowhere until finish. One goroutine calls its methods.
type parts struct {
	ctx   context.Context // ends with the first failure, which is its cause
	end   context.CancelCauseFunc
	self  op.Caller
	group *lifecycle.Group
	id    string
	begun bool
	next  uint64
	rows  []byte        // of the part that is being filled
	slots chan struct{} // one for each command on its way
}

func (s *Snapshots) newParts(ctx context.Context) *parts {
	p := &parts{self: s.leader.Self(), group: s.cfg.Group, id: uuid.NewString(), slots: make(chan struct{}, restoreInFlight)}
	p.ctx, p.end = context.WithCancelCause(ctx)
	return p
}

// add takes a row.
func (p *parts) add(r storage.Row) error {
	if len(p.rows) > 0 && len(p.rows)+len(r.Key)+len(r.Value) > restorePart {
		if err := p.send(); err != nil {
			return err
		}
	}
	if p.rows == nil {
		p.rows = make([]byte, 0, restorePart)
	}
	p.rows = state.AppendRow(p.rows, r.Key, r.Value)
	return nil
}

// begin drops what a restore before has left.
func (p *parts) begin() error {
	if p.begun {
		return nil
	}
	p.begun = true
	_, _, err := state.RestoreBegin.Call(p.ctx, p.self, op.Header{}, &state.RestoreBeginRequest{ID: p.id})
	return err
}

// send has a part replicated, and waits only for its turn.
func (p *parts) send() error {
	if err := p.begin(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	req := &state.RestoreRowsRequest{ID: p.id, Part: p.next, Rows: p.rows}
	p.rows = nil
	p.next++
	err := p.group.Spawn("restore part", func(context.Context) {
		defer func() { <-p.slots }()
		if _, _, err := state.RestoreRows.Call(p.ctx, p.self, op.Header{}, req); err != nil {
			p.end(err)
		}
	})
	if err != nil {
		<-p.slots
		return op.ErrStopping
	}
	return nil
}

// wait sends what is left, unless there is an error, and returns when nothing is on its
// way any more: with the error, or with what failed on the way.
func (p *parts) wait(err error) error {
	switch {
	case err != nil:
	case len(p.rows) > 0:
		err = p.send()
	default: // a snapshot may have no rows
		err = p.begin()
	}
	if err != nil {
		p.end(err)
	}
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	defer p.end(nil)
	if cause := context.Cause(p.ctx); cause != nil {
		return cause
	}
	return err
}

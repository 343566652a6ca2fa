package snapshot

import (
	"context"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/archive"
)

// parts gathers rows into commands, of which several are on their way at a time.
// One goroutine calls its methods.
type parts struct {
	ctx   context.Context // ends with the first failure, which is its cause
	end   context.CancelCauseFunc
	self  op.Caller
	group *lifecycle.Group
	id    string
	next  uint64
	rows  []byte
	slots chan struct{} // one for each command on its way
}

func (s *Snapshots) newParts(ctx context.Context, self op.Caller, id string) *parts {
	p := &parts{self: self, group: s.cfg.Group, id: id, slots: make(chan struct{}, restoreInFlight)}
	p.ctx, p.end = context.WithCancelCause(ctx)
	return p
}

// add takes a row of the archive.
func (p *parts) add(r archive.Row) error {
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

// send has what was gathered replicated, and waits only for its turn.
func (p *parts) send() error {
	if len(p.rows) == 0 {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	req := &state.RestoreRowsRequest{ID: p.id, Part: p.next, Rows: p.rows}
	p.next, p.rows = p.next+1, nil
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

// wait returns when nothing is on its way any more: with the error, if there is
// one, or what failed on the way.
func (p *parts) wait(err error) error {
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

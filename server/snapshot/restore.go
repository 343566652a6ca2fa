package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/storage"
)

// cut are the rows of an archive as the commands will carry them, in a file: they are
// unpacked once, when the archive is verified.
type cut struct {
	file  *os.File
	sizes []int // of the parts
	rows  []byte
}

func newCut(dir string) (*cut, error) {
	file, err := os.CreateTemp(dir, "restore-*.rows")
	if err != nil {
		return nil, fmt.Errorf("make room for a snapshot: %w", err)
	}
	return &cut{file: file, rows: make([]byte, 0, restorePart)}, nil
}

// again drops what was added.
func (c *cut) again() error {
	c.sizes, c.rows = nil, c.rows[:0]
	_, err := c.file.Seek(0, io.SeekStart)
	return err
}

// add takes a row.
func (c *cut) add(r storage.Row) error {
	if len(c.rows) > 0 && len(c.rows)+len(r.Key)+len(r.Value) > restorePart {
		if err := c.end(); err != nil {
			return err
		}
	}
	c.rows = state.AppendRow(c.rows, r.Key, r.Value)
	return nil
}

// end ends a part.
func (c *cut) end() error {
	if len(c.rows) == 0 {
		return nil
	}
	c.sizes = append(c.sizes, len(c.rows))
	_, err := c.file.Write(c.rows)
	c.rows = c.rows[:0]
	if err != nil {
		return fmt.Errorf("unpack a snapshot: %w", err)
	}
	return nil
}

// remove ends the file.
func (c *cut) remove() error { return errors.Join(c.file.Close(), os.Remove(c.file.Name())) }

// parts are commands, of which several are on their way at a time.
// One goroutine calls its methods.
type parts struct {
	ctx   context.Context // ends with the first failure, which is its cause
	end   context.CancelCauseFunc
	self  op.Caller
	group *lifecycle.Group
	id    string
	next  uint64
	slots chan struct{} // one for each command on its way
}

func (s *Snapshots) newParts(ctx context.Context, self op.Caller, id string) *parts {
	p := &parts{self: self, group: s.cfg.Group, id: id, slots: make(chan struct{}, restoreInFlight)}
	p.ctx, p.end = context.WithCancelCause(ctx)
	return p
}

// sendAll has all parts replicated.
func (p *parts) sendAll(c *cut) error {
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read a snapshot: %w", err)
	}
	for _, size := range c.sizes {
		rows := make([]byte, size)
		if _, err := io.ReadFull(c.file, rows); err != nil {
			return fmt.Errorf("read a snapshot: %w", err)
		}
		if err := p.send(rows); err != nil {
			return err
		}
	}
	return nil
}

// send has a part replicated, and waits only for its turn.
func (p *parts) send(rows []byte) error {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	req := &state.RestoreRowsRequest{ID: p.id, Part: p.next, Rows: rows}
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

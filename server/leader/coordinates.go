package leader

import (
	"context"
	"strings"
	"sync"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/state/coordinate"
)

// Bounds on coordinate updates: how many nodes' updates the leader keeps until
// the next write, and how many it writes with one command. Above the first,
// updates are dropped: each node sends another soon. Names are those of members,
// which gossip bounds further; without a bound, updates that are kept until the
// next write could fill the memory.
const (
	maxCoordinateName     = 512
	maxPendingCoordinates = 8192
	coordinateBatch       = 512
)

// coordinates gathers updates until they are written.
type coordinates struct {
	mu      sync.Mutex
	pending map[string]coordinate.Entry // by lower-cased node
}

// updateCoordinate takes one node's update.
func (d *Duties) updateCoordinate(_ context.Context, _ op.Header, e *coordinate.Entry) (*op.Empty, error) {
	if len(e.Node) > maxCoordinateName || len(e.Segment) > maxCoordinateName {
		return nil, op.Errorf(op.CodeInvalid, "coordinate of a node: its name or segment is longer than %d bytes", maxCoordinateName)
	}
	if err := rtt.Validate(e.Coord.Serf()); err != nil {
		return nil, op.Errorf(op.CodeInvalid, "coordinate of node %q: %v", e.Node, err)
	}
	d.coords.mu.Lock()
	defer d.coords.mu.Unlock()
	if d.coords.pending == nil {
		d.coords.pending = map[string]coordinate.Entry{}
	}
	name := strings.ToLower(e.Node)
	if _, ok := d.coords.pending[name]; !ok && len(d.coords.pending) >= maxPendingCoordinates {
		return nil, op.Errorf(op.CodeBusy, "leader keeps updates of %d nodes until the next write, its limit", maxPendingCoordinates)
	}
	d.coords.pending[name] = *e
	return nil, nil
}

func (c *coordinates) take(n int) coordinate.Entries {
	c.mu.Lock()
	defer c.mu.Unlock()
	var batch coordinate.Entries
	for name, e := range c.pending {
		if len(batch) == n {
			break
		}
		batch = append(batch, e)
		delete(c.pending, name)
	}
	return batch
}

// coordinateLoop writes what was gathered. It runs while this server leads.
func (d *Duties) coordinateLoop(ctx context.Context) {
	every(ctx, d.cfg.CoordinatePeriod, func() {
		for ctx.Err() == nil {
			batch := d.coords.take(coordinateBatch)
			if len(batch) == 0 {
				return
			}
			if _, _, err := coordinate.Batch.Call(ctx, d.Self(), op.Header{}, &batch); err != nil && ctx.Err() == nil {
				d.log.Warn("write coordinates", "nodes", len(batch), "error", err)
				return
			}
		}
	})
}

package leader

import (
	"context"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
)

// tombstoneLoop forgets deletions that are older than TombstoneTTL. It runs
// while this server leads; a new leader counts from its own start.
func (d *Duties) tombstoneLoop(ctx context.Context) {
	type mark struct {
		at    time.Time
		index uint64
	}
	var marks []mark // bounded by TombstoneTTL / TombstonePeriod
	var quiet uint64 // index after our own last command: nobody has written since
	every(ctx, d.cfg.TombstonePeriod, func() {
		now := time.Now()
		if index := d.cfg.State.Index(); index != quiet {
			marks = append(marks, mark{now, index})
			quiet = index
		}
		upTo := uint64(0)
		for len(marks) > 0 && now.Sub(marks[0].at) >= d.cfg.TombstoneTTL {
			upTo, marks = marks[0].index, marks[1:]
		}
		for upTo > 0 && ctx.Err() == nil {
			res, _, err := state.Collect.Call(ctx, d.Self(), op.Header{}, &state.CollectRequest{UpTo: upTo})
			if err != nil {
				d.log.Warn("collect tombstones", "error", err)
				return
			}
			if !res.More {
				if index := d.cfg.State.Index(); len(marks) == 0 && index == quiet+1 {
					quiet = index // an idle datacenter stays idle
				}
				return
			}
		}
	})
}

package leader

import (
	"cmp"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
)

const (
	// levelsKept is how long what the servers know is not looked at again.
	levelsKept = 500 * time.Millisecond
	// strangersCount is for how long of a reign a server of the group that gossip has not
	// seen is waited for. Later it counts for nothing: it stops by itself if it comes back
	// with a version that is too old.
	strangersCount = 10 * time.Second
)

// lowest is the server of the group with the lowest feature level, and until when that
// holds.
type lowest struct {
	level uint16
	name  string
	build string
	until time.Time
}

// known refuses the command that a server of the group does not know, which would have to
// stop.
func (d *Duties) known(o op.Operation) error {
	level := d.cfg.Machine.LevelOf(o)
	if level <= 1 {
		return nil
	}
	low, err := d.lowest()
	if err != nil || level <= low.level {
		return err
	}
	if low.build == "" {
		return op.Errorf(op.CodeNoLeader, "%s takes feature level %d, and it is not known yet which one server %s has: try again, it is waited for %s at most",
			o.OpName(), level, low.name, strangersCount)
	}
	return op.Errorf(op.CodeConflict, "%s takes feature level %d (legate %s), and server %s of datacenter %s has %d (%s): upgrade it, take feature_level out of its configuration, or remove it if it is gone",
		o.OpName(), level, version.OfLevel(level), low.name, d.cfg.Datacenter, low.level, low.build)
}

// lowest looks at all servers of the group, those that do not live included: they may be
// back as they were.
func (d *Duties) lowest() (*lowest, error) {
	now := time.Now()
	if low := d.low.Load(); low != nil && now.Before(low.until) {
		return low, nil
	}
	group, _, err := d.raft.Configuration()
	if err != nil {
		return nil, WireError(err)
	}
	shown := map[string]gossip.Server{}
	for _, srv := range d.lan.Servers() {
		old, twice := shown[srv.ID]
		lives, lived := srv.Status == gossip.Alive, old.Status == gossip.Alive
		if !twice || lives && !lived || lives == lived && srv.Level < old.Level { // of two with one ID nobody knows which it is
			shown[srv.ID] = srv
		}
	}
	low := &lowest{level: version.Level, until: now.Add(levelsKept)}
	for _, member := range group {
		srv, seen := shown[member.ID]
		switch {
		case !seen && d.reigned() < strangersCount:
			low.level, low.name, low.build, low.until = 1, member.ID, "", now
		case seen && srv.Level < low.level:
			low.level, low.name, low.build = srv.Level, srv.Name, "legate "+cmp.Or(srv.Version, "before "+version.OfLevel(srv.Level+1))
		}
	}
	d.low.Store(low)
	return low, nil
}

// reigned is for how long this server leads; 0 if it does not.
func (d *Duties) reigned() time.Duration {
	if r := d.reigning.Load(); r != nil {
		return time.Since(r.began)
	}
	return 0
}

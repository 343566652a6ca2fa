package leader

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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

// behind are the servers of the group with a feature level below this build's, and until
// when that holds.
type behind struct {
	servers []laggard
	until   time.Time
}

// laggard is a server that is behind; without a build gossip has not seen it.
type laggard struct {
	level uint16
	name  string
	build string
}

// known refuses the command that a server of the group does not know, which would have to
// stop. It names all such servers.
func (d *Duties) known(o op.Operation) error {
	level := d.cfg.Machine.LevelOf(o)
	if level <= 1 {
		return nil
	}
	late, err := d.behind()
	if err != nil {
		return err
	}
	var have []string
	unseen := ""
	for _, srv := range late.servers {
		switch {
		case srv.level >= level:
		case srv.build == "":
			unseen = srv.name
		default:
			have = append(have, fmt.Sprintf("%s has %d (%s)", srv.name, srv.level, srv.build))
		}
	}
	switch {
	case have != nil:
		return op.Errorf(op.CodeConflict, "%s takes feature level %d (legate %s), and of the servers of datacenter %s %s: upgrade what is older, take feature_level out of the configuration where it is held, or remove who is gone",
			o.OpName(), level, version.OfLevel(level), d.cfg.Datacenter, strings.Join(have, ", "))
	case unseen != "":
		return op.Errorf(op.CodeNoLeader, "%s takes feature level %d, and it is not known yet which one server %s has: try again, it is waited for %s at most",
			o.OpName(), level, unseen, strangersCount)
	}
	return nil
}

// level is the feature level that all servers of the group know. What was written already
// they know: who does not has stopped.
func (d *Duties) level() uint16 {
	written := d.cfg.State.Level()
	if written >= version.Level {
		return written
	}
	late, err := d.behind()
	if err != nil {
		return max(written, 1)
	}
	least := uint16(version.Level)
	for _, srv := range late.servers {
		least = min(least, srv.level)
	}
	return max(least, written)
}

// behind looks at all servers of the group, those that do not live included: they may be
// back as they were.
func (d *Duties) behind() (*behind, error) {
	now := time.Now()
	if late := d.late.Load(); late != nil && now.Before(late.until) {
		return late, nil
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
	late := &behind{until: now.Add(levelsKept)}
	for _, member := range group {
		srv, seen := shown[member.ID]
		switch {
		case !seen && d.reigned() < strangersCount:
			late.servers = append(late.servers, laggard{1, member.ID, ""})
			late.until = now
		case seen && srv.Level < version.Level:
			late.servers = append(late.servers, laggard{srv.Level, srv.Name, "legate " + cmp.Or(srv.Version, "before "+version.OfLevel(srv.Level+1))})
		}
	}
	slices.SortFunc(late.servers, func(a, b laggard) int { return strings.Compare(a.name, b.name) })
	d.late.Store(late)
	return late, nil
}

// reigned is for how long this server leads; 0 if it does not.
func (d *Duties) reigned() time.Duration {
	if r := d.reigning.Load(); r != nil {
		return time.Since(r.began)
	}
	return 0
}

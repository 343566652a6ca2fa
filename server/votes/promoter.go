package votes

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	state "github.com/legate-project/legate/state/autopilot"
)

// Times after which servers are taken for gone.
const (
	// forgottenAfter is how long a server without a vote must be dead before it is
	// removed: nobody waits for it, and one that only restarts keeps its place in the
	// catalog.
	forgottenAfter = 10 * time.Minute
	// unheardFor is how long the leader must not have heard a server that gossip does
	// not know: a leader that has just started has not met the others yet.
	unheardFor = time.Minute
)

// fewOdd is the least number of voters that survive the failure of one.
const fewOdd = 3

// facts is what Server.Ext has of a server beside what the library knows.
type facts struct {
	replica bool
	zone    string // "" for none
}

func factsOf(s *autopilot.ServerState) facts {
	f, _ := s.Server.Ext.(facts)
	return f
}

// promoter says who is to vote. It is a pure function of what it is given, and of the
// clock.
type promoter struct {
	now func() time.Time
}

var _ autopilot.Promoter = promoter{}

// GetServerExt implements autopilot.Promoter: what the delegate has found stays.
func (promoter) GetServerExt(_ *autopilot.Config, s *autopilot.ServerState) any { return s.Server.Ext }

// GetStateExt implements autopilot.Promoter.
func (promoter) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// IsPotentialVoter implements autopilot.Promoter.
func (promoter) IsPotentialVoter(t autopilot.NodeType) bool { return t != state.TypeReadReplica }

// GetNodeTypes implements autopilot.Promoter.
func (promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	c := count(s)
	for id, srv := range s.Servers {
		switch f := factsOf(srv); {
		case f.replica:
			types[id] = state.TypeReadReplica
		case f.zone == "":
			types[id] = autopilot.NodeVoter
		case !srv.HasVotingRights():
			types[id] = state.TypeZoneStandby
		case c.zones[f.zone].voters[0].Server.ID == id:
			types[id] = state.TypeZoneVoter
		default:
			types[id] = state.TypeZoneExtra
		}
	}
	return types
}

// zone is those servers of a redundancy zone that may vote.
type zone struct {
	voters  []*autopilot.ServerState // the leader first, then healthy ones
	standby []*autopilot.ServerState // those without a vote
}

// healthy is how many of its voters are.
func (z *zone) healthy() (n int) {
	for _, srv := range z.voters {
		if srv.Health.Healthy {
			n++
		}
	}
	return n
}

// census is who votes and who could.
type census struct {
	voters, healthy int // of all, replicas included
	zones           map[string]*zone
	names           []string                 // of zones, in order
	single          []*autopilot.ServerState // of no zone
	replicas        []*autopilot.ServerState // voters that must not be
	leader          *autopilot.ServerState
}

// count goes through the servers, in an order that does not depend on that of maps.
func count(s *autopilot.State) *census {
	c := &census{zones: map[string]*zone{}, leader: s.Servers[s.Leader]}
	for _, srv := range ordered(s) {
		votes := srv.HasVotingRights()
		if votes {
			c.voters++
			if srv.Health.Healthy {
				c.healthy++
			}
		}
		switch f := factsOf(srv); {
		case f.replica && votes:
			c.replicas = append(c.replicas, srv)
		case f.replica:
		case f.zone == "":
			c.single = append(c.single, srv)
		case votes:
			z := c.zone(f.zone)
			z.voters = append(z.voters, srv)
		default:
			z := c.zone(f.zone)
			z.standby = append(z.standby, srv)
		}
	}
	slices.Sort(c.names)
	return c
}

func (c *census) zone(name string) *zone {
	z := c.zones[name]
	if z == nil {
		z = &zone{}
		c.zones[name], c.names = z, append(c.names, name)
	}
	return z
}

// extra is how many healthy voters zones have beside their first one.
func (c *census) extra() (n int) {
	for _, z := range c.zones {
		n += max(z.healthy()-1, 0)
	}
	return n
}

// ordered lists servers: the leader, healthy ones, those that have been stable longest.
func ordered(s *autopilot.State) []*autopilot.ServerState {
	all := make([]*autopilot.ServerState, 0, len(s.Servers))
	for _, srv := range s.Servers {
		all = append(all, srv)
	}
	first := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case a:
			return -1
		}
		return 1
	}
	slices.SortFunc(all, func(a, b *autopilot.ServerState) int {
		return cmp.Or(first(a.State == autopilot.RaftLeader, b.State == autopilot.RaftLeader), first(a.Health.Healthy, b.Health.Healthy),
			a.Health.StableSince.Compare(b.Health.StableSince), cmp.Compare(a.Server.ID, b.Server.ID))
	})
	return all
}

// quorum is how many of n voters decide.
func quorum(n int) int { return n/2 + 1 }

// lasts reports whether a server has been healthy, or not, for a time. Only this leader's
// own time counts: who leads since a moment ago gives no votes and removes nobody.
func (p promoter) lasts(srv *autopilot.ServerState, healthy bool, least time.Duration) bool {
	return srv.Health.Healthy == healthy && p.now().Sub(srv.Health.StableSince) >= least
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter. A server gets a vote
// when it has been healthy for the time of the configuration; of a zone one does, and a
// second one when the first has been ill for as long.
func (p promoter) CalculatePromotionsAndDemotions(conf *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	c := count(s)
	var changes autopilot.RaftChanges
	promote := func(list []*autopilot.ServerState, most int) (given int) {
		for _, srv := range list {
			if given < most && !srv.HasVotingRights() && p.lasts(srv, true, conf.ServerStabilizationTime) && !slices.Contains(changes.Promotions, srv.Server.ID) {
				changes.Promotions = append(changes.Promotions, srv.Server.ID)
				given++
			}
		}
		return given
	}
	promote(c.single, len(c.single))
	lacking := 0 // zones that nobody votes for
	for _, name := range c.names {
		z := c.zones[name]
		gone := !slices.ContainsFunc(z.voters, func(srv *autopilot.ServerState) bool { return !p.lasts(srv, false, conf.ServerStabilizationTime) })
		if gone && promote(z.standby, 1) == 0 {
			lacking++
		}
	}
	need := lacking - c.extra()
	for _, name := range c.names { // others stand in for those
		if need > 0 {
			need -= promote(c.zones[name].standby, 1)
		}
	}
	if len(changes.Promotions) == 0 {
		takeBack(c, lacking, &changes)
	}
	slices.Sort(changes.Promotions)
	return changes
}

// takeBack takes one vote from a server that is not to have it: a replica, or one of
// several healthy ones of a zone, unless they stand in for one that lacks voters.
func takeBack(c *census, lacking int, changes *autopilot.RaftChanges) {
	for _, srv := range c.replicas {
		left := c.healthy
		if srv.Health.Healthy {
			left--
		}
		next := successor(c)
		switch {
		case next == "": // nobody else votes: that all are replicas is a mistake
			return
		case srv == c.leader:
			changes.Leader = next
		case left >= quorum(c.voters-1):
			changes.Demotions = append(changes.Demotions, srv.Server.ID)
			return
		}
	}
	left := c.healthy - 1
	harmless := left-quorum(c.voters-1) >= c.healthy-quorum(c.voters)
	if c.extra() <= lacking || !harmless && left < max(fewOdd, len(c.zones)+len(c.single)) {
		return
	}
	for _, name := range c.names {
		voters := c.zones[name].voters
		for i := len(voters) - 1; i > 0; i-- {
			if last := voters[i]; last.Health.Healthy {
				changes.Demotions = append(changes.Demotions, last.Server.ID)
				return
			}
		}
	}
}

// successor is who can lead in place of a leader that must not vote; "" for nobody.
func successor(c *census) raft.ServerID {
	can := func(list []*autopilot.ServerState) raft.ServerID {
		for _, srv := range list {
			if srv.HasVotingRights() && srv.Health.Healthy {
				return srv.Server.ID
			}
		}
		return ""
	}
	best := can(c.single)
	for _, z := range c.zones {
		if id := can(z.voters); id != "" && (best == "" || id < best) {
			best = id
		}
	}
	return best
}

// FilterFailedServerRemovals implements autopilot.Promoter. Of dead voters as many are
// removed as it takes to raise how many more may fail, so that a group of three with one
// dead stays as it is until another one votes: who comes back has its vote.
func (p promoter) FilterFailedServerRemovals(conf *autopilot.Config, s *autopilot.State, failed *autopilot.FailedServers) *autopilot.FailedServers {
	dead := func(id raft.ServerID, least time.Duration) bool {
		srv := s.Servers[id]
		return srv != nil && srv.State != autopilot.RaftLeader && p.lasts(srv, false, least)
	}
	unheard := func(id raft.ServerID, least time.Duration) bool {
		return dead(id, least) && s.Servers[id].Stats.LastContact >= unheardFor
	}
	failedFor := func(srv *autopilot.Server, least time.Duration) bool {
		return srv.NodeStatus == autopilot.NodeFailed && dead(srv.ID, least)
	}
	voters := 0
	for _, srv := range s.Servers {
		if srv.HasVotingRights() {
			voters++
		}
	}
	stable := conf.ServerStabilizationTime
	out := &autopilot.FailedServers{
		StaleVoters:     keep(failed.StaleVoters, func(id raft.ServerID) bool { return unheard(id, stable) }),
		FailedVoters:    keep(failed.FailedVoters, func(srv *autopilot.Server) bool { return failedFor(srv, stable) }),
		StaleNonVoters:  keep(failed.StaleNonVoters, func(id raft.ServerID) bool { return unheard(id, forgottenAfter) }),
		FailedNonVoters: keep(failed.FailedNonVoters, func(srv *autopilot.Server) bool { return failedFor(srv, forgottenAfter) }),
	}
	gone := removable(voters, len(out.StaleVoters)+len(out.FailedVoters), int(min(conf.MinQuorum, maxServers)))
	out.StaleVoters = out.StaleVoters[:min(gone, len(out.StaleVoters))]
	out.FailedVoters = out.FailedVoters[:min(gone-len(out.StaleVoters), len(out.FailedVoters))]
	return out
}

func keep[T any](list []T, these func(T) bool) (kept []T) {
	for _, one := range list {
		if these(one) {
			kept = append(kept, one)
		}
	}
	return kept
}

// removable is how many of the dead voters are to be removed: the fewest that make the
// quorum as small as it can become with at least a number of voters left.
func removable(voters, dead, leave int) int {
	best := 0
	for k := 1; k <= dead && voters-k >= max(leave, 1); k++ {
		if quorum(voters-k) < quorum(voters-best) {
			best = k
		}
	}
	return best
}

package votes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	state "github.com/legate-project/legate/state/autopilot"
)

// group makes a state of words such as "a leader", "b voter ill", separated by commas.
// Words: leader, voter or waits (no vote); ill (unhealthy), dead (failed in gossip, too),
// left, gone (gossip does not know it); replica; new (since 3 s, else for an hour);
// zone=NAME. Ten seconds are stable.
func group(t *testing.T, now time.Time, text string) *autopilot.State {
	t.Helper()
	s := &autopilot.State{Healthy: true, Servers: map[raft.ServerID]*autopilot.ServerState{}}
	for one := range strings.SplitSeq(text, ",") {
		words := strings.Fields(one)
		id := raft.ServerID(words[0])
		srv := &autopilot.ServerState{Server: autopilot.Server{ID: id, Name: words[0], NodeStatus: autopilot.NodeAlive},
			Health: autopilot.ServerHealth{Healthy: true, StableSince: now.Add(-time.Hour)}}
		var f facts
		for _, word := range words[1:] {
			switch word {
			case "leader":
				srv.State, s.Leader = autopilot.RaftLeader, id
			case "voter":
				srv.State = autopilot.RaftVoter
			case "waits":
				srv.State = autopilot.RaftNonVoter
			case "ill":
				srv.Health.Healthy = false
			case "dead":
				srv.Health.Healthy, srv.Server.NodeStatus = false, autopilot.NodeFailed
			case "left":
				srv.Health.Healthy, srv.Server.NodeStatus = false, autopilot.NodeLeft
			case "gone":
				srv.Health.Healthy, srv.Server.NodeStatus, srv.Stats.LastContact = false, autopilot.NodeLeft, time.Hour
			case "heard":
				srv.Stats.LastContact = time.Second
			case "new":
				srv.Health.StableSince = now.Add(-3 * time.Second)
			case "replica":
				f.replica = true
			default:
				zone, ok := strings.CutPrefix(word, "zone=")
				if !ok {
					t.Fatalf("what is %q?", word)
				}
				f.zone = zone
			}
		}
		srv.Server.Ext = f
		s.Servers[id] = srv
		if srv.HasVotingRights() {
			s.Voters = append(s.Voters, id)
		}
	}
	return s
}

func settings() *autopilot.Config {
	return &autopilot.Config{CleanupDeadServers: true, ServerStabilizationTime: 10 * time.Second}
}

func TestWhoGetsAVoteAndWhoLosesIt(t *testing.T) {
	const zones = "a leader zone=1, b voter zone=2, c voter zone=3, d waits zone=1, e waits zone=2, f waits zone=3"
	now := time.Now()
	for _, c := range []struct{ name, group, want string }{
		{"nothing to do", "a leader, b voter, c voter", ""},
		{"a new one is stable", "a leader, b voter, c voter, d waits", "+d"},
		{"a new one is not stable yet", "a leader, b voter, c voter, d waits new", ""},
		{"a new one is ill", "a leader, b voter, c voter, d waits ill", ""},
		{"several at once", "a leader, b waits, c waits", "+b +c"},
		{"a voter that is ill keeps its vote", "a leader, b voter ill, c voter dead", ""},

		{"a replica never votes", "a leader, b voter, c voter, r waits replica", ""},
		{"one that is a replica now", "a leader, b voter, c voter, d voter replica", "-d"},
		{"two that are replicas now", "a leader, b voter, c voter, d voter replica, e voter replica", "-d"},
		{"a replica without which nobody decides", "a leader, b voter replica, c voter dead, d voter dead, e voter replica", ""},
		{"a replica that leads", "a leader replica, b voter, c voter", "to b"},
		{"a replica that leads, and one", "a leader replica, b voter, c voter ill, d voter replica", "-d to b"},
		{"all are replicas now", "a leader replica, b voter replica, c voter replica", ""},
		{"all but a dead one are replicas now", "a leader replica, b voter replica, c voter replica, d voter dead", ""},
		{"a replica that leads alone", "a leader replica", ""},

		{"zones at rest", zones, ""},
		{"zones whose servers all vote", strings.ReplaceAll(zones, "waits", "voter"), "-d"},
		{"zones with one too many", strings.Replace(zones, "d waits", "d voter", 1), "-d"},
		{"the voter of a zone dies", strings.Replace(zones, "b voter", "b voter dead", 1), "+e"},
		{"it is ill for a moment", strings.Replace(zones, "b voter", "b voter ill new", 1), ""},
		{"the one that waits is not stable", strings.Replace(strings.Replace(zones, "b voter", "b voter dead", 1), "e waits", "e waits new", 1), "+d"},
		{"a zone dies", strings.Replace(strings.Replace(zones, "b voter", "b voter dead", 1), "e waits", "e waits dead", 1), "+d"},
		{"a zone died and another stands in", "a leader zone=1, b voter dead zone=2, c voter zone=3, d voter zone=1, e waits dead zone=2, f waits zone=3", ""},
		{"and the dead ones are gone", "a leader zone=1, c voter zone=3, d voter zone=1, f waits zone=3", ""},
		{"and come back", "a leader zone=1, b waits zone=2, c voter zone=3, d voter zone=1, e waits zone=2, f waits zone=3", "+b"},
		{"and vote", "a leader zone=1, b voter zone=2, c voter zone=3, d voter zone=1, e waits zone=2, f waits zone=3", "-d"},
		{"a replica of a zone", strings.Replace(strings.Replace(zones, "b voter", "b voter dead", 1), "e waits", "e waits replica", 1), "+d"},
		{"two zones of two keep three voters", "a leader zone=1, b voter zone=1, c voter zone=2, d voter zone=2", "-b"},
		{"two zones of two with three voters", "a leader zone=1, c voter zone=2, d voter zone=2, b waits zone=1", ""},
		{"who has no zone votes", "a leader zone=1, b voter zone=2, c voter zone=3, d waits zone=1, x waits", "+x"},
	} {
		changes := promoter{func() time.Time { return now }}.CalculatePromotionsAndDemotions(settings(), group(t, now, c.group))
		var got []string
		for _, id := range changes.Promotions {
			got = append(got, "+"+string(id))
		}
		for _, id := range changes.Demotions {
			got = append(got, "-"+string(id))
		}
		if changes.Leader != "" {
			got = append(got, "to "+string(changes.Leader))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s (%s): %q, want %q", c.name, c.group, text, c.want)
		}
	}
}

// Zones come to rest: what is promoted is not taken back in the next round.
func TestVotesInZonesComeToRest(t *testing.T) {
	now := time.Now()
	p := promoter{func() time.Time { return now }}
	for _, start := range []string{
		"a leader zone=1, b voter zone=1, c voter zone=2, d voter zone=2, e voter zone=3, f voter zone=3",
		"a leader zone=1, b waits zone=1, c waits zone=2, d waits zone=2, e waits zone=3",
		"a leader zone=1, b voter zone=1, c voter dead zone=2, d waits zone=3, e waits zone=3",
		"a leader zone=1, b voter zone=1, c voter zone=1, d waits zone=2, e waits ill zone=3",
		"a leader zone=1, b voter, c voter zone=1, d waits zone=2, e voter replica zone=2",
		"a leader zone=1, b waits zone=1, c waits zone=1",
	} {
		s := group(t, now, start)
		var said []string
		for range 12 {
			changes := p.CalculatePromotionsAndDemotions(settings(), s)
			if len(changes.Promotions)+len(changes.Demotions) == 0 {
				said = nil
				break
			}
			said = append(said, fmt.Sprintf("+%v -%v", changes.Promotions, changes.Demotions))
			for _, id := range changes.Promotions {
				s.Servers[id].State = autopilot.RaftVoter
			}
			for _, id := range changes.Demotions {
				s.Servers[id].State = autopilot.RaftNonVoter
			}
		}
		if said != nil {
			t.Errorf("%s: does not come to rest: %q", start, said)
		}
	}
}

func TestDeadServersAreRemovedWhereThatHelps(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name, group string
		leave       uint
		want        string
	}{
		{"one of three stays", "a leader, b voter, c voter dead", 0, ""},
		{"one of four goes", "a leader, b voter, c voter dead, d voter", 0, "c"},
		{"one of five stays", "a leader, b voter, c voter, d voter, e voter dead", 0, ""},
		{"two of five go", "a leader, b voter, c voter, d voter dead, e voter dead", 0, "d e"},
		{"of six with two dead one goes", "a leader, b voter, c voter, d voter, e voter dead, f voter dead", 0, "e"},
		{"three of seven: two go", "a leader, b voter, c voter, d voter, e voter dead, f voter dead, g voter dead", 0, "e f"},
		{"fewer than the least would be left", "a leader, b voter, c voter dead, d voter", 4, ""},
		{"as many as the least are left", "a leader, b voter, c voter dead, d voter", 3, "c"},
		{"two of five, of which four must stay", "a leader, b voter, c voter, d voter dead, e voter dead", 4, ""},
		{"one that is ill but lives", "a leader, b voter, c voter ill, d voter", 0, ""},
		{"one that has just died", "a leader, b voter, c voter dead new, d voter", 0, ""},
		{"one that left is removed by who follows gossip", "a leader, b voter, c voter left, d voter", 0, ""},
		{"one that gossip does not know", "a leader, b voter, c voter gone, d voter", 0, "c"},
		{"one of three that gossip does not know", "a leader, b voter, c voter gone", 0, ""},
		{"one that gossip does not know, and Raft does", "a leader, b voter, c voter gone heard, d voter", 0, ""},
		{"one that was never heard goes before one that failed", "a leader, b voter, c voter dead, d voter gone, e voter, f voter", 0, "d"},
		{"one without a vote", "a leader, b voter, c voter, d waits dead", 0, "d"},
		{"one without a vote that has just died", "a leader, b voter, c voter, d waits dead new", 0, ""},
		{"one without a vote that gossip does not know", "a leader, b voter, c voter, d waits gone", 0, "d"},
		{"a replica", "a leader, b voter, c voter, d waits dead replica", 0, "d"},
	} {
		s := group(t, now, c.group)
		failed := &autopilot.FailedServers{}
		for _, srv := range ordered(s) {
			known, votes := srv.Stats.LastContact == 0, srv.HasVotingRights()
			switch {
			case srv.Server.NodeStatus == autopilot.NodeAlive:
			case known && votes:
				failed.FailedVoters = append(failed.FailedVoters, &srv.Server)
			case known:
				failed.FailedNonVoters = append(failed.FailedNonVoters, &srv.Server)
			case votes:
				failed.StaleVoters = append(failed.StaleVoters, srv.Server.ID)
			default:
				failed.StaleNonVoters = append(failed.StaleNonVoters, srv.Server.ID)
			}
		}
		conf := settings()
		conf.MinQuorum = c.leave
		out := promoter{func() time.Time { return now }}.FilterFailedServerRemovals(conf, s, failed)
		var got []string
		for _, id := range slices.Concat(out.StaleVoters, out.StaleNonVoters) {
			got = append(got, string(id))
		}
		for _, srv := range slices.Concat(out.FailedVoters, out.FailedNonVoters) {
			got = append(got, srv.Name)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s (%s): %q, want %q", c.name, c.group, text, c.want)
		}
	}
}

// Whatever dies, what is removed never lowers how many more may fail, and one fewer would
// do less.
func TestRemovingNeverLowersTheTolerance(t *testing.T) {
	for voters := 1; voters <= 15; voters++ {
		for dead := 0; voters-dead >= quorum(voters); dead++ {
			tolerance := func(k int) int { return voters - dead - quorum(voters-k) }
			k := removable(voters, dead, 0)
			if k > dead || k > 0 && tolerance(k) <= tolerance(k-1) || tolerance(k) < tolerance(dead) {
				t.Errorf("%d of %d are dead: %d are removed", dead, voters, k)
			}
		}
	}
}

func TestWhatServersAreMeantFor(t *testing.T) {
	now := time.Now()
	s := group(t, now, "a leader zone=1, b voter zone=2, c voter zone=2, d waits zone=1, r waits replica zone=1, x voter, y waits")
	for id, typ := range (promoter{}).GetNodeTypes(settings(), s) {
		s.Servers[id].Server.NodeType = typ
		if potential := (promoter{}).IsPotentialVoter(typ); potential != (id != "r") {
			t.Errorf("%s may vote: %v", id, potential)
		}
	}
	s.FailureTolerance = 1
	got := shown(s)
	types := map[string]string{}
	for _, srv := range got.Servers {
		types[srv.ID] = srv.State + " " + srv.Type
	}
	want := map[string]string{"a": "leader zone-voter", "b": "voter zone-voter", "c": "voter zone-extra-voter", "d": "non-voter zone-standby",
		"r": "non-voter read-replica", "x": "voter voter", "y": "non-voter voter"}
	for id := range want {
		if types[id] != want[id] {
			t.Errorf("%s is %q, want %q", id, types[id], want[id])
		}
	}
	if got.Optimistic != 3 || len(got.Zones) != 2 { // d and y could stand in
		t.Errorf("%+v", got)
	}
	if z := got.Zones["1"]; !slices.Equal(z.Servers, []string{"a", "d"}) || !slices.Equal(z.Voters, []string{"a"}) || z.FailureTolerance != 1 {
		t.Errorf("%+v", z)
	}
	if got.Servers[0].State != state.Leader {
		t.Errorf("the leader is not the first: %+v", got.Servers)
	}
}

package leader

import (
	"maps"
	"testing"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
)

// health returns the state of a node's serfHealth check, "" without one.
func (h *harness) health(t *testing.T, node string) string {
	t.Helper()
	cs, _, err := catalog.ListNodeChecks.Call(t.Context(), h, op.Header{Consistency: op.Stale}, &catalog.NodeRequest{Node: node})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range *cs {
		if c.CheckID == catalog.SerfHealth {
			return c.Status
		}
	}
	return ""
}

func (h *harness) register(t *testing.T, r *catalog.RegisterRequest) {
	t.Helper()
	if _, _, err := catalog.Register.Call(t.Context(), h, op.Header{}, r); err != nil {
		t.Fatal(err)
	}
}

func TestLeadershipBeforeStart(t *testing.T) {
	h := newHarness(t, nil)
	h.LeadershipChanged(true)
	if h.reigning.Load() != nil {
		t.Fatal("leader tasks run without a pool to look at")
	}
	h.start(t)
	servertest.Eventually(t, "the leader's tasks run", func() bool { return h.health(t, "s1") == catalog.Passing })
}

func TestLeadershipLostBeforeStart(t *testing.T) {
	h := newHarness(t, nil)
	h.LeadershipChanged(true)
	h.LeadershipChanged(false)
	h.start(t)
	if h.reigning.Load() != nil {
		t.Error("leader tasks run on a server that does not lead")
	}
}

func TestRefusedMemberDoesNotKeepTheOthersBack(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.register(t, &catalog.RegisterRequest{Node: "elsewhere", ID: servertest.UID("twice"), Address: "10.0.0.8",
		Checks: []catalog.Check{{CheckID: catalog.SerfHealth, Status: catalog.Passing}}})
	h.pool.Set(servertest.ClientMember("a", servertest.UID("twice"), "10.0.0.9", gossip.Alive), servertest.ClientMember("b", servertest.UID("b"), "10.0.0.10", gossip.Alive))
	if err := h.reconcile(t.Context()); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("error %v, want the conflict", err)
	}
	if got := h.health(t, "b"); got != catalog.Passing {
		t.Errorf("b, after a member that was refused: %q", got)
	}
}

func TestFailedNodeIsCriticalWhereverTheCatalogHasIt(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "10.0.0.9", gossip.Alive))
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "10.0.0.99", gossip.Failed), servertest.ClientMember("never seen", servertest.UID("x"), "10.0.0.98", gossip.Failed))
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.health(t, "n"); got != catalog.Critical {
		t.Errorf("node that moved and failed: %q", got)
	}
	if got := h.health(t, "never seen"); got != "" {
		t.Errorf("node that was never seen alive: %q", got)
	}
}

// The agent registers its address as it is configured; the leader must not
// write it back each time in its own way.
func TestAddressesAreComparedNotSpelled(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "fe80::1", gossip.Alive))
	h.register(t, &catalog.RegisterRequest{Node: "n", ID: servertest.UID("n"), Address: "FE80:0::1"})
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, _, err := catalog.GetNode.Call(t.Context(), h, op.Header{}, &catalog.NodeRequest{Node: "n"})
	if err != nil || n.Address != "FE80:0::1" || h.health(t, "n") != catalog.Passing {
		t.Errorf("%+v %v", n, err)
	}
}

// A restarted server sees itself alone until gossip has joined the others.
func TestUnseenNodesAreNotForgottenAtTheStart(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.ReconcilePeriod = 300 * time.Millisecond })
	h.seenOnce(t)
	h.start(t)
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.health(t, "n") != catalog.Passing {
		t.Fatal("a node was forgotten before gossip could show it")
	}
	servertest.Eventually(t, "the node is forgotten later", func() bool {
		if err := h.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		return h.health(t, "n") == ""
	})
}

// seenOnce puts a node that was a member once into the state of a server that
// is not started.
func (h *harness) seenOnce(t *testing.T) {
	t.Helper()
	body, err := (&catalog.RegisterRequest{Node: "n", Address: "10.0.0.9",
		Checks: []catalog.Check{{Node: "n", CheckID: catalog.SerfHealth, Status: catalog.Passing}}}).MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	command, err := h.cfg.Machine.Encode(&catalog.Register, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.group.Propose(t.Context(), command); err != nil {
		t.Fatal(err)
	}
}

func TestTheGroupFollowsGossip(t *testing.T) {
	const own = "10.0.0.1:8300"
	self := servertest.ServerMember("s1", servertest.UID("1"), "10.0.0.1", gossip.Alive)
	for name, c := range map[string]struct {
		have []consensus.Server
		list []lan.Member
		want map[string]string
	}{
		"a new server": {nil, []lan.Member{self, servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Alive)},
			map[string]string{servertest.UID("1"): own, servertest.UID("2"): "10.0.0.2:8300"}},
		"a failed one stays": {[]consensus.Server{{ID: servertest.UID("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Failed)}, map[string]string{servertest.UID("1"): own, servertest.UID("2"): "10.0.0.2:8300"}},
		"one that left goes": {[]consensus.Server{{ID: servertest.UID("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Left)}, map[string]string{servertest.UID("1"): own}},
		"a changed address": {[]consensus.Server{{ID: servertest.UID("2"), Address: "10.0.0.2:8300", Voter: true}},
			[]lan.Member{self, servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.22", gossip.Alive)}, map[string]string{servertest.UID("1"): own, servertest.UID("2"): "10.0.0.22:8300"}},
		"the leader's own address": {nil, []lan.Member{servertest.ServerMember("s1", servertest.UID("1"), "10.0.0.11", gossip.Alive)}, map[string]string{servertest.UID("1"): "10.0.0.11:8300"}},
		"one that lost its data": {[]consensus.Server{{ID: servertest.UID("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, servertest.ServerMember("s2", servertest.UID("2-new"), "10.0.0.2", gossip.Alive)}, map[string]string{servertest.UID("1"): own, servertest.UID("2-new"): "10.0.0.2:8300"}},
		"two that swapped addresses": {[]consensus.Server{{ID: servertest.UID("2"), Address: "10.0.0.2:8300", Voter: true}, {ID: servertest.UID("3"), Address: "10.0.0.3:8300", Voter: true}},
			[]lan.Member{self, servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.3", gossip.Alive), servertest.ServerMember("s3", servertest.UID("3"), "10.0.0.2", gossip.Alive)},
			map[string]string{servertest.UID("1"): own, servertest.UID("2"): "10.0.0.3:8300", servertest.UID("3"): "10.0.0.2:8300"}},
		"one under a new name": {[]consensus.Server{{ID: servertest.UID("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Left), servertest.ServerMember("s2-new", servertest.UID("2"), "10.0.0.2", gossip.Alive)},
			map[string]string{servertest.UID("1"): own, servertest.UID("2"): "10.0.0.2:8300"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.group.Members = append(h.group.Members, c.have...)
			h.start(t)
			h.pool.Set(c.list...)
			for range 2 { // the second round changes nothing
				if err := h.reconcileServers(t.Context(), h.pool.Members()); err != nil {
					t.Error(err)
				}
				if got := h.group.Addresses(); !maps.Equal(got, c.want) {
					t.Errorf("group %v, want %v", got, c.want)
				}
			}
			before := map[string]bool{servertest.UID("1"): true}
			for _, s := range c.have {
				before[s.ID] = s.Voter
			}
			servers, _, _ := h.group.Configuration()
			for _, s := range servers {
				if s.Voter != before[s.ID] {
					t.Errorf("%s votes: %v, want it as before", s.ID, s.Voter)
				}
			}
			if name == "one under a new name" && len(h.group.Removed) > 0 {
				t.Errorf("%v were removed meanwhile", h.group.Removed)
			}
		})
	}
}

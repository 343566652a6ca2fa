package server

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
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

// addresses maps the IDs of the consensus group to addresses.
func (g *group) addresses() map[string]string {
	servers, _, _ := g.Configuration()
	out := map[string]string{}
	for _, s := range servers {
		out[s.ID] = s.Address
	}
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		case <-tick.C:
		}
	}
}

// A server that restarts may be elected while its gossip is still opening.
func TestLeadershipBeforeStart(t *testing.T) {
	h := newHarness(t, nil)
	h.LeadershipChanged(true)
	if h.reigning.Load() != nil {
		t.Fatal("leader tasks run without a pool to look at")
	}
	h.start(t, nil)
	eventually(t, "the leader's tasks run", func() bool { return h.health(t, "s1") == catalog.Passing })
}

func TestLeadershipLostBeforeStart(t *testing.T) {
	h := newHarness(t, nil)
	h.LeadershipChanged(true)
	h.LeadershipChanged(false)
	h.start(t, nil)
	if h.reigning.Load() != nil {
		t.Error("leader tasks run on a server that does not lead")
	}
}

func TestRefusedMemberDoesNotKeepTheOthersBack(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	h.register(t, &catalog.RegisterRequest{Node: "elsewhere", ID: uid("twice"), Address: "10.0.0.8",
		Checks: []catalog.Check{{CheckID: catalog.SerfHealth, Status: catalog.Passing}}})
	h.pool.set(clientMember("a", uid("twice"), "10.0.0.9", gossip.Alive), clientMember("b", uid("b"), "10.0.0.10", gossip.Alive))
	if err := h.reconcile(t.Context()); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("error %v, want the conflict", err)
	}
	if got := h.health(t, "b"); got != catalog.Passing {
		t.Errorf("b, after a member that was refused: %q", got)
	}
}

func TestFailedNodeIsCriticalWhereverTheCatalogHasIt(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, nil)
	h.pool.set(clientMember("n", uid("n"), "10.0.0.9", gossip.Alive))
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.pool.set(clientMember("n", uid("n"), "10.0.0.99", gossip.Failed), clientMember("never seen", uid("x"), "10.0.0.98", gossip.Failed))
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
	h.start(t, nil)
	h.pool.set(clientMember("n", uid("n"), "fe80::1", gossip.Alive))
	h.register(t, &catalog.RegisterRequest{Node: "n", ID: uid("n"), Address: "FE80:0::1"})
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
	h.start(t, nil)
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.health(t, "n") != catalog.Passing {
		t.Fatal("a node was forgotten before gossip could show it")
	}
	eventually(t, "the node is forgotten later", func() bool {
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
	command, err := h.machine.Encode(&catalog.Register, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.group.Propose(t.Context(), command); err != nil {
		t.Fatal(err)
	}
}

func TestVotersFollowGossip(t *testing.T) {
	const own = "10.0.0.1:8300"
	self := serverMember("s1", uid("1"), "10.0.0.1", gossip.Alive)
	for name, c := range map[string]struct {
		have []consensus.Server
		list []lan.Member
		want map[string]string
	}{
		"a new server": {nil, []lan.Member{self, serverMember("s2", uid("2"), "10.0.0.2", gossip.Alive)},
			map[string]string{uid("1"): own, uid("2"): "10.0.0.2:8300"}},
		"a failed one stays": {[]consensus.Server{{ID: uid("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, serverMember("s2", uid("2"), "10.0.0.2", gossip.Failed)}, map[string]string{uid("1"): own, uid("2"): "10.0.0.2:8300"}},
		"one that left goes": {[]consensus.Server{{ID: uid("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, serverMember("s2", uid("2"), "10.0.0.2", gossip.Left)}, map[string]string{uid("1"): own}},
		"a changed address": {[]consensus.Server{{ID: uid("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, serverMember("s2", uid("2"), "10.0.0.22", gossip.Alive)}, map[string]string{uid("1"): own, uid("2"): "10.0.0.22:8300"}},
		"the leader's own address": {nil, []lan.Member{serverMember("s1", uid("1"), "10.0.0.11", gossip.Alive)}, map[string]string{uid("1"): "10.0.0.11:8300"}},
		"one that lost its data": {[]consensus.Server{{ID: uid("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, serverMember("s2", uid("2-new"), "10.0.0.2", gossip.Alive)}, map[string]string{uid("1"): own, uid("2-new"): "10.0.0.2:8300"}},
		"two that swapped addresses": {[]consensus.Server{{ID: uid("2"), Address: "10.0.0.2:8300"}, {ID: uid("3"), Address: "10.0.0.3:8300"}},
			[]lan.Member{self, serverMember("s2", uid("2"), "10.0.0.3", gossip.Alive), serverMember("s3", uid("3"), "10.0.0.2", gossip.Alive)},
			map[string]string{uid("1"): own, uid("2"): "10.0.0.3:8300", uid("3"): "10.0.0.2:8300"}},
		"one under a new name": {[]consensus.Server{{ID: uid("2"), Address: "10.0.0.2:8300"}},
			[]lan.Member{self, serverMember("s2", uid("2"), "10.0.0.2", gossip.Left), serverMember("s2-new", uid("2"), "10.0.0.2", gossip.Alive)},
			map[string]string{uid("1"): own, uid("2"): "10.0.0.2:8300"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.group.servers = append(h.group.servers, c.have...)
			h.start(t, nil)
			h.pool.set(c.list...)
			for range 2 { // the second round changes nothing
				if err := h.reconcileVoters(t.Context(), h.pool.Members()); err != nil {
					t.Error(err)
				}
				if got := h.group.addresses(); !maps.Equal(got, c.want) {
					t.Errorf("group %v, want %v", got, c.want)
				}
			}
			if name == "one under a new name" && len(h.group.removed) > 0 {
				t.Errorf("%v were removed meanwhile", h.group.removed)
			}
		})
	}
}

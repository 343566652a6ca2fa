package leader

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
)

// settle reconciles until nothing is refused any more; each round stands for a
// retry or a minute.
func (h *harness) settle(t testing.TB) {
	t.Helper()
	var err error
	for range 3 {
		if err = h.reconcile(t.Context()); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (h *harness) node(t *testing.T, name string) *catalog.Node {
	t.Helper()
	n, _, err := catalog.GetNode.Call(t.Context(), h, op.Header{}, &catalog.NodeRequest{Node: name})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (h *harness) services(t *testing.T, node string) map[string]*catalog.Service {
	t.Helper()
	n, _, err := catalog.GetNodeServices.Call(t.Context(), h, op.Header{}, &catalog.NodeRequest{Node: node})
	if err != nil {
		t.Fatal(err)
	}
	if n == nil {
		return nil
	}
	return n.Services
}

func runs(node, id, service string) *catalog.RegisterRequest {
	return &catalog.RegisterRequest{ID: id, Node: node, Address: "10.0.0.9", Service: &catalog.Service{ID: service, Service: service}}
}

func TestRenamedNodeLeavesNoGhost(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.pool.Set(servertest.ClientMember("old", servertest.UID("n"), "10.0.0.9", gossip.Alive))
	h.settle(t)
	h.register(t, runs("old", servertest.UID("n"), "web"))
	// While the old name lives, the new one is refused.
	h.pool.Set(servertest.ClientMember("new", servertest.UID("n"), "10.0.0.9", gossip.Alive), servertest.ClientMember("old", servertest.UID("n"), "10.0.0.9", gossip.Alive))
	if err := h.reconcile(t.Context()); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("an ID that a live node has: %v, want a conflict", err)
	}
	if h.node(t, "new") != nil || h.services(t, "old")["web"] == nil {
		t.Error("a refused rename changed something")
	}
	// Once it is dead, its registrations go with the command that brings the new.
	h.pool.Set(servertest.ClientMember("new", servertest.UID("n"), "10.0.0.9", gossip.Alive), servertest.ClientMember("old", servertest.UID("n"), "10.0.0.9", gossip.Failed))
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.node(t, "old") != nil || h.services(t, "old") != nil || h.health(t, "old") != "" {
		t.Error("the old name is still in the catalog")
	}
	list, _, err := catalog.ListInstances.Call(t.Context(), h, op.Header{}, &catalog.ServiceRequest{Service: "web"})
	if err != nil || len(*list) != 0 {
		t.Errorf("service of the old name: %v %v", *list, err)
	}
	if n := h.node(t, "new"); n == nil || n.ID != servertest.UID("n") || h.health(t, "new") != catalog.Passing {
		t.Errorf("the new name: %+v", n)
	}
}

func TestNameOfALiveNodeIsReserved(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.pool.Set(servertest.ClientMember("n", servertest.UID("1"), "10.0.0.9", gossip.Alive))
	h.settle(t)
	take := runs("N", servertest.UID("2"), "web")
	_, _, err := catalog.Register.Call(t.Context(), h, op.Header{}, take)
	if op.CodeOf(err) != op.CodeConflict || h.node(t, "n").ID != servertest.UID("1") || len(h.services(t, "n")) != 0 {
		t.Errorf("name of a live node: %v, want a conflict and nothing changed", err)
	}
	h.pool.Set(servertest.ClientMember("n", servertest.UID("1"), "10.0.0.9", gossip.Failed))
	h.settle(t)
	h.register(t, take)
	if n := h.node(t, "n"); n.ID != servertest.UID("2") || h.services(t, "n")["web"] == nil {
		t.Errorf("name of a dead node: %+v", n)
	}
}

// Gossip has one member of a name: if that has another ID than the catalog
// says, the other one is gone.
func TestMachineThatWasReplacedUnderItsName(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.pool.Set(servertest.ClientMember("n", servertest.UID("1"), "10.0.0.9", gossip.Alive))
	h.settle(t)
	h.register(t, &catalog.RegisterRequest{ID: servertest.UID("1"), Node: "n", Address: "10.0.0.9", NodeMeta: map[string]string{"rack": "r1"},
		TaggedAddresses: map[string]string{"lan": "10.0.0.9", "wan": "192.0.2.9"}})
	h.pool.Set(servertest.ClientMember("n", servertest.UID("2"), "10.0.0.10", gossip.Alive))
	h.settle(t)
	n := h.node(t, "n")
	if n.ID != servertest.UID("2") || n.Address != "10.0.0.10" || h.health(t, "n") != catalog.Passing {
		t.Errorf("%+v", n)
	}
	if n.Meta["rack"] != "r1" || n.TaggedAddresses["wan"] != "192.0.2.9" || n.TaggedAddresses["lan"] != "10.0.0.10" {
		t.Errorf("what the agent wrote is lost: %+v", n)
	}
}

func TestFailedMemberThatComesBackIsPassing(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	for _, step := range []struct {
		status gossip.Status
		want   string
	}{{gossip.Alive, catalog.Passing}, {gossip.Failed, catalog.Critical}, {gossip.Alive, catalog.Passing}, {gossip.Left, ""}, {gossip.Alive, catalog.Passing}} {
		h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "10.0.0.9", step.status))
		h.settle(t)
		if got := h.health(t, "n"); got != step.want {
			t.Errorf("%s: serfHealth is %q, want %q", step.status, got, step.want)
		}
	}
}

func TestNodesFromOutsideAreLeftAlone(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.ReconcilePeriod = time.Millisecond })
	h.start(t)
	outside := runs("printer", "", "print")
	outside.Checks = []catalog.Check{{CheckID: "ping", Name: "ping", Status: catalog.Critical}}
	h.register(t, outside)
	h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "10.0.0.9", gossip.Alive))
	h.LeadershipChanged(true)
	servertest.Eventually(t, "the leader has gone round", func() bool { return h.health(t, "n") == catalog.Passing })
	h.pool.Set() // n is forgotten by gossip
	servertest.Eventually(t, "a member that gossip forgot is removed", func() bool { return h.node(t, "n") == nil })
	if h.node(t, "printer") == nil || h.services(t, "printer")["print"] == nil || h.health(t, "printer") != "" {
		t.Error("a node that never was a member was changed")
	}
}

func TestServersAreRegisteredWithWhatTheySpeak(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	m := servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Alive)
	m.ProtocolMin, m.ProtocolCur, m.ProtocolMax = 1, 4, 5
	h.pool.Set(servertest.ServerMember("s1", servertest.UID("1"), "10.0.0.1", gossip.Alive), m)
	h.settle(t)
	s := h.services(t, "s2")["consul"]
	if s == nil {
		t.Fatal("a server is not in the service consul")
	}
	want := map[string]string{"version": "1.0.0", "raft_version": "3", "non_voter": "false", "read_replica": "false",
		"serf_protocol_min": "1", "serf_protocol_current": "4", "serf_protocol_max": "5"}
	if !maps.Equal(s.Meta, want) || s.Port != 8300 {
		t.Errorf("%+v, want %v", s, want)
	}
	m.Tags["read_replica"] = "1"
	h.pool.Set(servertest.ServerMember("s1", servertest.UID("1"), "10.0.0.1", gossip.Alive), m)
	h.settle(t)
	want["non_voter"], want["read_replica"] = "true", "true"
	if s := h.services(t, "s2")["consul"]; s == nil || !maps.Equal(s.Meta, want) {
		t.Errorf("a replica: %+v, want %v", s, want)
	}
	index := h.cfg.State.Index()
	h.settle(t)
	if now := h.cfg.State.Index(); now != index {
		t.Errorf("a round with nothing new wrote %d commands", now-index)
	}
	if h.services(t, "s1")["consul"] == nil || !strings.EqualFold(h.health(t, "s1"), catalog.Passing) {
		t.Error("the leader itself is not in the catalog")
	}
}

// Who was a member a moment ago and is forgotten by gossip is removed at once,
// by a leader however young.
func TestReapedMemberIsRemovedAtOnce(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "10.0.0.9", gossip.Failed), servertest.ClientMember("m", servertest.UID("m"), "10.0.0.8", gossip.Alive))
	h.register(t, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9", Checks: []catalog.Check{{CheckID: catalog.SerfHealth, Status: catalog.Critical}}})
	h.settle(t)
	if h.node(t, "n") == nil {
		t.Fatal("a failed member was removed")
	}
	h.pool.Set(servertest.ClientMember("m", servertest.UID("m"), "10.0.0.8", gossip.Alive))
	h.settle(t)
	if h.node(t, "n") != nil || h.node(t, "m") == nil {
		t.Error("the reaped member, and no other, was to be removed")
	}
}

// meanwhile is a group in which another command comes before the first.
type meanwhile struct {
	*servertest.Group
	first []byte
}

// Propose applies the other command before.
func (m *meanwhile) Propose(ctx context.Context, command []byte) (any, error) {
	if first := m.first; first != nil {
		m.first = nil
		if _, err := m.Group.Propose(ctx, first); err != nil {
			return nil, err
		}
	}
	return m.Group.Propose(ctx, command)
}

// TestMetadataOfANodeThatRegistersItselfMeanwhileStays: its agent registers it between the
// leader's look and the leader's own registration.
func TestMetadataOfANodeThatRegistersItselfMeanwhileStays(t *testing.T) {
	h := newHarness(t, nil)
	own := &catalog.RegisterRequest{ID: servertest.UID("n"), Node: "n", Address: "10.0.0.9", NodeMeta: map[string]string{"kind": "test"}}
	body, err := own.MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	command, err := h.cfg.Machine.Encode(&catalog.Register, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(&meanwhile{h.group, command}, h.pool); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h.pool.Set(servertest.ClientMember("n", servertest.UID("n"), "10.0.0.9", gossip.Alive))
	if err := h.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.node(t, "n"); n == nil || n.Meta["kind"] != "test" || h.health(t, "n") != catalog.Passing {
		t.Errorf("the node is %+v, its health %q", n, h.health(t, "n"))
	}
}

// Rounds follow each other at once in a datacenter of usual size; in a large one they leave
// the leader four fifths of the time for other things, but never keep a change waiting for long.
func TestRoundsRestInALargeDatacenter(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t)
	for _, c := range []struct {
		members    int
		took, want time.Duration
	}{
		{3, time.Second, 0},
		{reconcileLarge, time.Second, 0},
		{reconcileLarge + 1, 100 * time.Millisecond, 400 * time.Millisecond},
		{reconcileLarge + 1, time.Minute, 5 * time.Second},
	} {
		members := make([]gossip.Member, c.members)
		for i := range members {
			members[i] = servertest.ClientMember(fmt.Sprint("n", i), servertest.UID(fmt.Sprintf("%012d", i)), fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250), gossip.Alive)
		}
		h.pool.Set(members...)
		if got := h.rest(c.took); got != c.want {
			t.Errorf("after a round of %s among %d members the leader rests for %s, want %s", c.took, c.members, got, c.want)
		}
	}
}

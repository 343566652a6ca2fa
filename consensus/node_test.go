package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestProposalsAreAppliedEverywhereInOneOrder(t *testing.T) {
	members := cluster(t, 3, nil)
	lead := leader(t, members)
	const writers, each = 16, 50
	var mu sync.Mutex
	indexes := map[uint64]bool{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				v, err := lead.node.Propose(t.Context(), fmt.Appendf(nil, "k%d-%d=v%d", w, i, i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if indexes[v.(uint64)] {
					t.Errorf("two commands have the index %d", v)
				}
				indexes[v.(uint64)] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if lead.state.Index() != writers*each {
		t.Errorf("the index is %d after %d commands", lead.state.Index(), writers*each)
	}
	for _, m := range members {
		if err := m.node.WaitApplied(t.Context(), lead.state.Position().Index); err != nil {
			t.Fatal(err)
		}
		if m.state.Index() != lead.state.Index() {
			t.Errorf("%s is at index %d, the leader at %d", m.id, m.state.Index(), lead.state.Index())
		}
		for w := range writers {
			if !has(t, m, fmt.Sprintf("k%d-%d", w, each-1), fmt.Sprintf("v%d", each-1)) {
				t.Errorf("%s lacks the last row of writer %d", m.id, w)
			}
		}
	}
}

func TestRefusedCommandLeavesNothing(t *testing.T) {
	members := cluster(t, 1, nil)
	lead := leader(t, members)
	v, err := lead.node.Propose(t.Context(), []byte("!bad=1"))
	if !errors.Is(err, errRefused) || v.(uint64) != 1 {
		t.Fatalf("got %v, %v; want the machine's own answer", v, err)
	}
	if _, ok := value(t, lead.state, "!bad"); ok {
		t.Error("what the refused command wrote is there")
	}
	if v, err := lead.node.Propose(t.Context(), []byte("good=1")); err != nil || v.(uint64) != 2 {
		t.Errorf("the next command got %v, %v; want index 2", v, err)
	}
}

func TestFollowerRefusesSurely(t *testing.T) {
	members := cluster(t, 3, nil)
	lead := leader(t, members)
	for _, m := range members {
		if m == lead {
			continue
		}
		if _, err := m.node.Propose(t.Context(), []byte("a=1")); !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrLost) {
			t.Errorf("propose at a follower: %v", err)
		}
		if _, err := m.node.ConfirmLeadership(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("confirm at a follower: %v", err)
		}
		if m.node.LeaseRead() {
			t.Error("a follower has the lease")
		}
		eventually(t, "followers know the leader", func() bool { id, _ := m.node.Leader(); return id == lead.id })
	}
}

func TestCommandSizes(t *testing.T) {
	members := cluster(t, 1, nil)
	lead := leader(t, members)
	big := []byte("big=" + strings.Repeat("x", 2*maxEntryBytes))
	if _, err := lead.node.Propose(t.Context(), big); err != nil {
		t.Errorf("a command above the size of an entry: %v", err)
	}
	if _, err := lead.node.Propose(t.Context(), make([]byte, MaxCommandBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a command above the limit: %v", err)
	}
}

func TestIsolatedLeaderLosesTheCommandAndSaysSo(t *testing.T) {
	members := cluster(t, 3, nil)
	lead := leader(t, members)
	lead.net.cut(lead.id)
	_, err := lead.node.Propose(t.Context(), []byte("a=1"))
	if !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotLeader) {
		t.Fatalf("propose on an isolated leader: %v", err)
	}
	if _, err := lead.node.ConfirmLeadership(t.Context()); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("confirm on an isolated leader: %v", err)
	}
	lead.net.heal(lead.id)
	propose(t, members, "b=2")
}

func TestContextEndsTheWait(t *testing.T) {
	members := cluster(t, 3, nil)
	err := error(ErrNotLeader)
	for tries := 0; errors.Is(err, ErrNotLeader) && tries < 20; tries++ { // one that stepped down before it was asked is not asked again
		err = proposeCutOff(t, members)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrLost) {
		t.Fatalf("got %v; want the deadline, and that the outcome is unknown", err)
	}
}

// proposeCutOff asks a leader whom nobody hears, for a moment.
func proposeCutOff(t *testing.T, members []*member) error {
	t.Helper()
	lead := leader(t, members)
	for _, m := range members {
		if m != lead {
			lead.net.cut(m.id)
			defer lead.net.heal(m.id)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	_, err := lead.node.Propose(ctx, []byte("a=1"))
	return err
}

// unanswered is an entry that Raft has and says nothing about.
type unanswered struct {
	raft.ApplyFuture
	end chan struct{}
}

func (u unanswered) Error() error { <-u.end; return nil }

func TestAnEntryThatTheNodeLeavesToRaftIsLost(t *testing.T) {
	m := single(t, vfs.NewMem(), nil)
	u := unanswered{end: make(chan struct{})}
	defer close(u.end)
	p := &proposal{done: make(chan result, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.node.answer(ctx, sentEntry{future: u, proposals: []*proposal{p}})
	if r := <-p.done; !errors.Is(r.err, ErrLost) {
		t.Errorf("got %v; want that the outcome is unknown", r.err)
	}
}

func TestLeadershipIsToldInOrder(t *testing.T) {
	var mu sync.Mutex
	told := map[string][]bool{}
	tune := func(c *Config) {
		id := c.NodeID
		c.OnLeadership = func(leader bool) {
			mu.Lock()
			defer mu.Unlock()
			told[id] = append(told[id], leader)
		}
	}
	members := cluster(t, 3, tune)
	for range 3 {
		lead := leader(t, members)
		if err := lead.node.TransferLeadership(t.Context(), ""); err != nil {
			t.Logf("transfer: %v", err)
		}
	}
	leader(t, members)
	for _, m := range members {
		m.stop()
	}
	gains := 0
	for id, seq := range told {
		for i, leader := range seq {
			if leader != (i%2 == 0) {
				t.Errorf("%s was told %v", id, seq)
			}
			if leader {
				gains++
			}
		}
		if len(seq)%2 != 0 {
			t.Errorf("%s was not told of its last loss: %v", id, seq)
		}
	}
	if gains == 0 {
		t.Error("nobody was told anything")
	}
}

func TestReadIndexSeesWhatWasAcknowledged(t *testing.T) {
	members := cluster(t, 3, nil)
	for i := range 20 {
		key := fmt.Sprint("k", i)
		propose(t, members, key+"=v")
		index, err := leader(t, members).node.ConfirmLeadership(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if err := m.node.WaitApplied(t.Context(), index); err != nil {
				t.Fatal(err)
			}
			if !has(t, m, key, "v") {
				t.Fatalf("%s has applied %d and lacks %s", m.id, index, key)
			}
		}
	}
}

func TestConfirmationsShareRounds(t *testing.T) {
	reg := prometheus.NewRegistry()
	members := cluster(t, 1, func(c *Config) { c.Registerer = reg })
	lead := leader(t, members)
	var wg sync.WaitGroup
	const callers = 500
	for range callers {
		wg.Go(func() {
			if _, err := lead.node.ConfirmLeadership(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rounds := histogramCount(t, reg, "legate_raft_verify_leader_seconds")
	if rounds == 0 || rounds == callers {
		t.Errorf("%d callers took %d rounds", callers, rounds)
	}
}

func histogramCount(t *testing.T, reg *prometheus.Registry, name string) uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestMembershipChanges(t *testing.T) {
	members := cluster(t, 3, nil)
	propose(t, members, "a=1")
	late := newMember(t, members[0].net, "late", vfs.NewMem())
	late.start()
	lead := leader(t, members)
	if err := lead.node.AddVoter(t.Context(), late.id, late.id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new server has the data", func() bool { return has(t, late, "a", "1") })
	if err := lead.node.RemoveServer(t.Context(), late.id); err != nil {
		t.Fatal(err)
	}
	servers, index, err := lead.node.Configuration()
	if err != nil || index == 0 || len(servers) != 3 ||
		slices.ContainsFunc(servers, func(s Server) bool { return s.ID == late.id }) {
		t.Errorf("configuration %v at %d, %v", servers, index, err)
	}
	if err := lead.node.Bootstrap(servers); !errors.Is(err, ErrBootstrapped) {
		t.Errorf("bootstrap of a running group: %v", err)
	}
}

// An address that gossip knows is used in place of the configured one.
func TestAddressesAreLearned(t *testing.T) {
	var mu sync.Mutex
	where := map[string]string{}
	addressOf := func(id string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		a, ok := where[id]
		return a, ok
	}
	var members []*member
	var servers []Server
	for i := range 3 {
		m := newMember(t, nil, fmt.Sprint("n", i), vfs.NewMem())
		m.tune = func(c *Config) {
			c.Transport = tcp(t, addressOf)
			mu.Lock()
			defer mu.Unlock()
			where[m.id] = string(c.Transport.LocalAddr())
		}
		m.start()
		members = append(members, m)
		servers = append(servers, Server{ID: m.id, Address: fmt.Sprintf("192.0.2.%d:1", i+1), Voter: true}) // nobody is there
	}
	if _, ok := any(members[0].node.cfg.Transport).(raft.WithPreVote); !ok {
		t.Error("the transport lost pre-vote")
	}
	if err := members[0].node.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	propose(t, members, "a=1")
	lead := leader(t, members)
	for _, m := range members {
		if m != lead { // it comes back elsewhere
			m.stop()
			m.start()
			break
		}
	}
	propose(t, members, "b=2")
	for _, m := range members {
		eventually(t, m.id+" has both", func() bool { return has(t, m, "a", "1") && has(t, m, "b", "2") })
	}
}

func TestMetricsAreNamedWellAndUnregistered(t *testing.T) {
	reg := prometheus.NewRegistry()
	members := cluster(t, 1, func(c *Config) { c.Registerer = reg })
	propose(t, members, "a=1")
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	members[0].stop()
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
		t.Errorf("%d series remain, %v", n, err)
	}
}

func TestEntriesDecodeBounded(t *testing.T) {
	good := encodeCommands([][]byte{[]byte("a"), nil, []byte("bc")})
	got, err := decodeCommands(good)
	if err != nil || len(got) != 3 || string(got[0]) != "a" || len(got[1]) != 0 || string(got[2]) != "bc" {
		t.Fatalf("got %q, %v", got, err)
	}
	bad := [][]byte{nil, {2}, {1}, {1, 1}, {1, 1, 5, 'a'}, append(good, 0), {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}
	for _, b := range bad {
		if _, err := decodeCommands(b); !errors.Is(err, ErrBadEntry) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzDecodeCommands(f *testing.F) {
	f.Add(encodeCommands([][]byte{[]byte("a"), []byte("bc")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		commands, err := decodeCommands(data)
		if err != nil && !errors.Is(err, ErrBadEntry) {
			t.Fatal(err)
		}
		total := 0
		for _, c := range commands {
			total += len(c)
		}
		if total > len(data) {
			t.Fatal("more came out than went in")
		}
	})
}

// Stop ends Raft and closes its transport before it returns, after a failure
// too: log and state may be closed then, the address used again.
func TestStopIsComplete(t *testing.T) {
	m := newMember(t, nil, "n0", vfs.NewMem())
	transport := tcp(t, nil)
	m.tune = func(c *Config) { c.Transport = transport }
	m.start()
	reason := errors.New("made up")
	m.node.fail(reason)
	eventually(t, "the node left the group", func() bool { return m.node.raft.State() == raft.Shutdown })
	if err := <-m.node.Failed(); !errors.Is(err, reason) {
		t.Errorf("it failed with %v", err)
	}
	m.stop()
	conn, err := net.Dial("tcp", string(transport.LocalAddr()))
	if err == nil {
		_ = conn.Close()
		t.Fatal("somebody still listens")
	}
}

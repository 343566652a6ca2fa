package leader

import (
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/txn"
)

func server(n string, level uint16, status gossip.Status) lan.Member {
	s := lan.Server{Name: "s" + n, ID: servertest.UID(n), Datacenter: "dc1", RPCPort: 8300, Level: level}
	return lan.Member{Name: s.Name, Addr: "10.0.0." + n, Tags: s.Tags(), Status: status}
}

// What one server of the group would have to stop at is not written, and who asks is told
// which one it is. What all know is.
func TestACommandWaitsForServersThatKnowIt(t *testing.T) {
	tests := map[string]struct {
		second lan.Member
		code   op.Code
		says   string
	}{
		"a new one":                {server("2", version.Level, gossip.Alive), 0, ""},
		"a newer one":              {server("2", version.Level+1, gossip.Alive), 0, ""},
		"an old one":               {server("2", 1, gossip.Alive), op.CodeConflict, "of the servers of datacenter dc1 s2 has 1"},
		"an old one that failed":   {server("2", 1, gossip.Failed), op.CodeConflict, "s2 has 1"},
		"one that nobody has seen": {server("3", version.Level, gossip.Alive), op.CodeNoLeader, servertest.UID("2") + " has: try again"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.LeadershipChanged(true)
			h.pool.Set(server("1", version.Level, gossip.Alive), test.second)
			h.group.Members = append(h.group.Members, consensus.Server{ID: servertest.UID("2"), Address: "10.0.0.2:8300", Voter: true})
			h.start(t)
			set := func() error {
				_, _, err := autopilot.Set.Call(t.Context(), h, op.Header{}, &autopilot.SetRequest{Config: autopilot.Default()})
				return err
			}
			err := set()
			if op.CodeOf(err) != test.code && (err != nil || test.code != 0) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want code %v and %q", err, test.code, test.says)
			}
			h.register(t, &catalog.RegisterRequest{Node: "n", Address: "10.0.0.9"}) // of the first level
			// The third may be one of the group by now: without a word of gossip it would be waited for.
			h.pool.Set(server("1", version.Level, gossip.Alive), server("2", version.Level, gossip.Alive), server("3", version.Level, gossip.Alive))
			servertest.Eventually(t, "it is written when the server was upgraded", func() bool { return set() == nil })
		})
	}
}

// A write of a key says when it was made as soon as all servers know that, and not before:
// an old one would write another row.
func TestKeysAreStampedWhenAllServersKnowThat(t *testing.T) {
	h := newHarness(t, nil)
	h.LeadershipChanged(true)
	h.pool.Set(server("1", version.Level, gossip.Alive), server("2", 1, gossip.Alive))
	h.group.Members = append(h.group.Members, consensus.Server{ID: servertest.UID("2"), Address: "10.0.0.2:8300", Voter: true})
	h.start(t)
	written := func(key string) int64 {
		t.Helper()
		if _, _, err := kv.Apply.Call(t.Context(), h, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key}}); err != nil {
			t.Fatal(err)
		}
		_, _, err := txn.Apply.Call(t.Context(), h, op.Header{}, &txn.Request{Ops: []txn.Op{{KV: &txn.KVOp{Verb: kv.Set, Key: key + "-txn"}}}})
		if err != nil {
			t.Fatal(err)
		}
		v := h.cfg.State.View()
		defer v.Close()
		one, err := kv.Lookup(v, key)
		if err != nil {
			t.Fatal(err)
		}
		other, err := kv.Lookup(v, key+"-txn")
		if err != nil || (one.Time == 0) != (other.Time == 0) {
			t.Fatalf("%+v and in a transaction %+v, %v", one, other, err)
		}
		return one.Time
	}
	if at := written("a"); at != 0 || h.cfg.State.Level() > 1 {
		t.Errorf("with an old server it is stamped %d, and the level is %d", at, h.cfg.State.Level())
	}
	h.pool.Set(server("1", version.Level, gossip.Alive), server("2", version.Level, gossip.Alive))
	servertest.Eventually(t, "it is stamped when the server was upgraded", func() bool {
		age := time.Since(time.Unix(0, written("b")))
		return age >= 0 && age < time.Minute
	})
}

// All that are behind are named, and who is known to be behind is not waited for.
func TestAllServersThatAreBehindAreNamed(t *testing.T) {
	h := newHarness(t, nil)
	for _, n := range []string{"3", "2", "4"} {
		h.group.Members = append(h.group.Members, consensus.Server{ID: servertest.UID(n), Address: "10.0.0." + n + ":8300", Voter: true})
	}
	held := server("2", 1, gossip.Alive)
	held.Tags["legate"] = "0.9.0"
	h.pool.Set(server("1", version.Level, gossip.Alive), server("3", 1, gossip.Alive), held) // nobody has seen 4
	h.raft, h.lan = h.group, h.pool
	h.reigning.Store(&reign{ctx: t.Context(), began: time.Now()})
	err := h.known(&autopilot.Set)
	if want := "s2 has 1 (legate 0.9.0), s3 has 1 (legate before 0.2.0)"; op.CodeOf(err) != op.CodeConflict || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Who is not seen for long is waited for no more.
func TestAServerThatIsNeverSeenHoldsNothingUpForLong(t *testing.T) {
	h := newHarness(t, nil)
	h.group.Members = append(h.group.Members, consensus.Server{ID: servertest.UID("2"), Address: "10.0.0.2:8300", Voter: true})
	h.raft, h.lan = h.group, h.pool
	h.reigning.Store(&reign{ctx: t.Context(), began: time.Now().Add(-strangersCount)})
	if err := h.known(&autopilot.Set); err != nil {
		t.Error(err)
	}
}

// Of two that live and claim one ID the older one counts, in whichever order they are
// seen; who is gone counts for nothing beside one that lives.
func TestOfTwoWithOneIDTheOlderCounts(t *testing.T) {
	old, young := server("2", 1, gossip.Alive), server("2", version.Level, gossip.Alive)
	old.Name = "an-old-one"
	gone := old
	gone.Status = gossip.Failed
	tests := map[string]struct {
		members []lan.Member
		code    op.Code
	}{
		"the old one first":      {[]lan.Member{old, young}, op.CodeConflict},
		"the old one last":       {[]lan.Member{young, old}, op.CodeConflict},
		"the old one gone first": {[]lan.Member{gone, young}, 0},
		"the old one gone last":  {[]lan.Member{young, gone}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			h.group.Members = append(h.group.Members, consensus.Server{ID: servertest.UID("2"), Address: "10.0.0.2:8300", Voter: true})
			h.pool.Set(append([]lan.Member{server("1", version.Level, gossip.Alive)}, test.members...)...)
			h.raft, h.lan = h.group, h.pool
			if err := h.known(&autopilot.Set); op.CodeOf(err) != test.code {
				t.Errorf("got %v, want code %v", err, test.code)
			}
		})
	}
}

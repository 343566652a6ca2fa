package leader

import (
	"context"
	"testing"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/transport"
)

// answers is a transport over which each server tells its peers.
type answers map[string][]string // by node ID

func (a answers) RoundTrip(_ context.Context, to transport.Target, _ string, _, _ []byte) ([]byte, error) {
	peers, ok := a[to.NodeID]
	if !ok {
		return nil, transport.ErrUnreachable
	}
	return op.AppendReply(nil, op.NewReply(op.Meta{}, &op.Texts{Texts: peers}))
}

func (answers) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

// Two new servers that expect two, beside a group that was started with other
// expectations, must not start a second one.
func TestConsensusIsNotStartedTwice(t *testing.T) {
	for name, c := range map[string]struct {
		old  []string // what the old server says; nil for no answer
		want int
	}{
		"in a group": {[]string{"10.0.0.9:8300"}, 0},
		"silent":     {nil, 0},
		"not in one": {[]string{}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			via := answers{servertest.UID("2"): {}}
			if c.old != nil {
				via[servertest.UID("9")] = c.old
			}
			h := newHarness(t, func(cfg *Config) { cfg.Expect, cfg.Transport = 2, via })
			h.group.Members = nil
			expecting := func(m lan.Member, n string) lan.Member { m.Tags["expect"] = n; return m }
			h.pool.Set(expecting(servertest.ServerMember("s1", servertest.UID("1"), "10.0.0.1", gossip.Alive), "2"),
				expecting(servertest.ServerMember("s2", servertest.UID("2"), "10.0.0.2", gossip.Alive), "2"), servertest.ServerMember("s9", servertest.UID("9"), "10.0.0.9", gossip.Alive))
			h.start(t)
			if c.want > 0 {
				servertest.Eventually(t, "consensus is started", func() bool { return len(h.group.Addresses()) == c.want })
				return
			}
			if h.noneStarted(t.Context()) {
				t.Error("a second group would be started")
			}
		})
	}
}

// Who never votes is not among those that a datacenter begins with, whatever it expects.
func TestReplicasDoNotStartConsensus(t *testing.T) {
	h := newHarness(t, func(cfg *Config) {
		cfg.Expect = 2
		cfg.Transport = answers{servertest.UID("2"): {}, servertest.UID("3"): {}}
	})
	h.group.Members = nil
	replica := lan.Server{Name: "s2", ID: servertest.UID("2"), Datacenter: "dc1", RPCPort: 8300, Expect: 2, ReadReplica: true}
	self, third := servertest.ServerMember("s1", servertest.UID("1"), "10.0.0.1", gossip.Alive), servertest.ServerMember("s3", servertest.UID("3"), "10.0.0.3", gossip.Alive)
	self.Tags["expect"], third.Tags["expect"] = "2", "2"
	both := []lan.Member{self, {Name: "s2", Addr: "10.0.0.2", Tags: replica.Tags(), Status: gossip.Alive}}
	h.pool.Set(both...)
	h.lan = h.pool
	if group := h.firstGroup(); group != nil {
		t.Errorf("it would begin with %+v", group)
	}
	h.pool.Set(append(both, third)...)
	if group := h.firstGroup(); len(group) != 2 || group[1].ID != servertest.UID("3") {
		t.Errorf("it would begin with %+v", group)
	}
}

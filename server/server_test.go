package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// group is a consensus group of which this server is the only one that runs;
// commands are applied at once.
type group struct {
	state   *storage.State
	machine *state.Machine
	leads   atomic.Bool
	other   string // the leader's ID while this server does not lead

	mu        sync.Mutex
	servers   []consensus.Server
	bootstrap []consensus.Server
	removed   []string
}

var _ Raft = (*group)(nil)

func (g *group) Propose(_ context.Context, command []byte) (any, error) {
	tx := g.state.Begin()
	defer tx.Discard()
	tx.Next()
	res, err := g.machine.Apply(tx, command)
	if err != nil {
		tx.Rollback()
	}
	return res, errors.Join(err, tx.Commit())
}

func (g *group) ConfirmLeadership(context.Context) (uint64, error) { return 0, nil }
func (g *group) LeaseRead() bool                                   { return g.leads.Load() }
func (g *group) LastContact() time.Duration                        { return 0 }
func (g *group) TransferLeadership(context.Context) error          { return nil }
func (g *group) Stats() map[string]string                          { return nil }

func (g *group) Leader() (id, address string) {
	if g.leads.Load() {
		return uid("1"), "10.0.0.1:8300"
	}
	return g.other, ""
}

func (g *group) Configuration() ([]consensus.Server, uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.servers), 0, nil
}

func (g *group) Bootstrap(s []consensus.Server) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.servers, g.bootstrap = s, s
	return nil
}

// AddVoter refuses, as Raft does, a second server with an address.
func (g *group) AddVoter(_ context.Context, id, address string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.servers {
		if s.ID != id && s.Address == address {
			return errors.New("found duplicate address in configuration")
		}
	}
	g.servers = slices.DeleteFunc(g.servers, func(s consensus.Server) bool { return s.ID == id })
	g.servers = append(g.servers, consensus.Server{ID: id, Address: address, Voter: true})
	return nil
}

func (g *group) RemoveServer(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.servers = slices.DeleteFunc(g.servers, func(s consensus.Server) bool { return s.ID == id })
	g.removed = append(g.removed, id)
	return nil
}

// pool is a LAN pool whose members the test sets.
type pool struct {
	mu   sync.Mutex
	list []lan.Member
}

func (p *pool) set(list ...lan.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = list
}

func (p *pool) Members() []lan.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

func (p *pool) FireEvent(string, []byte) error { return nil }

func (p *pool) Servers() []lan.Server {
	var out []lan.Server
	for _, m := range p.Members() {
		if s, ok := gossip.ServerOf(m); ok {
			out = append(out, s)
		}
	}
	return out
}

func clientMember(name, id, addr string, status gossip.Status) lan.Member {
	return lan.Member{Name: name, Addr: addr, Tags: gossip.ClientTags("dc1", id, "1.0.0"), Status: status}
}

func serverMember(name, id, addr string, status gossip.Status) lan.Member {
	s := lan.Server{Name: name, ID: id, Datacenter: "dc1", RPCPort: 8300, Expect: 1, Build: "1.0.0"}
	return lan.Member{Name: name, Addr: addr, Tags: s.Tags(), Status: status}
}

// silence is a transport over which nobody answers.
type silence struct{}

func (silence) RoundTrip(context.Context, transport.Target, string, []byte, []byte) ([]byte, error) {
	return nil, transport.ErrUnreachable
}

func (silence) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

// harness is a server that leads, unless change says otherwise, and is started.
type harness struct {
	*Server
	group *group
	pool  *pool
}

// uid is a node ID; those of names that follow each other do so, too.
func uid(name string) string {
	var id uuid.UUID
	copy(id[:], name)
	return id.String()
}

func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	cfg := Config{Datacenter: "dc1", NodeName: "s1", NodeID: uid("1"), HoldTimeout: time.Second, State: openState(t),
		Transport: silence{}, Log: logging.Discard(), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Server: s, group: &group{state: cfg.State, machine: s.Machine()}, pool: &pool{}}
	h.group.servers = []consensus.Server{{ID: uid("1"), Address: "10.0.0.1:8300", Voter: true}}
	h.group.leads.Store(true)
	h.pool.set(serverMember("s1", uid("1"), "10.0.0.1", gossip.Alive))
	return h
}

func (h *harness) start(t testing.TB, remote Remote) {
	t.Helper()
	if err := h.Start(Parts{Raft: h.group, LAN: h.pool, Remote: remote}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

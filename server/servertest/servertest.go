// Package servertest has what tests of a server's parts stand on: a consensus
// group of one that applies at once, and a LAN pool whose members the test sets.
// It promises nothing to anybody else.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"github.com/legate-project/legate/consensus"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/transport"
)

// Group is a consensus group of which this server is the only one that runs;
// commands are applied at once.
type Group struct {
	State   *storage.State
	Machine *state.Machine
	Leads   atomic.Bool
	Other   string // the leader's ID while this server does not lead

	Silent atomic.Int64 // how long the others have been, a time.Duration

	mu       sync.Mutex
	HandedTo string // to whom autopilot handed leadership
	Members  []consensus.Server
	Started  []consensus.Server // with whom it was told to start
	Removed  []string
}

// NewGroup is a group in which this server, the one with UID("1"), leads.
func NewGroup(s *storage.State, m *state.Machine) *Group {
	g := &Group{State: s, Machine: m, Members: []consensus.Server{{ID: UID("1"), Address: "10.0.0.1:8300", Voter: true}}}
	g.Leads.Store(true)
	return g
}

// NewPool is a pool of this server alone.
func NewPool() *Pool {
	p := &Pool{}
	p.Set(ServerMember("s1", UID("1"), "10.0.0.1", gossip.Alive))
	return p
}

// Propose applies the command, unless who proposes it has gone.
func (g *Group) Propose(ctx context.Context, command []byte) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tx := g.State.Begin()
	defer tx.Discard()
	tx.Next()
	res, err := g.Machine.Apply(tx, command)
	if err != nil {
		tx.Rollback()
	}
	return res, errors.Join(err, tx.Commit())
}

// ConfirmLeadership always does.
func (g *Group) ConfirmLeadership(context.Context) (uint64, error) { return 0, nil }

// LeaseRead is as the test says.
func (g *Group) LeaseRead() bool { return g.Leads.Load() }

// LastContact is now.
func (g *Group) LastContact() time.Duration { return 0 }

// TransferLeadership does nothing.
func (g *Group) TransferLeadership(context.Context, string) error { return nil }

// Stats has none.
func (g *Group) Stats() map[string]string { return nil }

// Leader is this server, or the other one.
func (g *Group) Leader() (id, address string) {
	if g.Leads.Load() {
		return UID("1"), "10.0.0.1:8300"
	}
	return g.Other, ""
}

// Configuration lists the members.
func (g *Group) Configuration() ([]consensus.Server, uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.Members), 0, nil
}

// Bootstrap takes the members.
func (g *Group) Bootstrap(s []consensus.Server) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Members, g.Started = s, s
	return nil
}

// AddVoter refuses, as Raft does, a second server with an address.
func (g *Group) AddVoter(_ context.Context, id, address string) error {
	return g.add(id, address, true)
}

// AddNonvoter adds a server without a vote.
func (g *Group) AddNonvoter(_ context.Context, id, address string) error {
	return g.add(id, address, false)
}

func (g *Group) add(id, address string, voter bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.Members {
		if s.ID != id && s.Address == address {
			return errors.New("found duplicate address in configuration")
		}
	}
	g.Members = slices.DeleteFunc(g.Members, func(s consensus.Server) bool { return s.ID == id })
	g.Members = append(g.Members, consensus.Server{ID: id, Address: address, Voter: voter})
	return nil
}

// RemoveServer notes who was removed.
func (g *Group) RemoveServer(_ context.Context, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Members = slices.DeleteFunc(g.Members, func(s consensus.Server) bool { return s.ID == id })
	g.Removed = append(g.Removed, id)
	return nil
}

// Pool is a LAN pool whose members the test sets.
type Pool struct {
	mu   sync.Mutex
	list []lan.Member
}

// Set says who the members are.
func (p *Pool) Set(list ...lan.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = list
}

// Members lists them.
func (p *Pool) Members() []lan.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// ForceLeave makes a failed member one that left.
func (p *Pool) ForceLeave(name string, _ bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = slices.Clone(p.list)
	for i := range p.list {
		if p.list[i].Name == name && p.list[i].Status == gossip.Failed {
			p.list[i].Status = gossip.Left
		}
	}
	return nil
}

// FireEvent does nothing.
func (p *Pool) FireEvent(string, []byte) error { return nil }

// Servers lists the servers among them.
func (p *Pool) Servers() []lan.Server {
	var out []lan.Server
	for _, m := range p.Members() {
		if s, ok := gossip.ServerOf(m); ok {
			out = append(out, s)
		}
	}
	return out
}

// ClientMember is a client agent of dc1.
func ClientMember(name, id, addr string, status gossip.Status) lan.Member {
	return lan.Member{Name: name, Addr: addr, Tags: gossip.ClientTags("dc1", id, "1.0.0"), Status: status}
}

// ServerMember is a server of dc1.
func ServerMember(name, id, addr string, status gossip.Status) lan.Member {
	s := lan.Server{Name: name, ID: id, Datacenter: "dc1", RPCPort: 8300, Expect: 1, Build: "1.0.0", Level: version.Level}
	return lan.Member{Name: name, Addr: addr, Tags: s.Tags(), Status: status}
}

// Silence is a transport over which nobody answers.
type Silence struct{}

// RoundTrip implements rpc.RoundTripper.
func (Silence) RoundTrip(context.Context, transport.Target, string, []byte, []byte) ([]byte, error) {
	return nil, transport.ErrUnreachable
}

// Open implements rpc.RoundTripper.
func (Silence) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

// Addresses maps the IDs of the consensus group to addresses.
func (g *Group) Addresses() map[string]string {
	servers, _, _ := g.Configuration()
	out := map[string]string{}
	for _, s := range servers {
		out[s.ID] = s.Address
	}
	return out
}

// UID is a node ID; those of names that follow each other do so, too.
func UID(name string) string {
	var id uuid.UUID
	copy(id[:], name)
	return id.String()
}

// OpenState opens a state in memory, until the test ends.
func OpenState(t testing.TB) *storage.State {
	t.Helper()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Write sets a key past the door.
func Write(t testing.TB, s *storage.State, key, value string) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until something is so, up to 10 s.
func Eventually(t testing.TB, what string, ok func() bool) {
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

// Management is the secret of the management token that Access makes.
const Management = "management"

// Secret makes a token with a policy of the rules and returns its secret. The caller
// has access control, with Management.
func Secret(t testing.TB, c op.Caller, text string) string {
	t.Helper()
	h := op.Header{Token: Management}
	Eventually(t, "the management token is there", func() bool {
		_, _, err := acl.ListTokens.Call(t.Context(), c, h, &acl.TokensRequest{})
		return err == nil
	})
	p, _, err := acl.SetPolicy.Call(t.Context(), c, h, &acl.SetPolicyRequest{Create: true, Policy: acl.Policy{Name: "p-" + uuid.NewString(), Rules: text}})
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := acl.SetToken.Call(t.Context(), c, h, &acl.SetTokenRequest{Create: true, Token: acl.Token{Grants: acl.Grants{Policies: []acl.Link{{ID: p.ID}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return token.SecretID
}

// Fill writes 40 keys of 50,000 bytes that are hard to compress.
func Fill(t *testing.T, s *storage.State) {
	t.Helper()
	for i := range 40 {
		value := make([]byte, 50_000)
		for j := range value {
			value[j] = byte(i * j * j >> 3)
		}
		Write(t, s, fmt.Sprint("k", i), string(value))
	}
}

// Commit applies a command with what a leader adds left out.
func (g *Group) Commit(t testing.TB, o op.Preparable, request any) {
	t.Helper()
	body, err := op.NewCall(o, op.Header{}, request).Body()
	if err != nil {
		t.Fatal(err)
	}
	command, err := g.Machine.Encode(o, body)
	if err == nil {
		_, err = g.Propose(t.Context(), command)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Counting is a sharable read of one key that counts how often it runs.
func Counting(runs *atomic.Int64) *op.Read[kv.GetRequest, kv.Entry] {
	return &op.Read[kv.GetRequest, kv.Entry]{Name: "test.get", Shared: true, Authorize: func(rules.Authorizer, *kv.GetRequest) error { return nil },
		Query: func(r storage.Reader, req *kv.GetRequest) (*kv.Entry, error) {
			runs.Add(1)
			return kv.Get.Query(r, req)
		}}
}

// Losing is a transport that loses the first answers.
type Losing struct {
	Lost  int64
	Tries atomic.Int64
}

// RoundTrip implements rpc.RoundTripper.
func (l *Losing) RoundTrip(context.Context, transport.Target, string, []byte, []byte) ([]byte, error) {
	if n := l.Tries.Add(1); n <= l.Lost {
		return nil, fmt.Errorf("try %d: %w", n, transport.ErrLost)
	}
	return op.AppendReply(nil, op.NewReply(op.Meta{}, &kv.Entry{Key: "k"}))
}

// Open implements rpc.RoundTripper.
func (*Losing) Open(context.Context, transport.Target, string) (transport.Stream, error) {
	return nil, transport.ErrUnreachable
}

// Package fleet plays the client agents of a large datacenter in one process.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/client"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/feed"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Fleet is client agents: what each of them has towards servers, that is its
// connection, its services and their comparison with the catalog, and readers that wait. They take no part in gossip,
// so servers appear and fail when the fleet is told.
type Fleet struct {
	servers atomic.Pointer[[]lan.Server]
	members int
	// Agents are all of them.
	Agents  []*Agent
	group   *lifecycle.Group
	failed  atomic.Int64          // reads that waited
	failure atomic.Pointer[error] // the last of them
}

// Agent is one agent.
type Agent struct {
	name     string
	endpoint *transport.Endpoint
	caller   *client.Client
	state    *local.State
	services []config.ServiceDefinition
}

// Servers implements client.Servers.
func (f *Fleet) Servers() []lan.Server { return *f.servers.Load() }

// NumMembers implements client.Servers.
func (f *Fleet) NumMembers() int { return f.members }

// Times of an agent towards the servers of its datacenter, as package agent sets them.
const (
	handshake = time.Second
	deaf      = 500 * time.Millisecond
	silence   = 6 * time.Second
	keepAlive = 2 * time.Second
)

// New makes agents, each on an address of its own, with so many services of a number of names.
func New(agents, services, names int, servers []lan.Server) (*Fleet, error) {
	f := &Fleet{members: agents + len(servers), group: lifecycle.New("fleet")}
	f.servers.Store(&servers)
	for i := range agents {
		p, err := f.play(i, services, names)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("agent %d: %w", i, err), f.Stop(context.Background()))
		}
		f.Agents = append(f.Agents, p)
	}
	return f, nil
}

func (f *Fleet) play(i, services, names int) (*Agent, error) {
	p := &Agent{name: fmt.Sprintf("agent%05d", i)}
	self := identity.Peer{Federation: "legate", Datacenter: "dc1", NodeID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Name: p.name}
	shows, err := identity.NewSelfSigned(self)
	if err != nil {
		return nil, err
	}
	ip := fmt.Sprintf("127.%d.%d.%d", 100+i/62_500, i/250%250, 1+i%250)
	conn, err := net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return nil, err
	}
	log, reg := logging.Discard(), prometheus.NewRegistry()
	if p.endpoint, err = transport.New(transport.Config{Name: "lan", Conn: conn, Identity: shows, HandshakeTimeout: handshake, DeafAfter: deaf,
		IdleTimeout: silence, KeepAlive: keepAlive, Log: log, Registerer: reg}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := errors.Join(p.endpoint.Handle(rpc.Protocol, transport.Protocol{Shared: true}), p.endpoint.Handle(feed.Protocol, feed.Dial())); err != nil {
		return nil, err
	}
	p.caller = client.New(client.Config{Datacenter: "dc1", Servers: f, Transport: p.endpoint, Streams: p.endpoint, HoldTimeout: 7 * time.Second, Log: log, Registerer: reg})
	if p.state, err = local.New(local.Config{Caller: p.caller.Own(), Datacenter: "dc1", NodeName: p.name, NodeID: self.NodeID, Address: ip,
		Meta: map[string]string{"consul-version": version.Consul}, ClusterSize: f.NumMembers, Log: log, Registerer: reg}); err != nil {
		return nil, err
	}
	for j := range services {
		name := fmt.Sprintf("service%04d", (i*services+j)%names)
		p.services = append(p.services, config.ServiceDefinition{ID: fmt.Sprint(name, "-", j), Name: name, Port: 8000 + j, Tags: []string{"v1"},
			Checks: []config.CheckDefinition{{ID: fmt.Sprint("check", j), TTL: time.Hour, Status: "passing"}}})
	}
	if err := p.state.Define(p.services, nil); err != nil {
		return nil, err
	}
	return p, p.state.Start()
}

// Report has an agent report what its first check says.
func (p *Agent) Report(status string) error { return p.state.UpdateTTL("check0", status, "") }

// RegisterMore has each agent register a service beside those that it has.
func (f *Fleet) RegisterMore() error {
	for _, p := range f.Agents {
		more := append(slices.Clone(p.services), config.ServiceDefinition{ID: "more", Name: "more", Port: 9000})
		if err := p.state.Define(more, nil); err != nil {
			return err
		}
	}
	return nil
}

// AppearAfter tells all agents of another list of servers, after a while.
func (f *Fleet) AppearAfter(d time.Duration, servers []lan.Server) error {
	return f.group.Spawn("appear", func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
			f.appear(servers)
		}
	})
}

// appear tells all agents of another list of servers.
func (f *Fleet) appear(servers []lan.Server) {
	f.servers.Store(&servers)
	for _, p := range f.Agents {
		p.state.ServerAppeared()
	}
}

// Without is the servers but for one.
func Without(servers []lan.Server, addr string) []lan.Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s lan.Server) bool { return s.Addr == addr })
}

// Watch has an agent wait for changes of a service until the fleet stops; each answer is told.
func (f *Fleet) Watch(p *Agent, service string, changed func()) error {
	return f.group.Spawn("watch", func(ctx context.Context) {
		var index uint64
		for ctx.Err() == nil {
			_, meta, err := catalog.ListInstances.Call(ctx, p.caller, op.Header{MinIndex: index, MaxWait: 5 * time.Minute}, &catalog.ServiceRequest{Service: service})
			if err != nil { // it asks again for what is newer, as clients do
				f.failed.Add(1)
				f.failure.Store(&err)
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
				continue
			}
			if meta.Index != index {
				index = meta.Index
				changed()
			}
		}
	})
}

// Why says how many reads that waited failed, and how the last one did.
func (f *Fleet) Why() string {
	if err := f.failure.Load(); err != nil {
		return fmt.Sprintf("%d reads failed, the last one: %v", f.failed.Load(), *err)
	}
	return "no read failed"
}

// Instances is how many instances the catalog has.
func (f *Fleet) Instances(ctx context.Context) (int, error) {
	u, _, err := catalog.CountUsage.Call(ctx, f.Agents[0].caller, op.Header{}, &op.Empty{})
	if err != nil {
		return 0, err
	}
	return u.Billable, nil
}

// Stop ends all agents without a word.
func (f *Fleet) Stop(ctx context.Context) error {
	errs := []error{f.group.Stop(ctx)}
	for _, p := range f.Agents {
		errs = append(errs, p.state.Stop(ctx), p.endpoint.Close(ctx))
	}
	return errors.Join(errs...)
}

// Package lan is the gossip pool inside a datacenter: every agent is a member,
// servers are known by their tags.
//
// It promises that no member of another datacenter gets in. It does not write
// to the catalog and does not choose servers.
package lan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/gossip"
)

// Names of the gossip pool that callers of this package need.
type (
	// Member is one agent of the datacenter.
	Member = gossip.Member
	// Server is a member that is a server.
	Server = gossip.Server
	// Event says that the members changed or a user event came.
	Event = gossip.Event
)

// Why a member is refused.
var (
	ErrOtherDatacenter = errors.New("member of another datacenter")
	ErrSameID          = errors.New("another member has this node's ID")
	ErrNoAgent         = errors.New("member is no agent")
)

// Config makes a Pool. What it has in common with gossip.Config means the same.
type Config struct {
	// Self is this node. A client agent sets only Name, ID, Datacenter and
	// Build, and Client.
	Self   Server
	Client bool
	// ForgetAfter is how long after its failure the others forget this client; 0
	// leaves that to them.
	ForgetAfter time.Duration
	// Gateway is where this client is a gateway of the datacenter, host and port; empty if it
	// is none.
	Gateway string
	// GatewayTCP is the port of TCP at which it is one, too; 0 for none.
	GatewayTCP int

	// BindAddr and BindPort are for UDP and TCP both; port 0 is any.
	BindAddr         string
	BindPort         int
	AdvertiseAddr    string
	AdvertisePort    int
	Keyring          *gossip.Keyring
	SnapshotPath     string
	RejoinAfterLeave bool
	Profile          gossip.Profile // gossip.LAN or gossip.Local
	Timing           gossip.Timing
	// Allowed are the networks whose members may join; none means all.
	Allowed []netip.Prefix
	// Gate bounds connections over TCP; nil for no bounds.
	Gate *admission.Gate
	// OnChange may be called before Start returns.
	OnChange func(Event)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (c Config) tags() map[string]string {
	if c.Client {
		return gossip.GatewayAt(gossip.ForgetAfter(gossip.ClientTags(c.Self.Datacenter, c.Self.ID, c.Self.Build), c.ForgetAfter), c.Gateway, c.GatewayTCP)
	}
	return c.Self.Tags()
}

// Pool is this node's membership in the datacenter's pool.
type Pool struct {
	*gossip.Pool
	cfg Config
}

// Start opens the pool; it knows only this node until Join.
func Start(cfg Config) (*Pool, error) {
	if cfg.Self.Name == "" || cfg.Self.Datacenter == "" {
		return nil, errors.New("start LAN gossip: node name and datacenter are needed")
	}
	pool, err := gossip.Start(gossip.Config{
		Pool:             "lan",
		NodeName:         cfg.Self.Name,
		Tags:             cfg.tags(),
		Profile:          cfg.Profile,
		Timing:           cfg.Timing,
		BindAddr:         cfg.BindAddr,
		BindPort:         cfg.BindPort,
		AdvertiseAddr:    cfg.AdvertiseAddr,
		AdvertisePort:    cfg.AdvertisePort,
		Keyring:          cfg.Keyring,
		SnapshotPath:     cfg.SnapshotPath,
		RejoinAfterLeave: cfg.RejoinAfterLeave,
		Allowed:          cfg.Allowed,
		Gate:             cfg.Gate,
		Accept:           cfg.accept,
		OnChange:         cfg.OnChange,
		Log:              cfg.Log,
		Registerer:       cfg.Registerer,
	})
	if err != nil {
		return nil, err
	}
	return &Pool{Pool: pool, cfg: cfg}, nil
}

// accept judges who may be a member.
func (c Config) accept(m Member) error {
	switch {
	case m.Role() != gossip.RoleServer && m.Role() != gossip.RoleClient:
		return fmt.Errorf("%w: its role is %q", ErrNoAgent, m.Role())
	case m.Datacenter() != c.Self.Datacenter:
		return fmt.Errorf("%w: %q, this is %q", ErrOtherDatacenter, m.Datacenter(), c.Self.Datacenter)
	case c.Self.ID != "" && m.ID() == c.Self.ID && m.Name != c.Self.Name:
		return fmt.Errorf("%w: %s", ErrSameID, m.ID())
	}
	return nil
}

// Servers returns the servers among the members, failed ones included, in
// order of their names.
func (p *Pool) Servers() []Server {
	var out []Server
	for _, m := range p.Members() {
		if s, ok := gossip.ServerOf(m); ok {
			out = append(out, s)
		}
	}
	return out
}

// Gateways returns the live members that are gateways, in order of their names.
func (p *Pool) Gateways() []Member {
	var out []Member
	for _, m := range p.Members() {
		if m.Gateway() != "" && m.Status == gossip.Alive {
			out = append(out, m)
		}
	}
	return out
}

// SetSelf changes what the tags say about this server: Bootstrap, Expect,
// Build and ports.
func (p *Pool) SetSelf(self Server) error {
	cfg := p.cfg
	cfg.Self = self
	return p.SetTags(cfg.tags())
}

// Stop ends the pool; the others will see a failure unless Leave came first.
func (p *Pool) Stop(ctx context.Context) error { return p.Pool.Stop(ctx) }

// Package wan is the gossip pool of the servers of all datacenters. It rides
// on the QUIC endpoint that the datacenters share: packets as datagrams,
// exchanges of state as streams.
//
// It promises that only servers of the same federation get in, that who
// answers at a member's address is that member by its certificate, and that a
// datacenter that was cut off comes back without being joined again. It does
// not route requests.
package wan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/transport"
)

// Protocol is the ALPN of gossip.
const Protocol = version.Gossip

// Names of the gossip pool that callers of this package need.
type (
	// Member is one server of the federation.
	Member = gossip.Member
	// Server is a member, read from its tags; Name is without the datacenter.
	Server = gossip.Server
	// Event says that the members changed.
	Event = gossip.Event
)

// Why a member is refused.
var (
	ErrNotServer = errors.New("only servers are members of the WAN pool")
	ErrWrongName = errors.New("name of a WAN member does not end with its datacenter")
	// ErrNoDatacenter stands for what the configuration does not permit as the name of a
	// datacenter: here names become routes, labels of metrics, and keys.
	ErrNoDatacenter = errors.New("that cannot be the name of a datacenter")
)

// Config makes a Pool. What it has in common with gossip.Config means the same.
type Config struct {
	// Self is this server; its name in the pool is Name.Datacenter.
	Self Server
	// Federation keeps pools apart, beside the identity of the endpoint.
	Federation string
	// Endpoint carries the gossip. The pool adds its protocol to it and
	// removes it when it stops.
	Endpoint *transport.Endpoint
	// Transport makes the transport of gossip in place of Endpoint: for
	// simulations. It shows each packet that comes in to judge, which may
	// change it. The pool shuts it down.
	Transport func(judge func([]byte)) memberlist.NodeAwareTransport
	// AdvertiseAddr is the IP address that other datacenters reach this
	// server at; needed if the endpoint's socket is bound to all addresses.
	AdvertiseAddr string
	// AdvertisePort is the port; 0 for the socket's.
	AdvertisePort int
	// Keyring is what the identity of Endpoint follows: members change it together.
	// Packets are not encrypted with it, since Endpoint does that.
	Keyring          *gossip.Keyring
	SnapshotPath     string
	RejoinAfterLeave bool
	Profile          gossip.Profile // gossip.WAN or gossip.Local
	Timing           gossip.Timing
	// Allowed are the networks whose servers may join; none means all.
	Allowed []netip.Prefix
	// Behind returns the servers that are reached through a gateway at an address, for who
	// joins there; nil if there are no gateways.
	Behind func(ctx context.Context, addr string) (names []string, err error)
	// Refuse returns why no server of a datacenter is a member, nil if they may be.
	// What it refuses is not connected to and not listed. Nil refuses none.
	Refuse func(datacenter string) error
	// OnChange may be called before Start returns.
	OnChange func(Event)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Pool is this server's membership in the federation.
type Pool struct {
	*gossip.Pool
	quic    *quicTransport // nil in simulations
	watch   *observed
	sparse  *sparse // nil in simulations of a transport without connections
	refuse  func(datacenter string) error
	damper  *damper
	metrics *poolMetrics
}

// Start opens the pool; it knows only this server until Join.
func Start(cfg Config) (*Pool, error) {
	if cfg.Self.Name == "" || cfg.Self.Datacenter == "" || cfg.Endpoint == nil && cfg.Transport == nil {
		return nil, errors.New("start WAN gossip: node name, datacenter and endpoint are needed")
	}
	if cfg.Log == nil {
		cfg.Log = logging.Discard()
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Refuse == nil {
		cfg.Refuse = func(string) error { return nil }
	}
	m, err := newMetrics(cfg.Registerer, cfg.Self.Datacenter)
	if err != nil {
		return nil, fmt.Errorf("start WAN gossip: %w", err)
	}
	p := &Pool{metrics: m, refuse: cfg.Refuse, damper: newDamper(cfg.Log, m)}
	if err := p.start(cfg); err != nil {
		m.unregister()
		return nil, err
	}
	return p, nil
}

func (p *Pool) start(cfg Config) error {
	name := FullName(cfg.Self.Name, cfg.Self.Datacenter)
	watch := newObserved(name, p.metrics)
	p.watch = watch
	waited := func(string) time.Duration { return 0 }
	if cfg.Transport != nil {
		watch.NodeAwareTransport = cfg.Transport(watch.judge)
	} else {
		p.quic = newQUICTransport(cfg.Endpoint, watch.judge, p.metrics.refused.Inc)
		p.quic.refuse, p.quic.behind = cfg.Refuse, cfg.Behind
		watch.NodeAwareTransport = p.quic
	}
	if c, ok := watch.NodeAwareTransport.(Connections); ok {
		p.sparse = newSparse(name, watch.NodeAwareTransport, c)
		watch.NodeAwareTransport, waited = p.sparse, p.sparse.waitedFor
	}
	if p.quic != nil {
		p.quic.idle = p.sparse.idle
		if err := cfg.Endpoint.Handle(Protocol, p.quic.protocol()); err != nil {
			return fmt.Errorf("start WAN gossip: %w", err)
		}
	}
	if p.sparse != nil {
		if err := p.sparse.group.Go("sample", p.sparse.keepSample); err != nil {
			return fmt.Errorf("start WAN gossip: %w", err)
		}
	}
	var err error
	p.Pool, err = gossip.Start(gossip.Config{
		Pool:             "wan",
		NodeName:         name,
		Tags:             cfg.Self.Tags(),
		Profile:          cfg.Profile,
		Timing:           cfg.Timing,
		Transport:        watch,
		NoCompression:    true,       // exchanges of state are judged by their headers
		BindPort:         cfg.port(), // the default for addresses without a port
		AdvertiseAddr:    cfg.AdvertiseAddr,
		AdvertisePort:    cfg.AdvertisePort,
		PacketSize:       transport.MaxDatagram,
		Label:            label(cfg.Federation),
		Keyring:          cfg.Keyring,
		Encrypted:        true,
		SnapshotPath:     cfg.SnapshotPath,
		RejoinAfterLeave: cfg.RejoinAfterLeave,
		Allowed:          cfg.Allowed,
		Accept:           accept,
		DatacenterOf:     datacenterOf,
		Waited:           waited,
		OnChange:         func(e Event) { p.changed(cfg, e) },
		Log:              cfg.Log,
		Registerer:       cfg.Registerer,
	})
	if err != nil {
		// The pool may have failed before it had the transport.
		return errors.Join(err, watch.Shutdown())
	}
	return nil
}

// Stop ends the pool without a word to the others: they will see a failure.
func (p *Pool) Stop(ctx context.Context) error {
	defer p.metrics.unregister()
	return p.Pool.Stop(ctx)
}

func (c Config) port() int {
	if c.Endpoint == nil {
		return c.Self.WANPort
	}
	if addr, ok := c.Endpoint.Addr().(*net.UDPAddr); ok {
		return addr.Port
	}
	return 0
}

// changed connects to who joined before the first probe of it is due, and
// keeps count of who fails.
func (p *Pool) changed(cfg Config, e Event) {
	for _, m := range e.Members {
		if p.sparse != nil {
			p.sparse.has(m, e.Kind)
		}
		switch e.Kind {
		case gossip.Join:
			p.watch.cameBack(m.Name)
			p.metrics.datacenter(datacenterOf(m.Name))
			if p.sparse == nil || !p.sparse.large() {
				cfg.connect(m)
			}
		case gossip.Fail:
			p.damper.failed(m.Name, e.At)
		case gossip.Reap:
			p.damper.forget(m.Name)
		}
	}
	if cfg.OnChange != nil {
		cfg.OnChange(e)
	}
}

// connect is done by the one of two servers whose name sorts first: one
// connection is enough.
func (c Config) connect(m Member) {
	if c.Endpoint != nil && c.Refuse(datacenterOf(m.Name)) == nil && FullName(c.Self.Name, c.Self.Datacenter) < m.Name {
		// A probe will try again and report it.
		_ = c.Endpoint.Connect(transport.Target{Addr: m.HostPort(), Name: m.Name}, Protocol)
	}
}

// FullName is a server's name in the WAN pool.
func FullName(node, datacenter string) string { return node + "." + datacenter }

// maxDatacenterName is one label of DNS, in bytes.
const maxDatacenterName = 63

// longLabel is above what a federation's name is replaced by its hash: the
// label takes room in each packet.
const longLabel = 24

func label(federation string) string {
	if len(federation) > longLabel {
		sum := sha256.Sum256([]byte(federation))
		federation = hex.EncodeToString(sum[:longLabel/2])
	}
	return "wan/" + federation
}

// nameable tells whether a datacenter can have a name: the configuration's rule.
func nameable(dc string) bool {
	other := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }
	return len(dc) <= maxDatacenterName && !strings.ContainsFunc(dc, other) && dc != "nearest" && dc != "all"
}

// accept judges who may be a member.
func accept(m Member) error {
	switch {
	case m.Role() != gossip.RoleServer:
		return fmt.Errorf("%w: its role is %q", ErrNotServer, m.Role())
	case m.Datacenter() == "" || !strings.HasSuffix(m.Name, "."+m.Datacenter()):
		return fmt.Errorf("%w %q", ErrWrongName, m.Datacenter())
	case !nameable(m.Datacenter()):
		return fmt.Errorf("%w: %q", ErrNoDatacenter, m.Datacenter())
	}
	return nil
}

// Members returns the members that are not refused, failed ones and those that
// left included, in order of their names.
func (p *Pool) Members() []Member {
	return slices.DeleteFunc(p.Pool.Members(), func(m Member) bool { return p.refuse(datacenterOf(m.Name)) != nil })
}

// Servers returns the members that are not refused, failed ones included, in
// order of their names in the pool.
func (p *Pool) Servers() []Server { return p.servers(p.Members()) }

// AllServers is Servers with those that are refused.
func (p *Pool) AllServers() []Server { return p.servers(p.Pool.Members()) }

func (p *Pool) servers(members []Member) []Server {
	var out []Server
	now := time.Now()
	for _, m := range members {
		if s, ok := gossip.ServerOf(m); ok {
			s.Damped = p.damper.isDamped(m.Name, now)
			s.Name = strings.TrimSuffix(s.Name, "."+s.Datacenter)
			s.WANPort = int(m.Port)
			out = append(out, s)
		}
	}
	return out
}

// AskKeys is gossip.Pool.AskKeys, of those that are not refused.
func (p *Pool) AskKeys(ctx context.Context, c gossip.KeyChange) ([]gossip.MemberKeys, error) {
	list, err := p.Pool.AskKeys(ctx, c)
	return slices.DeleteFunc(list, func(m gossip.MemberKeys) bool { return p.refuse(datacenterOf(m.Name)) != nil }), err
}

// Join is gossip.Pool.Join. Nobody is spared the attempt because the last one was
// refused.
func (p *Pool) Join(addrs []string) (int, error) {
	if p.quic != nil {
		p.quic.endpoint.Anew(Protocol)
	}
	return p.Pool.Join(addrs)
}

// Damped tells whether a server, by its name in the pool, failed and came back
// so often of late that it should be asked only when no other can be.
func (p *Pool) Damped(name string) bool { return p.damper.isDamped(name, time.Now()) }

// ServersByDatacenter is Servers, by datacenter.
func (p *Pool) ServersByDatacenter() map[string][]Server {
	out := map[string][]Server{}
	for _, s := range p.Servers() {
		out[s.Datacenter] = append(out[s.Datacenter], s)
	}
	return out
}

// CancelDials ends joins that are under way and has later ones fail: for a process
// that is about to stop. Goodbyes need no dial.
func (p *Pool) CancelDials() {
	if p.quic != nil {
		p.quic.endDials()
	}
}

// FloodJoin joins those of the servers (of this datacenter's LAN pool) that
// are alive there and not in the WAN pool yet, so that joining one server of
// a datacenter brings all of it. It returns how many it joined.
func (p *Pool) FloodJoin(ctx context.Context, servers []Server) (int, error) {
	present := map[string]bool{}
	for _, m := range p.Members() {
		present[m.Name] = m.Status == gossip.Alive
	}
	joined := 0
	var errs []error
	for _, s := range servers {
		name := FullName(s.Name, s.Datacenter)
		if s.Status != gossip.Alive || s.WANPort == 0 || present[name] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return joined, errors.Join(append(errs, err)...)
		}
		host := s.Addr
		if s.WANAddr != "" {
			host = s.WANAddr
		}
		n, err := p.Join([]string{name + "/" + net.JoinHostPort(host, strconv.Itoa(s.WANPort))})
		joined += n
		errs = append(errs, err)
	}
	return joined, errors.Join(errs...)
}

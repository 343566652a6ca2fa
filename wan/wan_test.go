package wan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/wanem"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

const federation = "test"

func key(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

// node is one server with an endpoint and a pool of its own.
type node struct {
	t        *testing.T
	self     Server
	endpoint *transport.Endpoint
	pool     *Pool
	stopped  bool
}

func (n *node) addr() string { return n.endpoint.Addr().String() }

// settings of a node that tests change.
type settings struct {
	net        *wanem.Network
	key        []byte
	federation string
	client     bool // identity of a client agent
	addr       string
	config     func(*Config)
}

func startNode(t *testing.T, dc, name string, s settings) *node {
	t.Helper()
	n, err := tryNode(t, dc, name, s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryNode(t *testing.T, dc, name string, s settings) (*node, error) {
	t.Helper()
	if s.key == nil {
		s.key = key(1)
	}
	if s.federation == "" {
		s.federation = federation
	}
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	id, err := identity.NewDerived(s.key, identity.Peer{
		Federation: s.federation, Datacenter: dc, NodeID: "id-" + name, Name: name, Server: !s.client})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.UDPAddr).Port
	if s.net != nil {
		conn = s.net.Wrap(conn, dc)
	}
	log := logging.Discard()
	if os.Getenv("LEGATE_TEST_LOG") != "" {
		log = logging.New(testWriter{t, name}, debugLevel(), false)
	}
	e, err := transport.New(transport.Config{Conn: conn, Identity: id, Log: log, IdleTimeout: 2 * time.Second, KeepAlive: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, endpoint: e, self: Server{Name: name, ID: "id-" + name, Datacenter: dc, RPCPort: 8300, WANPort: port, Addr: "127.0.0.1", Status: gossip.Alive}}
	cfg := Config{Self: n.self, Federation: federation, Endpoint: e, Profile: gossip.Local, Log: log}
	if s.config != nil {
		s.config(&cfg)
	}
	t.Cleanup(n.kill)
	n.pool, err = Start(cfg)
	return n, err
}

// kill ends the node without a word.
func (n *node) kill() {
	n.t.Helper()
	if n.stopped {
		return
	}
	n.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	if n.pool != nil {
		err = n.pool.Stop(ctx)
	}
	if err := errors.Join(err, n.endpoint.Close(ctx)); err != nil {
		n.t.Errorf("stop %s: %v", n.self.Name, err)
	}
}

func (n *node) join(to *node) {
	n.t.Helper()
	// The local profile gives a join 2 s, which a loaded machine may need.
	eventually(n.t, patience, n.self.Name+" joins "+to.self.Name, func() bool {
		_, err := n.pool.Join([]string{to.addr()})
		return err == nil
	})
}

// sees counts the members in a status.
func (n *node) sees(status gossip.Status) int {
	count := 0
	for _, m := range n.pool.Members() {
		if m.Status == status {
			count++
		}
	}
	return count
}

// status of a member as this node sees it.
func (n *node) status(of *node) gossip.Status {
	for _, m := range n.pool.Members() {
		if m.Name == FullName(of.self.Name, of.self.Datacenter) {
			return m.Status
		}
	}
	return gossip.None
}

// patience is how long a test waits for what must happen, on a machine that
// does much else.
const patience = 30 * time.Second

func eventually(t *testing.T, d time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(start) > d {
			t.Fatalf("%s: not within %v", what, d)
		}
		<-tick.C
	}
	return time.Since(start)
}

func network(t *testing.T, l wanem.Link) *wanem.Network {
	t.Helper()
	n, err := wanem.New(7)
	if err != nil {
		t.Fatal(err)
	}
	n.SetDefault(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// sites starts servers a1, a2 … in dc1, b1 … in dc2 and so on, and joins them
// all through the first.
func sites(t *testing.T, n *wanem.Network, datacenters, servers int) []*node {
	t.Helper()
	var all []*node
	for d := range datacenters {
		for i := range servers {
			name := fmt.Sprintf("%c%d", 'a'+d, i+1)
			all = append(all, startNode(t, fmt.Sprintf("dc%d", d+1), name, settings{net: n}))
		}
	}
	for _, m := range all[1:] {
		m.join(all[0])
	}
	eventually(t, patience, "every server sees all", func() bool {
		for _, m := range all {
			if m.sees(gossip.Alive) != len(all) {
				return false
			}
		}
		return true
	})
	return all
}

func TestThreeSitesConvergeOverALossyWAN(t *testing.T) {
	t.Parallel()
	all := sites(t, network(t, wanem.Link{RTT: 80 * time.Millisecond, Loss: 0.01}), 3, 2)
	byDC := all[5].pool.ServersByDatacenter()
	if len(byDC) != 3 || len(byDC["dc1"]) != 2 || byDC["dc1"][0].Name != "a1" || byDC["dc1"][0].ID != "id-a1" {
		t.Fatalf("servers by datacenter: %+v", byDC)
	}
}

func TestKilledServerIsSeenToFailAndLeavingOneToLeave(t *testing.T) {
	t.Parallel()
	all := sites(t, network(t, wanem.Link{RTT: 80 * time.Millisecond}), 3, 1)
	all[1].kill()
	took := eventually(t, patience, "b1 failed", func() bool {
		return all[0].status(all[1]) == gossip.Failed && all[2].status(all[1]) == gossip.Failed
	})
	t.Logf("failure seen after %v", took)
	if err := all[2].pool.Leave(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "c1 left", func() bool { return all[0].status(all[2]) == gossip.Left })
	if err := all[0].pool.ForceLeave("b1.dc2", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "b1 is forgotten", func() bool { return all[0].status(all[1]) == gossip.None })
	if err := all[0].pool.ForceLeave("nobody.dc9", false); !errors.Is(err, gossip.ErrUnknownMember) {
		t.Error(err)
	}
}

func TestCutDatacenterFailsAndComesBackByItself(t *testing.T) {
	t.Parallel()
	n := network(t, wanem.Link{RTT: 80 * time.Millisecond})
	all := sites(t, n, 3, 2)
	a1, c1, c2 := all[0], all[4], all[5]
	n.Cut("dc3")
	took := eventually(t, patience, "both sides see the cut", func() bool {
		return a1.sees(gossip.Failed) == 2 && c1.sees(gossip.Failed) == 4
	})
	t.Logf("cut seen after %v", took)
	if c1.status(c2) != gossip.Alive {
		t.Error("within the cut datacenter a member failed")
	}
	n.Heal("dc3")
	took = eventually(t, patience, "all are whole again", func() bool {
		for _, m := range all {
			if m.sees(gossip.Alive) != len(all) {
				return false
			}
		}
		return true
	})
	t.Logf("whole again after %v", took)
}

func TestStrangersDoNotGetIn(t *testing.T) {
	member := startNode(t, "dc1", "a1", settings{})
	for name, c := range map[string]struct {
		s    settings
		want string
	}{
		"another key":        {settings{key: key(2)}, identity.ErrWrongAuthority.Error()},
		"another federation": {settings{federation: "other"}, identity.ErrWrongFederation.Error()},
		"a client agent":     {settings{client: true}, ErrNotServer.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			stranger := startNode(t, "dc2", "b1", c.s)
			_, err := stranger.pool.Join([]string{member.addr()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("join: %v, want the reason %q", err, c.want)
			}
			if _, err := member.pool.Join([]string{stranger.addr()}); err == nil {
				t.Error("the member joined the stranger")
			}
			if member.sees(gossip.Alive) != 1 || stranger.sees(gossip.Alive) != 1 {
				t.Error("the stranger is a member")
			}
		})
	}
}

func TestOnlyServersWithTheirDatacentersNameAreMembers(t *testing.T) {
	tags := Server{Datacenter: "dc2", RPCPort: 1}.Tags()
	for _, c := range []struct {
		m    Member
		want error
	}{
		{Member{Name: "b1.dc2", Tags: tags}, nil},
		{Member{Name: "b1", Tags: tags}, ErrWrongName},
		{Member{Name: "b1.dc3", Tags: tags}, ErrWrongName},
		{Member{Name: "b1.dc2", Tags: gossip.ClientTags("dc2", "", "")}, ErrNotServer},
		{Member{Name: "b1."}, ErrNotServer},
		{Member{Name: "b1.dc\xff", Tags: Server{Datacenter: "dc\xff", RPCPort: 1}.Tags()}, ErrNoDatacenter},
		{Member{Name: "b1.d\nc", Tags: Server{Datacenter: "d\nc", RPCPort: 1}.Tags()}, ErrNoDatacenter},
		{Member{Name: "b1.dc,2", Tags: Server{Datacenter: "dc,2", RPCPort: 1}.Tags()}, ErrNoDatacenter},
		{Member{Name: "b1.all", Tags: Server{Datacenter: "all", RPCPort: 1}.Tags()}, ErrNoDatacenter},
		{Member{Name: "b1." + strings.Repeat("d", 64), Tags: Server{Datacenter: strings.Repeat("d", 64), RPCPort: 1}.Tags()}, ErrNoDatacenter},
	} {
		if err := accept(c.m); !errors.Is(err, c.want) {
			t.Errorf("%s %v: %v, want %v", c.m.Name, c.m.Tags, err, c.want)
		}
	}
}

func TestAddressThatAnotherServerTookOverIsNotTheMember(t *testing.T) {
	t.Parallel()
	a1, b1 := startNode(t, "dc1", "a1", settings{}), startNode(t, "dc2", "b1", settings{})
	a1.join(b1)
	addr := b1.addr()
	b1.kill()
	impostor := startNode(t, "dc2", "b2", settings{addr: addr})
	eventually(t, patience, "b1 failed although its address answers", func() bool {
		return a1.status(b1) == gossip.Failed
	})
	impostor.join(a1)
	eventually(t, patience, "b2 is a member", func() bool { return a1.status(impostor) == gossip.Alive })
}

func TestFloodJoinBringsTheWholeDatacenter(t *testing.T) {
	a1, a2, b1 := startNode(t, "dc1", "a1", settings{}), startNode(t, "dc1", "a2", settings{}), startNode(t, "dc2", "b1", settings{})
	a1.join(b1)
	failed := a2.self
	failed.Name, failed.Status = "a3", gossip.Failed
	lan := []Server{a1.self, a2.self, failed, {Name: "a4", Datacenter: "dc1", Status: gossip.Alive}}
	joined, err := a1.pool.FloodJoin(t.Context(), lan)
	if err != nil || joined != 1 {
		t.Fatalf("joined %d, %v; want a2 alone", joined, err)
	}
	eventually(t, patience, "b1 sees a2", func() bool { return b1.status(a2) == gossip.Alive })
	if joined, err := a1.pool.FloodJoin(t.Context(), lan); err != nil || joined != 0 {
		t.Fatalf("again: joined %d, %v", joined, err)
	}
}

func TestRestartedServerRejoinsFromItsSnapshotAtANewAddress(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "remote.snapshot")
	snapshot := func(c *Config) { c.SnapshotPath = path }
	a1, b1 := startNode(t, "dc1", "a1", settings{}), startNode(t, "dc2", "b1", settings{config: snapshot})
	b1.join(a1)
	eventually(t, patience, "both are members", func() bool { return a1.status(b1) == gossip.Alive })
	old := b1.addr()
	b1.kill()
	again := startNode(t, "dc2", "b1", settings{config: snapshot})
	if again.addr() == old {
		t.Skip("the same port was drawn")
	}
	port := again.endpoint.Addr().(*net.UDPAddr).Port
	eventually(t, patience, "b1 is alive at its new address", func() bool {
		for _, s := range a1.pool.Servers() {
			if s.Name == "b1" && s.Status == gossip.Alive && s.WANPort == port {
				return true
			}
		}
		return false
	})
}

func TestCoordinatesComeCloseToTheRoundTrips(t *testing.T) {
	n := network(t, wanem.Link{})
	n.Set("dc1", "dc2", wanem.Link{RTT: 40 * time.Millisecond})
	n.Set("dc1", "dc3", wanem.Link{RTT: 80 * time.Millisecond})
	n.Set("dc2", "dc3", wanem.Link{RTT: 70 * time.Millisecond})
	var all []*node
	fast := settings{net: n, config: func(c *Config) {
		c.Timing = gossip.Timing{ProbeInterval: 100 * time.Millisecond, ProbeTimeout: 95 * time.Millisecond}
	}}
	for i, name := range []string{"a1", "b1", "c1"} {
		all = append(all, startNode(t, fmt.Sprintf("dc%d", i+1), name, fast))
	}
	all[1].join(all[0])
	all[2].join(all[0])
	// On a busy machine packets take longer than the link says: what the probes
	// measured is the truth.
	near := func(x, y int, least time.Duration) bool {
		d, ok := rtt.Distance(all[x].pool.Coordinate(), all[y].pool.Coordinate())
		is, probed := all[x].pool.RoundTrip(FullName(all[y].self.Name, all[y].self.Datacenter))
		return ok && probed && is >= least && (d-is).Abs() < is/5
	}
	// Not once by chance: for half a second on end.
	var since time.Time
	took := eventually(t, patience, "estimates within 20 %", func() bool {
		good := near(0, 1, 40*time.Millisecond) && near(0, 2, 80*time.Millisecond) && near(1, 2, 70*time.Millisecond)
		if !good {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		return good && time.Since(since) > 500*time.Millisecond
	})
	t.Logf("after %v", took)
	if _, ok := all[0].pool.CoordinateOf("b1.dc2"); !ok {
		t.Error("the coordinate of a probed member is unknown")
	}
}

func TestGarbageFromAMemberHarmsNobody(t *testing.T) {
	a1 := startNode(t, "dc1", "a1", settings{})
	id, err := identity.NewDerived(key(1), identity.Peer{Federation: federation, Datacenter: "dc2", NodeID: "x", Name: "x", Server: true})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := transport.New(transport.Config{Conn: conn, Identity: id,
		Protocols: map[string]transport.Protocol{Protocol: {Datagram: func(transport.Remote, []byte, time.Time) {}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	to := transport.Target{Addr: a1.addr()}
	huge := []byte{244, 8, 'w', 'a', 'n', '/', 't', 'e', 's', 't', 6, 0x83, 0xff, 0xff, 0xff, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, garbage := range [][]byte{{}, {0}, {244}, {244, 255}, bytes.Repeat([]byte{0xdd}, 1000), huge} {
		s, err := e.Open(ctx, to, Protocol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(garbage); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if err := e.SendDatagram(to, Protocol, garbage); err != nil {
				t.Fatal(err)
			}
		}
	}
	b1 := startNode(t, "dc2", "b1", settings{})
	b1.join(a1)
}

func TestUnspecifiedAddressNeedsAnAdvertisedOne(t *testing.T) {
	if n, err := tryNode(t, "dc1", "a1", settings{addr: "0.0.0.0:0"}); err == nil {
		t.Fatalf("started as %+v", n.pool.LocalMember())
	}
	n := startNode(t, "dc1", "a1", settings{addr: "0.0.0.0:0", config: func(c *Config) { c.AdvertiseAddr = "127.0.0.1"; c.AdvertisePort = 9 }})
	if m := n.pool.LocalMember(); m.Addr != "127.0.0.1" || m.Port != 9 {
		t.Fatalf("advertised %s:%d", m.Addr, m.Port)
	}
}

func TestPacketsAboveTheSizeOfADatagramAreRefused(t *testing.T) {
	a1 := startNode(t, "dc1", "a1", settings{})
	c := newQUICTransport(a1.endpoint, func([]byte) {}, func() {})
	if _, err := c.WriteToAddress(make([]byte, transport.MaxDatagram+1), memberlist.Address{Addr: a1.addr()}); !errors.Is(err, transport.ErrTooLarge) {
		t.Fatal(err)
	}
}

package lan

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/gossip"
)

func key(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

func keyring(t *testing.T, keys ...[]byte) *gossip.Keyring {
	t.Helper()
	k, err := gossip.NewKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// agent starts a pool on loopback that ends with the test.
func agent(t *testing.T, name string, change ...func(*Config)) *Pool {
	t.Helper()
	cfg := Config{
		Self:     Server{Name: name, ID: "id-" + name, Datacenter: "dc1", RPCPort: 8300, WANPort: 8302, Build: "0.1.0"},
		BindAddr: "127.0.0.1", Profile: gossip.Local, Keyring: keyring(t, key(1)),
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, p) })
	return p
}

func stop(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func client(c *Config) { c.Client = true }

func addr(p *Pool) string { return p.LocalMember().HostPort() }

func join(t *testing.T, p, to *Pool) {
	t.Helper()
	if n, err := p.Join([]string{addr(to)}); err != nil || n != 1 {
		t.Fatalf("join: %d, %v", n, err)
	}
}

// patience is how long a test waits for what must happen, on a machine that
// does much else.
const patience = 30 * time.Second

func eventually(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

func status(p *Pool, name string) gossip.Status {
	for _, m := range p.Members() {
		if m.Name == name {
			return m.Status
		}
	}
	return gossip.None
}

// recorder keeps the events of a pool.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) has(kind gossip.Kind, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind && (e.User != nil && e.User.Name == name || len(e.Members) > 0 && e.Members[0].Name == name) {
			return true
		}
	}
	return false
}

func TestServersAreKnownByTheirTags(t *testing.T) {
	first := agent(t, "s1", func(c *Config) { c.Self.Bootstrap = true; c.Self.RaftPort = 8301; c.Self.WANAddr = "192.0.2.1" })
	second := agent(t, "s2", func(c *Config) { c.Self.Expect = 3 })
	c1 := agent(t, "c1", client)
	join(t, second, first)
	join(t, c1, first)
	eventually(t, patience, "three members everywhere", func() bool {
		return len(first.Members()) == 3 && len(second.Members()) == 3 && len(c1.Members()) == 3
	})
	servers := c1.Servers()
	if len(servers) != 2 {
		t.Fatalf("servers: %+v", servers)
	}
	want := Server{Name: "s1", ID: "id-s1", Datacenter: "dc1", Addr: "127.0.0.1", WANAddr: "192.0.2.1", RPCPort: 8300, RaftPort: 8301,
		WANPort: 8302, Bootstrap: true, Build: "0.1.0", Level: 1, Status: gossip.Alive}
	if servers[0] != want {
		t.Errorf("%+v, want %+v", servers[0], want)
	}
	if s := servers[1]; s.RaftPort != 8300 || s.Expect != 3 || s.Bootstrap {
		t.Errorf("%+v", s)
	}
	m := c1.Members()[1]
	for tag, want := range map[string]string{"role": "consul", "dc": "dc1", "id": "id-s1", "port": "8300", "bootstrap": "1",
		"wan_join_port": "8302", "vsn": "2", "raft_vsn": "3", "build": "0.1.0", "segment": ""} {
		if got, ok := m.Tags[tag]; !ok || got != want {
			t.Errorf("tag %s is %q, want %q", tag, got, want)
		}
	}
	if m := c1.LocalMember(); m.Role() != "node" || m.ProtocolMax == 0 || m.DelegateCur == 0 {
		t.Errorf("client member %+v", m)
	}
}

func TestMalformedTagsAreNoServer(t *testing.T) {
	good := Server{Datacenter: "dc1", RPCPort: 8300}.Tags()
	for tag, value := range map[string]string{"port": "70000", "role": "node", "dc": "", "expect": "-1", "raft_port": "x", "wan_join_port": "1e3"} {
		m := Member{Name: "s", Tags: map[string]string{}}
		for k, v := range good {
			m.Tags[k] = v
		}
		if _, ok := gossip.ServerOf(m); !ok {
			t.Fatal("the good tags are none")
		}
		m.Tags[tag] = value
		if s, ok := gossip.ServerOf(m); ok {
			t.Errorf("%s=%s was read as %+v", tag, value, s)
		}
	}
}

func TestChangesArriveAsEvents(t *testing.T) {
	var seen recorder
	s1 := agent(t, "s1", func(c *Config) { c.OnChange = seen.add })
	s2, s3 := agent(t, "s2"), agent(t, "s3")
	join(t, s2, s1)
	join(t, s3, s1)
	for _, name := range []string{"s1", "s2", "s3"} {
		eventually(t, patience, "join of "+name, func() bool { return seen.has(gossip.Join, name) })
	}
	if err := s2.SetSelf(Server{Name: "s2", ID: "id-s2", Datacenter: "dc1", RPCPort: 8300, Expect: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "update", func() bool { return seen.has(gossip.Update, "s2") && s1.Servers()[1].Expect == 5 })
	if err := s3.UserEvent("deploy", []byte("v2"), false); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "user event", func() bool { return seen.has(gossip.User, "deploy") })
	if err := s3.UserEvent("large", make([]byte, gossip.MaxUserEvent), false); err == nil {
		t.Error("a user event above the bound was sent")
	}
	if err := s3.Leave(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "leave", func() bool { return seen.has(gossip.Leave, "s3") })
	stop(t, s2)
	eventually(t, patience, "failure", func() bool { return seen.has(gossip.Fail, "s2") })
	if err := s1.ForceLeave("s2", true); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "reap", func() bool { return seen.has(gossip.Reap, "s2") })
}

func TestJoiningAgainLosesNoEventThatIsOnItsWay(t *testing.T) {
	mute := func(c *Config) { // what is fired travels only when state is exchanged
		c.Timing = gossip.Timing{GossipInterval: time.Hour, ProbeInterval: time.Hour, PushPullInterval: time.Hour}
	}
	seen := &recorder{}
	s1 := agent(t, "s1", mute)
	if err := s1.UserEvent("before", nil, false); err != nil {
		t.Fatal(err)
	}
	s2 := agent(t, "s2", mute, func(c *Config) { c.OnChange = seen.add })
	join(t, s2, s1)
	for _, name := range []string{"first", "second"} {
		if err := s1.UserEvent(name, nil, false); err != nil {
			t.Fatal(err)
		}
		join(t, s2, s1)
		eventually(t, patience, name+" event", func() bool { return seen.has(gossip.User, name) })
	}
	if seen.has(gossip.User, "before") {
		t.Error("an event from before the node was a member was delivered")
	}
}

func TestSlowReaderHoldsNobodyUpAndIsToldToLookAgain(t *testing.T) {
	release := make(chan struct{})
	resync := make(chan struct{}, 1)
	var once sync.Once
	s1 := agent(t, "s1", func(c *Config) {
		c.OnChange = func(e Event) {
			once.Do(func() { <-release })
			if e.Kind == gossip.Resync {
				select {
				case resync <- struct{}{}:
				default:
				}
			}
		}
	})
	done := make(chan error, 1)
	go func() {
		for i := range 8000 {
			if err := s1.UserEvent(fmt.Sprint(i), nil, false); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("a slow reader blocks Serf")
	}
	close(release)
	select {
	case <-resync:
	case <-time.After(patience):
		t.Fatal("events were dropped and the reader was not told")
	}
}

func TestMembersOfOthersAreRefusedWithTheReason(t *testing.T) {
	s1 := agent(t, "s1")
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"datacenter": {func(c *Config) { c.Self.Datacenter = "dc2" }, ErrOtherDatacenter.Error()},
		"node ID":    {func(c *Config) { c.Self.ID = "id-s1" }, ErrSameID.Error()},
		"key":        {func(c *Config) { c.Keyring = keyring(t, key(2)) }, ""},
		"no key":     {func(c *Config) { c.Keyring = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			stranger := agent(t, "stranger", c.change)
			if _, err := stranger.Join([]string{addr(s1)}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("join: %v, want the reason %q", err, c.want)
			}
			if _, err := s1.Join([]string{addr(stranger)}); err == nil {
				t.Error("the member joined the stranger")
			}
			if len(s1.Members()) != 1 {
				t.Errorf("members: %+v", s1.Members())
			}
		})
	}
}

func TestRestartedAgentRejoinsFromItsSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.snapshot")
	s1 := agent(t, "s1")
	s2 := agent(t, "s2", func(c *Config) { c.SnapshotPath = path })
	join(t, s2, s1)
	eventually(t, patience, "s2 is a member", func() bool { return status(s1, "s2") == gossip.Alive })
	stop(t, s2)
	again := agent(t, "s2", func(c *Config) { c.SnapshotPath = path }) // at another port
	port := again.LocalMember().Port
	eventually(t, patience, "s2 is back at its new address", func() bool {
		for _, m := range s1.Members() {
			if m.Name == "s2" && m.Status == gossip.Alive && m.Port == port {
				return true
			}
		}
		return false
	})
}

func TestGarbageHarmsNobody(t *testing.T) {
	for name, encrypted := range map[string]bool{"encrypted": true, "open": false} {
		t.Run(name, func(t *testing.T) {
			withKeys := func(c *Config) {
				if !encrypted {
					c.Keyring = nil
				}
			}
			s1 := agent(t, "s1", withKeys)
			udp, err := net.Dial("udp", addr(s1))
			if err != nil {
				t.Fatal(err)
			}
			defer udp.Close()
			huge := append([]byte{10}, binary.BigEndian.AppendUint32(nil, 0xffffffff)...)
			nodes := []byte{6, 0x83, 0xa5, 'N', 'o', 'd', 'e', 's', 0xce, 0x7f, 0xff, 0xff, 0xff}
			for _, garbage := range [][]byte{{0}, {244, 255}, bytes.Repeat([]byte{0xdd, 0xff}, 700), huge, nodes, {12, 1, 2, 3}} {
				if _, err := udp.Write(garbage); err != nil {
					t.Fatal(err)
				}
				tcp, err := net.Dial("tcp", addr(s1))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tcp.Write(garbage); err != nil {
					t.Fatal(err)
				}
				tcp.Close()
			}
			s2 := agent(t, "s2", withKeys)
			join(t, s2, s1)
		})
	}
}

func TestMetricsCountMembersOnScrape(t *testing.T) {
	reg := prometheus.NewRegistry()
	s1 := agent(t, "s1", func(c *Config) { c.Registerer = reg })
	s2 := agent(t, "s2")
	join(t, s2, s1)
	want := `
# HELP legate_gossip_members Members, by status and datacenter. Worry: failed ones.
# TYPE legate_gossip_members gauge
legate_gossip_members{datacenter="dc1",pool="lan",status="alive"} 2
legate_gossip_members{datacenter="dc1",pool="lan",status="failed"} 0
legate_gossip_members{datacenter="dc1",pool="lan",status="leaving"} 0
legate_gossip_members{datacenter="dc1",pool="lan",status="left"} 0
`
	eventually(t, patience, "members counted", func() bool {
		return testutil.GatherAndCompare(reg, strings.NewReader(want), "legate_gossip_members") == nil
	})
	eventually(t, patience, "a probe measured", func() bool {
		_, known := s1.CoordinateOf("s2")
		return known
	})
	if n, err := testutil.GatherAndCount(reg, "legate_gossip_events_total"); err != nil || n != 7 {
		t.Errorf("%d series of events, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	stop(t, s1)
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
		t.Errorf("after the stop %d series are left, %v", n, err)
	}
}

package reach

import (
	"slices"
	"strings"
	"testing"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/transport/gateway"
)

// Tags of a member have 512 bytes in all: what does not fit is left out, not cut.
func TestGatewaysThatFitTheTags(t *testing.T) {
	long := strings.Repeat("x", maxViaBytes) + ":1"
	for _, c := range []struct {
		via  []string
		want string
	}{
		{nil, ""},
		{[]string{"a:1", "b:2"}, "a:1,b:2"},
		{[]string{"a:1", "b:2", "c:3", "d:4"}, "a:1,b:2,c:3"},
		{[]string{"a:1", long}, "a:1"},
		{[]string{long}, ""},
	} {
		if got := fitting(c.via); got != c.want {
			t.Errorf("of %.40q %q fit, not %q", c.via, got, c.want)
		}
	}
}

// Servers of the own datacenter dial each other, also where a node's name has dots.
func TestWhoIsNear(t *testing.T) {
	w := New(Config{Agent: &config.Config{Datacenter: "dc1"}})
	for name, want := range map[string]bool{"a.dc1": true, "a.b.dc1": true, "a": true, "": true, "a.dc2": false, "dc1.dc2": false, "a.xdc1": false} {
		if w.near(name) != want {
			t.Errorf("%q near: %t", name, !want)
		}
	}
}

// What goes to other servers goes by the gateways that this server has where UDP does not get
// through; not by one that another datacenter shows and that does not answer UDP.
func TestForeignGatewaysByTCPDrawNothing(t *testing.T) {
	own := gossip.Member{Addr: "10.0.0.9", Tags: map[string]string{"gateway": "192.0.2.9:8302"}}
	cfg := &config.Config{Datacenter: "dc1"}
	cfg.Ports.SerfWAN = 8302
	cfg.Federation.Gateways = []string{"gw.example"}
	w := New(Config{Agent: cfg, Gateways: func() []gossip.Member { return []gossip.Member{own} }})
	byTCP := []string{"10.0.0.9:8302", "192.0.2.66:8302", "gw.example:8302"}
	if got := w.ofOwn(byTCP); got != nil {
		t.Errorf("one that is reached directly goes through %q", got)
	}
	cfg.Federation.Reach = config.ReachGateways
	if got, want := w.ofOwn(byTCP), []string{"10.0.0.9:8302", "gw.example:8302"}; !slices.Equal(got, want) {
		t.Errorf("it goes through %q, not %q", got, want)
	}
	if got := w.ofOwn(byTCP[1:2]); got != nil {
		t.Errorf("it goes through %q", got)
	}
}

// Who carries names whom it goes on through: a name that nobody has makes no path, since its
// datacenter would be shown to people, whatever it consists of.
func TestPathsLeadThroughServersThatAreKnown(t *testing.T) {
	k := &known{}
	k.chart([]peer{{name: "a.dc1", datacenter: "dc1", transit: true}, {name: "b.dc2", datacenter: "dc2", transit: true}})
	for _, c := range []struct {
		l    gateway.Link
		want string
	}{
		{gateway.Link{Datacenter: "dc3", Reached: true}, "a.dc1"},
		{gateway.Link{Datacenter: "dc3", Through: "b.dc2"}, "a.dc1 b.dc2"},
		{gateway.Link{Datacenter: "dc3", Through: "x.dc2"}, ""},
		{gateway.Link{Datacenter: "dc3", Through: "b.\x1b[2Jdc9"}, ""},
		{gateway.Link{Datacenter: "dc3"}, ""},
	} {
		p, ok := k.pathBy("a.dc1", gateway.Report{Carries: true}, c.l)
		if ok != (c.want != "") || ok && p.Key() != c.want {
			t.Errorf("%+v makes the path %q (%t)", c.l, p.Key(), ok)
		}
	}
}

// Ways that were not opened, since the agent did not start, are stopped all the same.
func TestWaysThatWereNotOpened(t *testing.T) {
	w := New(Config{Agent: &config.Config{Datacenter: "dc1"}})
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAGatewaysPort(t *testing.T) {
	for addr, want := range map[string]string{"gw.example": "gw.example:8302", "gw.example:443": "gw.example:443", "10.0.0.1": "10.0.0.1:8302", "2001:db8::1": "[2001:db8::1]:8302", "[2001:db8::1]": "[2001:db8::1]:8302", "[2001:db8::1]:443": "[2001:db8::1]:443"} {
		if got := withPort(addr, 8302); got != want {
			t.Errorf("%s is dialled at %s", addr, got)
		}
	}
}

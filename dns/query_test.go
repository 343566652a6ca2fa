package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// prepared is a datacenter that knows some prepared queries. It notes the last
// call.
type prepared struct {
	*fake
	header  op.Header
	request query.ExecuteRequest
}

func (p *prepared) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	r, ok := req.(*query.ExecuteRequest)
	if !ok {
		return p.fake.Do(ctx, c)
	}
	p.header, p.request = c.Header, *r
	a := &query.Answer{Service: "web", Datacenter: "dc1"}
	switch r.Name {
	case "here", "a.b":
		a.Nodes = p.services["web"]
	case "ttl":
		a.Nodes, a.DNS.TTL = p.services["web"], "90s"
	case "far": // of a node that does not say its datacenter
		n := &catalog.Node{Node: "far1", Address: "10.2.0.1"}
		a.Datacenter, a.Nodes = "dc2", catalog.Instances{instance(n, catalog.Service{Service: "far", Port: 70}, "passing"),
			instance(n, catalog.Service{ID: "own", Service: "far", Port: 71, Address: "10.2.0.9"}, "passing")}
	case "sorted":
		for i := range 9 {
			a.Nodes = append(a.Nodes, instance(node(fmt.Sprintf("n%d", i), fmt.Sprintf("10.0.0.%d", i)), catalog.Service{Service: "web", Port: 80}, "passing"))
		}
	case "empty":
	case "old":
		a.Nodes, a.DNS.TTL = p.services["web"], "90s"
		return op.NewReply(op.Meta{Age: time.Minute}, a), nil
	case "unasked":
		return op.NewReply(op.Meta{Outcomes: []op.Outcome{{Datacenter: "dc1"}, {Datacenter: "dc2", State: op.Unreachable}}}, a), nil
	case "broken":
		return nil, op.Errorf(op.CodeNoLeader, "No cluster leader")
	case "invalid":
		return nil, op.Errorf(op.CodeInvalid, "cannot be asked of several datacenters")
	case "denied":
		return nil, op.Errorf(op.CodeDenied, "Permission denied")
	default:
		return nil, op.Errorf(op.CodeNotFound, "Query not found")
	}
	return op.NewReply(op.Meta{}, a), nil
}

// That a name may not be seen is one thing, that nothing can be asked another.
func TestATokenThatStandsForNothingIsNoAnswerAboutNames(t *testing.T) {
	var stands error
	asked := ""
	s, _ := start(t, &prepared{fake: newFake()}, func(c *Config) {
		c.Token = func() string { return "secret" }
		c.Stands = func(_ context.Context, token string) error {
			asked = token
			return stands
		}
	})
	for _, c := range []struct {
		stands error
		want   int
	}{
		{nil, mdns.RcodeNameError},
		{op.Errorf(op.CodeDenied, "ACL not found"), mdns.RcodeServerFailure},
		{op.ErrNoLeader, mdns.RcodeNameError},
	} {
		stands, asked = c.stands, ""
		m := ask(t, s, "denied.query.consul.", mdns.TypeA)
		if m.Rcode != c.want || asked != "secret" || (len(m.Ns) == 0) != (c.want == mdns.RcodeServerFailure) {
			t.Errorf("a token of which is said %v: %s, asked about %q", c.stands, m, asked)
		}
	}
}

// TestQueryNames: one row is one question with its answer.
func TestQueryNames(t *testing.T) {
	var sorted strings.Builder
	for i := range 9 {
		fmt.Fprintf(&sorted, " sorted.query.consul. 5 A 10.0.0.%d", i)
	}
	for _, c := range []struct {
		qname string
		qtype uint16
		want  string
	}{
		{"here.query.consul.", mdns.TypeA, "NOERROR here.query.consul. 5 A 10.0.0.1"},
		{"HERE.query.consul.", mdns.TypeA, "NOERROR HERE.query.consul. 5 A 10.0.0.1"},
		{"here.query.dc2.consul.", mdns.TypeA, "NOERROR here.query.dc2.consul. 5 A 10.0.0.1"},
		{"here.query.dc2.dc.alt.example.", mdns.TypeA, "NOERROR here.query.dc2.dc.alt.example. 5 A 10.0.0.1"},
		{"here.query.consul.", mdns.TypeTXT, "NOERROR" + soa},
		{"_here._tcp.query.consul.", mdns.TypeA, "NOERROR _here._tcp.query.consul. 5 A 10.0.0.1"},
		{"_here._udp.query.dc1.consul.", mdns.TypeA, "NOERROR _here._udp.query.dc1.consul. 5 A 10.0.0.1"},
		{"_here._other.query.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"a.b.query.consul.", mdns.TypeA, "NOERROR a.b.query.consul. 5 A 10.0.0.1"},
		{"ttl.query.consul.", mdns.TypeA, "NOERROR ttl.query.consul. 90 A 10.0.0.1"},
		{"sorted.query.consul.", mdns.TypeA, "NOERROR" + sorted.String()},
		{"far.query.consul.", mdns.TypeSRV, "NOERROR far.query.consul. 5 SRV 1 1 70 far1.node.dc2.consul. far.query.consul. 5 SRV 1 1 71 0a020009.addr.dc2.consul." +
			" + far1.node.dc2.consul. 5 A 10.2.0.1 + 0a020009.addr.dc2.consul. 5 A 10.2.0.9"},
		{"empty.query.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"old.query.consul.", mdns.TypeA, "NOERROR old.query.consul. 5 A 10.0.0.1"},
		{"unasked.query.consul.", mdns.TypeA, "SERVFAIL"},
		{"none.query.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"denied.query.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"invalid.query.nearest.consul.", mdns.TypeA, "NXDOMAIN" + soa}, // it will not become valid by being asked again
		{"broken.query.consul.", mdns.TypeA, "SERVFAIL"},
		{"query.consul.", mdns.TypeA, "NOERROR" + soa},
		{"here.query.a.b.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"web.service.query.consul.", mdns.TypeA, "NXDOMAIN" + soa}, // a query with the name web.service
	} {
		s, _ := start(t, &prepared{fake: newFake()})
		if got := show(ask(t, s, c.qname, c.qtype, edns(4096))); got != c.want {
			t.Errorf("%s %s\n got %s\nwant %s", c.qname, mdns.TypeToString[c.qtype], got, c.want)
		}
	}
}

// Who asks, and through which agent, is told: the query may sort by it.
func TestQueryIsToldWhoAsks(t *testing.T) {
	p := &prepared{fake: newFake()}
	s, _ := start(t, p, func(c *Config) { c.Node = "agent1" })
	from := netip.MustParseAddr("192.0.2.7")
	asked := func(change func(*mdns.Msg)) *mdns.Msg {
		t.Helper()
		m := new(mdns.Msg).SetQuestion("here.query.dc2.consul.", mdns.TypeA)
		change(m)
		in, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		out := new(mdns.Msg)
		if err := out.Unpack(s.packet(t.Context(), from, in, nil)); err != nil {
			t.Fatal(err)
		}
		return out
	}
	asked(func(*mdns.Msg) {})
	if r := p.request; r.Address != "192.0.2.7" || r.Agent != "agent1" || r.AgentDatacenter != "dc1" || p.header.Datacenter != "dc2" || p.header.Consistency != op.Cached {
		t.Errorf("request %+v, header %+v", r, p.header)
	}
	m := asked(func(m *mdns.Msg) {
		m.SetEdns0(1400, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(198, 51, 100, 0)})
	})
	if p.request.Address != "198.51.100.0" {
		t.Errorf("behind a resolver: %+v", p.request)
	}
	if opt := m.IsEdns0(); opt == nil || len(opt.Option) != 1 || opt.Option[0].(*mdns.EDNS0_SUBNET).SourceScope != 24 {
		t.Errorf("the answer says nothing of whom it is for: %v", m)
	}
}

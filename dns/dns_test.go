package dns

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/dns/question"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

func node(name, addr string) *catalog.Node {
	return &catalog.Node{Node: name, Address: addr, Datacenter: "dc1"}
}

func instance(n *catalog.Node, s catalog.Service, status string) catalog.Instance {
	if s.Weights == (catalog.Weights{}) {
		s.Weights = catalog.Weights{Passing: 1, Warning: 1}
	}
	return catalog.Instance{Node: n, Service: &s, Checks: catalog.Checks{{Node: n.Node, Status: status}}}
}

// fake is a catalog in memory.
type fake struct {
	nodes    map[string]*catalog.Node
	services map[string]catalog.Instances
	// addresses are who has one, by datacenter that is asked and address.
	addresses map[string]catalog.NamesAt
	asked     []string // datacenters, for an address
	outcomes  []op.Outcome
	last      op.Header
	hang      bool
	age       time.Duration
}

func newFake() *fake {
	n1, n2 := node("n1", "10.0.0.1"), node("N2.rack", "fd00::2")
	n1.TaggedAddresses = map[string]string{"lan_ipv6": "fd00::1"}
	n1.Meta = map[string]string{"k": "v", "rfc1035-x": "v=spf1", "long": strings.Repeat("a", 300), `e=q`: `back\slash`}
	far := &catalog.Node{Node: "far1", Address: "10.2.0.1", Datacenter: "dc2"}
	f := &fake{nodes: map[string]*catalog.Node{"n1": n1, "n2.rack": n2, "host": node("host", "other.example.com"), "odd": node("odd node", "10.0.0.9")},
		services: map[string]catalog.Instances{
			"consul":            {instance(n1, catalog.Service{Service: "consul", Port: 8300}, "passing")},
			"web":               {instance(n1, catalog.Service{Service: "web", Port: 80, Tags: []string{"v1.2"}, Weights: catalog.Weights{Passing: 5, Warning: 2}}, "warning")},
			"six":               {instance(n2, catalog.Service{Service: "six", Port: 6}, "passing")},
			"own":               {instance(n1, catalog.Service{Service: "own", Port: 81, Address: "10.9.0.1"}, "passing")},
			"ext":               {instance(n1, catalog.Service{Service: "ext", Port: 443, Address: "www.example.com"}, "passing")},
			"same":              {instance(n1, catalog.Service{ID: "a", Service: "same", Port: 1}, "passing"), instance(n1, catalog.Service{ID: "b", Service: "same", Port: 2}, "passing")},
			"odd":               {instance(node("odd node", "10.0.0.9"), catalog.Service{Service: "odd", Port: 9}, "passing")},
			"web-sidecar-proxy": {instance(n2, catalog.Service{Service: "web-sidecar-proxy", Port: 21000}, "passing")},
			"far":               {instance(far, catalog.Service{Service: "far", Port: 70}, "passing")},
		}}
	for i := range 200 {
		n := node(fmt.Sprintf("many%d", i), fmt.Sprintf("10.1.%d.%d", i/100, i%100+1))
		f.services["many"] = append(f.services["many"], instance(n, catalog.Service{Service: "many", Port: 80}, "passing"))
	}
	return f
}

func (f *fake) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	f.last = c.Header
	if f.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	switch c.Header.Datacenter {
	case "", "dc1", "dc2", op.All:
	case "down":
		return nil, op.Errorf(op.CodeUnreachableDatacenter, "Remote DC has no server currently reachable")
	default:
		return nil, op.Errorf(op.CodeUnknownDatacenter, "No path to datacenter")
	}
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	switch req := req.(type) {
	case *catalog.NodeRequest:
		if n := f.nodes[req.Node]; n != nil {
			return op.NewReply(op.Meta{Age: f.age}, n), nil
		}
	case *catalog.AddressRequest:
		f.asked = append(f.asked, c.Header.Datacenter)
		list := f.addresses[c.Header.Datacenter+"@"+req.Address]
		return op.NewReply(op.Meta{Age: f.age, Outcomes: f.outcomes}, &list), nil
	case *catalog.ServiceRequest:
		if req.Service == "broken" {
			panic("asked for")
		}
		list := catalog.Instances{}
		if req.Connect {
			req = &catalog.ServiceRequest{Service: req.Service + "-sidecar-proxy"}
		}
		for _, in := range f.services[req.Service] {
			if req.Fits(in.Service) {
				list = append(list, in)
			}
		}
		return op.NewReply(op.Meta{Age: f.age}, &list), nil
	}
	return op.NewReply(op.Meta{Age: f.age}, nil), nil
}

func start(t testing.TB, c op.Caller, change ...func(*Config)) (*Server, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg := Config{Caller: c, Domain: "consul", AltDomain: "alt.example.", Datacenter: "dc1",
		DNS: config.DNSConfig{AllowStale: true, UDPAnswerLimit: 3, EnableAdditionalNodeMetaTXT: true, NodeTTL: 7 * time.Second,
			ServiceTTL: map[string]time.Duration{"web": 5 * time.Second, "w*": time.Second, "*": 2 * time.Second},
			SOA:        config.SOA{Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: 3}},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: reg}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, reg
}

// ask sends one query through packing and parsing, as over UDP.
func ask(t testing.TB, s *Server, qname string, qtype uint16, change ...func(*mdns.Msg)) *mdns.Msg {
	t.Helper()
	req := new(mdns.Msg).SetQuestion(qname, qtype)
	for _, f := range change {
		f(req)
	}
	in, err := req.Pack()
	if err != nil {
		t.Fatal(err)
	}
	b := s.packet(context.Background(), netip.Addr{}, in, nil)
	if b == nil {
		t.Fatalf("%s: no answer", qname)
	}
	resp := unpacked(t, b)
	limit := 512
	if opt := req.IsEdns0(); opt != nil {
		limit = max(limit, int(opt.UDPSize()))
	}
	if len(b) > limit {
		t.Errorf("%s: answer of %d bytes, limit %d", qname, len(b), limit)
	}
	return resp
}

// unpacked reads an answer with two libraries, ours and another one.
func unpacked(t testing.TB, b []byte) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("answer %x cannot be read: %v", b, err)
	}
	var other dnsmessage.Message
	if err := other.Unpack(b); err != nil {
		t.Fatalf("answer %s cannot be read by the other library: %v", m, err)
	}
	if len(other.Answers) != len(m.Answer) || len(other.Authorities) != len(m.Ns) || len(other.Additionals) != len(m.Extra) {
		t.Fatalf("the other library reads another answer than %s: %v", m, other)
	}
	return m
}

// show is an answer on one line: code, then the sections' records without class.
func show(m *mdns.Msg) string {
	var b strings.Builder
	b.WriteString(mdns.RcodeToString[m.Rcode])
	for _, section := range []struct {
		name string
		rrs  []mdns.RR
	}{{"", m.Answer}, {" ns", m.Ns}, {" +", m.Extra}} {
		for _, rr := range section.rrs {
			switch rr := rr.(type) {
			case *mdns.SOA:
				fmt.Fprintf(&b, "%s SOA %s %d", section.name, rr.Hdr.Name, rr.Minttl)
			case *mdns.OPT:
			default:
				b.WriteString(section.name + " " + strings.Join(slices.DeleteFunc(strings.Fields(rr.String()), func(w string) bool { return w == "IN" }), " "))
			}
		}
	}
	return b.String()
}

// edns asks for answers of up to size bytes.
func edns(size uint16) func(*mdns.Msg) {
	return func(m *mdns.Msg) { m.SetEdns0(size, false) }
}

const soa = " ns SOA consul. 3"

// TestQuestions: one row is one question with its answer.
func TestQuestions(t *testing.T) {
	txt := `TXT "e` + "`" + `=q=back\\slash"`
	first := "n1.node.consul. 7 " + txt
	meta := first + ` n1.node.consul. 7 TXT "k=v" n1.node.consul. 7 TXT "long=` + strings.Repeat("a", 250) + `" "` + strings.Repeat("a", 50) + `" n1.node.consul. 7 TXT "v=spf1"`
	for _, c := range []struct {
		qname string
		qtype uint16
		want  string
	}{
		// nodes
		{"n1.node.consul.", mdns.TypeA, "NOERROR n1.node.consul. 7 A 10.0.0.1"},
		{"n1.node.dc1.consul.", mdns.TypeA, "NOERROR n1.node.dc1.consul. 7 A 10.0.0.1"},
		{"n1.node.dc1.dc.consul.", mdns.TypeA, "NOERROR n1.node.dc1.dc.consul. 7 A 10.0.0.1"},
		{"n1.node.alt.example.", mdns.TypeA, "NOERROR n1.node.alt.example. 7 A 10.0.0.1"},
		{"N1.nOdE.CONSUL.", mdns.TypeA, "NOERROR N1.nOdE.CONSUL. 7 A 10.0.0.1"},
		{"n1.node.consul.", mdns.TypeAAAA, "NOERROR n1.node.consul. 7 AAAA fd00::1"},
		{"n1.node.consul.", mdns.TypeTXT, "NOERROR " + meta},
		{"n1.node.consul.", mdns.TypeANY, "NOERROR n1.node.consul. 7 A 10.0.0.1 n1.node.consul. 7 AAAA fd00::1 " + first}, // no more than 512 bytes over UDP
		{"n1.node.consul.", mdns.TypeMX, "NOERROR" + soa},
		{"n2.rack.node.consul.", mdns.TypeAAAA, "NOERROR n2.rack.node.consul. 7 AAAA fd00::2"},
		{"n2.rack.node.consul.", mdns.TypeA, "NOERROR" + soa},
		{"host.node.consul.", mdns.TypeA, "NOERROR host.node.consul. 7 CNAME other.example.com."},
		{"none.node.consul.", mdns.TypeA, "NXDOMAIN" + soa},

		// services
		{"web.service.consul.", mdns.TypeA, "NOERROR web.service.consul. 5 A 10.0.0.1"},
		{"web.service.consul.", mdns.TypeAAAA, "NOERROR web.service.consul. 5 AAAA fd00::1"},
		{"web.service.consul.", mdns.TypeTXT, "NOERROR" + soa},
		{"own.service.consul.", mdns.TypeA, "NOERROR own.service.consul. 2 A 10.9.0.1"},
		{"own.service.consul.", mdns.TypeAAAA, "NOERROR" + soa},
		{"six.service.consul.", mdns.TypeA, "NOERROR" + soa},
		{"six.service.consul.", mdns.TypeAAAA, "NOERROR six.service.consul. 2 AAAA fd00::2"},
		{"ext.service.consul.", mdns.TypeA, "NOERROR ext.service.consul. 2 CNAME www.example.com."},
		{"same.service.consul.", mdns.TypeA, "NOERROR same.service.consul. 2 A 10.0.0.1"},
		{"v1.2.web.service.consul.", mdns.TypeA, "NOERROR v1.2.web.service.consul. 5 A 10.0.0.1"},
		{"v9.web.service.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"none.service.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"none.service.consul.", mdns.TypeTXT, "NXDOMAIN" + soa},
		{"broken.service.consul.", mdns.TypeA, "SERVFAIL"},

		// SRV
		{"six.service.consul.", mdns.TypeSRV, "NOERROR six.service.consul. 2 SRV 1 1 6 N2.rack.node.dc1.consul. + N2.rack.node.dc1.consul. 2 AAAA fd00::2"},
		{"_six._tcp.consul.", mdns.TypeSRV, "NOERROR _six._tcp.consul. 2 SRV 1 1 6 N2.rack.node.dc1.consul. + N2.rack.node.dc1.consul. 2 AAAA fd00::2"},
		{"_six._tcp.service.dc1.consul.", mdns.TypeSRV, "NOERROR _six._tcp.service.dc1.consul. 2 SRV 1 1 6 N2.rack.node.dc1.consul. + N2.rack.node.dc1.consul. 2 AAAA fd00::2"},
		{"_six._v9.service.consul.", mdns.TypeSRV, "NXDOMAIN" + soa},
		{"_six._udp.consul.", mdns.TypeAAAA, "NOERROR _six._udp.consul. 2 AAAA fd00::2"},
		{"far.service.dc2.consul.", mdns.TypeSRV, "NOERROR far.service.dc2.consul. 2 SRV 1 1 70 far1.node.dc2.consul. + far1.node.dc2.consul. 2 A 10.2.0.1"},
		{"far.service.dc2.alt.example.", mdns.TypeSRV, "NOERROR far.service.dc2.alt.example. 2 SRV 1 1 70 far1.node.dc2.alt.example. + far1.node.dc2.alt.example. 2 A 10.2.0.1"},
		{"odd.service.consul.", mdns.TypeSRV, "NOERROR odd.service.consul. 2 SRV 1 1 9 0a000009.addr.dc1.consul. + 0a000009.addr.dc1.consul. 2 A 10.0.0.9"},

		// addresses
		{"0a000009.addr.dc1.consul.", mdns.TypeA, "NOERROR 0a000009.addr.dc1.consul. 7 A 10.0.0.9"},
		{"fd000000000000000000000000000002.addr.consul.", mdns.TypeAAAA, "NOERROR fd000000000000000000000000000002.addr.consul. 7 AAAA fd00::2"},
		{"0a000009.addr.consul.", mdns.TypeAAAA, "NOERROR" + soa + " + 0a000009.addr.consul. 7 A 10.0.0.9"},
		{"0a0000.addr.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"0a00000z.addr.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"x.0a000009.addr.consul.", mdns.TypeA, "NXDOMAIN" + soa},

		// datacenters
		{"web.service.nowhere.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"web.service.down.consul.", mdns.TypeA, "SERVFAIL"},
		{"web.service.down.dc.consul.", mdns.TypeA, "SERVFAIL"},
		{"web.service.dc1.more.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"web.service.a.b.c.consul.", mdns.TypeA, "NXDOMAIN" + soa},

		// the domain, and other names
		{"consul.", mdns.TypeSOA, "NOERROR consul. 3 SOA"},
		{"consul.", mdns.TypeNS, "NOERROR consul. 7 NS n1.node.dc1.consul. + n1.node.dc1.consul. 7 A 10.0.0.1"},
		{"consul.", mdns.TypeA, "NOERROR" + soa},
		{"alt.example.", mdns.TypeA, "NOERROR ns SOA alt.example. 3"},
		{"consul.", mdns.TypeAXFR, "NOTIMP"},
		{"service.consul.", mdns.TypeA, "NOERROR" + soa}, // names are below it
		{"Node.dc1.CONSUL.", mdns.TypeA, "NOERROR ns SOA CONSUL. 3"},
		{"dc1.consul.", mdns.TypeA, "NOERROR" + soa},
		{"DC.consul.", mdns.TypeA, "NOERROR" + soa},
		{"dc1.dc.consul.", mdns.TypeA, "NOERROR" + soa},
		{"port.consul.", mdns.TypeA, "NOERROR" + soa},
		{"dc8.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"node.dc1.more.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"n1.node.consul.", mdns.TypeNS, "NOERROR consul. 7 NS n1.node.dc1.consul. + n1.node.dc1.consul. 7 A 10.0.0.1"},
		{"none.service.dc9.consul.", mdns.TypeSOA, "NOERROR consul. 3 SOA"},
		{"consul.", mdns.TypeIXFR, "NOTIMP"},
		{"web.service.consul.", mdns.TypeAXFR, "NOTIMP"},
		{"web.connect.consul.", mdns.TypeSRV, "NOERROR web.connect.consul. 5 SRV 1 1 21000 N2.rack.node.dc1.consul. + N2.rack.node.dc1.consul. 5 AAAA fd00::2"},
		{"web.connect.dc1.consul.", mdns.TypeAAAA, "NOERROR web.connect.dc1.consul. 5 AAAA fd00::2"},
		{"six.connect.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"connect.consul.", mdns.TypeA, "NOERROR" + soa},
		{"web.virtual.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"web.ingress.dc2.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"web.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"web.query.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{strings.Repeat("a.", 40) + "service.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"notconsul.", mdns.TypeA, "REFUSED"},
		{"example.com.", mdns.TypeA, "REFUSED"},
		{".", mdns.TypeNS, "REFUSED"},
		{"1.0.0.10.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
	} {
		s, _ := start(t, newFake())
		got := show(ask(t, s, c.qname, c.qtype, edns(4096)))
		if c.qtype == mdns.TypeSOA {
			c.want = "NOERROR SOA consul. 3 ns consul. 7 NS n1.node.dc1.consul. + n1.node.dc1.consul. 7 A 10.0.0.1"
		}
		if got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.qname, mdns.TypeToString[c.qtype], got, c.want)
		}
	}
}

func TestSRVOfSeveralInstances(t *testing.T) {
	s, _ := start(t, newFake())
	m := ask(t, s, "same.service.consul.", mdns.TypeSRV, edns(4096))
	ports := map[uint16]bool{}
	for _, rr := range m.Answer {
		ports[rr.(*mdns.SRV).Port] = true
	}
	var addresses int
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == mdns.TypeA {
			addresses++
		}
	}
	if len(m.Answer) != 2 || !ports[1] || !ports[2] || addresses != 1 {
		t.Errorf("two instances on one node give %s", show(m))
	}
	w := ask(t, s, "web.service.consul.", mdns.TypeSRV, edns(4096)).Answer[0].(*mdns.SRV)
	if w.Weight != 2 || w.Target != "n1.node.dc1.consul." {
		t.Errorf("a warning instance has %s", w)
	}
	if got := show(ask(t, s, "own.service.consul.", mdns.TypeSRV, edns(4096))); !strings.Contains(got, "SRV 1 1 81 0a090001.addr.dc1.consul. + 0a090001.addr.dc1.consul. 2 A 10.9.0.1") {
		t.Errorf("a service with its own address: %s", got)
	}
	if got := show(ask(t, s, "ext.service.consul.", mdns.TypeSRV, edns(4096))); got != "NOERROR ext.service.consul. 2 SRV 1 1 443 www.example.com." {
		t.Errorf("a service at a host name, of which nothing else is to be said: %s", got)
	}
}

func TestSizes(t *testing.T) {
	f := newFake()
	for _, c := range []struct {
		name    string
		qtype   uint16
		edns    uint16
		change  func(*Config)
		answers [2]int // least and most
		cut     bool
	}{
		{"no EDNS: the answer limit", mdns.TypeA, 0, nil, [2]int{3, 3}, true},
		{"no EDNS: a higher answer limit", mdns.TypeA, 0, func(c *Config) { c.DNS.UDPAnswerLimit = 50 }, [2]int{8, 8}, true},
		{"no EDNS: SRV", mdns.TypeSRV, 0, nil, [2]int{3, 3}, true},
		{"EDNS 1232", mdns.TypeA, 1232, nil, [2]int{60, 76}, true},
		{"EDNS 1232, SRV", mdns.TypeSRV, 1232, nil, [2]int{10, 30}, true},
		{"EDNS below 512", mdns.TypeA, 100, nil, [2]int{3, 3}, true},
		{"EDNS 4096", mdns.TypeA, 4096, nil, [2]int{200, 200}, false},
		{"a record limit", mdns.TypeA, 4096, func(c *Config) { c.DNS.ARecordLimit = 5 }, [2]int{5, 5}, false},
		{"ANY stays small over UDP", mdns.TypeANY, 4096, func(c *Config) { c.DNS.UDPAnswerLimit = 50 }, [2]int{8, 8}, true},
		{"no compression", mdns.TypeA, 1232, func(c *Config) { c.DNS.DisableCompression = true }, [2]int{25, 40}, true},
	} {
		s, reg := start(t, f, func(cfg *Config) {
			if c.change != nil {
				c.change(cfg)
			}
		})
		m := ask(t, s, "many.service.consul.", c.qtype, func(m *mdns.Msg) {
			if c.edns > 0 {
				m.SetEdns0(c.edns, false)
			}
		})
		if n := len(m.Answer); n < c.answers[0] || n > c.answers[1] || m.Truncated != c.cut {
			t.Errorf("%s: %d answers, cut %t, want %v, %t", c.name, n, m.Truncated, c.answers, c.cut)
		}
		targets := map[string]bool{}
		for _, rr := range m.Answer {
			if srv, ok := rr.(*mdns.SRV); ok {
				targets[srv.Target] = true
			}
		}
		for _, rr := range m.Extra {
			if rr.Header().Rrtype == mdns.TypeA && !targets[rr.Header().Name] {
				t.Errorf("%s: the address of %s has no answer", c.name, rr.Header().Name)
			}
		}
		if cut := testutil.ToFloat64(s.metrics.truncated); (cut == 1) != c.cut {
			t.Errorf("%s: %v cut answers counted", c.name, cut)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	}
}

func TestAnswersAreShuffled(t *testing.T) {
	s, _ := start(t, newFake())
	first := map[string]int{}
	for range 200 {
		first[ask(t, s, "many.service.consul.", mdns.TypeA).Answer[0].(*mdns.A).A.String()]++
	}
	if len(first) < 50 {
		t.Errorf("only %d of 200 instances came first in 200 answers", len(first))
	}
}

func TestHeaderOfAnswers(t *testing.T) {
	f := newFake()
	s, _ := start(t, f, func(c *Config) {
		c.Token = func() string { return "secret" }
		c.DNS.MaxStale = time.Hour
	})
	m := ask(t, s, "web.service.dc2.consul.", mdns.TypeA, func(m *mdns.Msg) { m.Id = 4711 })
	if !m.Authoritative || m.RecursionAvailable || !m.RecursionDesired || m.Id != 4711 || m.IsEdns0() != nil {
		t.Errorf("answer %s", m)
	}
	if want := (op.Header{Datacenter: "dc2", Token: "secret", Consistency: op.Cached, MaxAge: time.Hour}); f.last != want {
		t.Errorf("asked with %+v", f.last)
	}
	m = ask(t, s, "web.service.consul.", mdns.TypeA, func(m *mdns.Msg) {
		m.SetEdns0(1400, true)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, SourceScope: 3, Address: net.IPv4(192, 0, 2, 0)})
	})
	opt := m.IsEdns0()
	if opt == nil || !opt.Do() || opt.UDPSize() != ownSize || len(opt.Option) != 1 || opt.Option[0].(*mdns.EDNS0_SUBNET).SourceScope != 0 || opt.Option[0].(*mdns.EDNS0_SUBNET).SourceNetmask != 24 {
		t.Errorf("OPT record %v", opt)
	}
	for _, c := range []struct {
		change func(*mdns.Msg)
		want   int
	}{
		{func(m *mdns.Msg) { m.SetEdns0(1400, false); m.IsEdns0().SetVersion(1) }, mdns.RcodeBadVers},
		{func(m *mdns.Msg) { m.Opcode = mdns.OpcodeUpdate }, mdns.RcodeNotImplemented},
		{func(m *mdns.Msg) { m.SetEdns0(1400, false).SetEdns0(1400, false) }, mdns.RcodeFormatError},
		{func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }, mdns.RcodeRefused},
		{func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) }, mdns.RcodeFormatError},
		{func(m *mdns.Msg) { m.Question = nil }, mdns.RcodeFormatError},
	} {
		if m := ask(t, s, "web.service.consul.", mdns.TypeA, c.change); m.Rcode != c.want {
			t.Errorf("code %s, want %s", mdns.RcodeToString[m.Rcode], mdns.RcodeToString[c.want])
		}
	}
}

func TestAQueryIsAnsweredWithinItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hang = true
		s, _ := start(t, f)
		begin := time.Now()
		if m := ask(t, s, "web.service.dc2.consul.", mdns.TypeA); m.Rcode != mdns.RcodeServerFailure || time.Since(begin) != 2*time.Second {
			t.Errorf("%s after %s", mdns.RcodeToString[m.Rcode], time.Since(begin))
		}
	})
}

func TestFaultsOfConfiguration(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Caller = nil },
		func(c *Config) { c.Domain, c.AltDomain = "", "" },
		func(c *Config) { c.Domain = strings.Repeat("x", 64) },
		func(c *Config) { c.Domain = "." },
	} {
		cfg := Config{Caller: newFake(), Domain: "consul", Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("taken: %+v", cfg)
		}
	}
}

func TestPacketsThatAreNoQuery(t *testing.T) {
	s, _ := start(t, newFake())
	good, err := new(mdns.Msg).SetQuestion("web.service.consul.", mdns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	response := slices.Clone(good)
	response[2] |= 0x80
	for _, b := range [][]byte{nil, good[:11], response} {
		if out := s.packet(context.Background(), netip.Addr{}, b, nil); out != nil {
			t.Errorf("%x is answered %x", b, out)
		}
	}
	var m mdns.Msg
	if err := m.Unpack(s.packet(context.Background(), netip.Addr{}, good[:len(good)-3], nil)); err != nil || m.Rcode != mdns.RcodeFormatError || m.Id != uint16(good[0])<<8|uint16(good[1]) {
		t.Errorf("a cut query is answered %s, %v", &m, err)
	}
}

func FuzzPacket(f *testing.F) {
	for _, q := range []string{"web.service.consul.", "_web._tcp.consul.", "N1.node.dc1.dc.consul.", "0a000001.addr.consul.", "1.0.0.10.in-addr.arpa.", "."} {
		for _, qtype := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeANY} {
			m := new(mdns.Msg).SetQuestion(q, qtype)
			m.SetEdns0(1232, true)
			b, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	for _, q := range []string{"five.service.consul.", "_ports._tcp.service.dc1.CONSUL.", "spread.service.all.consul.", "many.service.consul."} {
		for _, size := range []int{0, 512, 1300} {
			f.Add(packedMsg(f, asking(f, q, mdns.TypeSRV, size)))
			f.Add(packedMsg(f, asking(f, q, mdns.TypeAAAA, size)))
		}
	}
	data := newFake()
	withSeveral(data)
	s, _ := start(f, &lasting{Caller: data})
	f.Fuzz(func(t *testing.T, in []byte) {
		panics := testutil.ToFloat64(s.metrics.panics)
		out, packed := twice(t, s, in)
		if packed != nil && !bytes.Equal(packed, out) {
			t.Errorf("answer to %x is packed as %x, want %x", in, packed, out)
		}
		if out == nil {
			return
		}
		m := new(mdns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Errorf("answer to %x cannot be read: %v", in, err)
		}
		var said dnsmessage.Message
		if said.Unpack(in) == nil { // not every name can be said in the other library
			unpacked(t, out)
		}
		if !m.Response || len(out) > question.MaxUDP {
			t.Errorf("answer of %d bytes: %s", len(out), m)
		}
		var q mdns.Msg
		if q.Unpack(in) == nil && len(q.Question) == 1 && strings.Contains(strings.ToLower(q.Question[0].Name), "broken") {
			return // panics on purpose
		}
		if testutil.ToFloat64(s.metrics.panics) != panics {
			t.Errorf("%x made a handler panic", in)
		}
	})
}

// serving answers on a real address.
func serving(t testing.TB, s *Server, addr string) (string, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, l, err := Listen(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn, l) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

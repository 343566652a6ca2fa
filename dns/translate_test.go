package dns

import (
	"context"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// farFake has nodes of another datacenter with WAN addresses, and of this one.
func farFake() *fake {
	f := newFake()
	tagged := map[string]string{"lan": "10.2.0.5", "lan_ipv4": "10.2.0.5", "lan_ipv6": "fd02::5", "wan": "198.51.100.5", "wan_ipv4": "198.51.100.5"}
	f.nodes["w"] = &catalog.Node{Node: "w", Address: "10.2.0.5", Datacenter: "dc2", TaggedAddresses: tagged}
	f.nodes["here"] = &catalog.Node{Node: "here", Address: "10.1.0.5", Datacenter: "dc1", TaggedAddresses: tagged}
	f.nodes["six"] = &catalog.Node{Node: "six", Address: "10.2.0.6", TaggedAddresses: map[string]string{"wan_ipv6": "2001:db8::6"}}
	f.nodes["name"] = &catalog.Node{Node: "name", Address: "10.2.0.7", Datacenter: "dc2", TaggedAddresses: map[string]string{"wan": "gate.example.com"}}
	f.nodes["same"] = &catalog.Node{Node: "same", Address: "10.2.0.8", Datacenter: "dc2", TaggedAddresses: map[string]string{"lan_ipv6": "fd02::8"}}
	wan := map[string]catalog.ServiceAddress{"wan": {Address: "198.51.100.9", Port: 8080}, "lan_ipv4": {Address: "10.2.0.9", Port: 80}}
	f.services["plain"] = catalog.Instances{instance(f.nodes["w"], catalog.Service{Service: "plain", Port: 80}, "passing")}
	f.services["gate"] = catalog.Instances{instance(f.nodes["w"], catalog.Service{Service: "gate", Port: 80, Address: "10.2.0.9", TaggedAddresses: wan}, "passing")}
	f.services["tag"] = catalog.Instances{instance(f.nodes["w"], catalog.Service{Service: "tag", Port: 80, TaggedAddresses: wan}, "passing")}
	f.services["both"] = catalog.Instances{instance(f.nodes["w"], catalog.Service{Service: "both", Port: 80}, "passing"),
		instance(f.nodes["here"], catalog.Service{Service: "both", Port: 81}, "passing")}
	return f
}

// TestAnswersAboutOtherDatacenters: one row is one question with its answers, with
// and without translation.
func TestAnswersAboutOtherDatacenters(t *testing.T) {
	for _, c := range []struct {
		qname       string
		qtype       uint16
		plain, want string
	}{
		{"w.node.dc2.consul.", mdns.TypeA, "NOERROR w.node.dc2.consul. 7 A 10.2.0.5", "NOERROR w.node.dc2.consul. 7 A 198.51.100.5"},
		{"w.node.dc2.consul.", mdns.TypeAAAA, "NOERROR w.node.dc2.consul. 7 AAAA fd02::5", "NOERROR" + soa},
		{"w.node.dc2.consul.", mdns.TypeANY, "NOERROR w.node.dc2.consul. 7 A 10.2.0.5 w.node.dc2.consul. 7 AAAA fd02::5", "NOERROR w.node.dc2.consul. 7 A 198.51.100.5"},
		{"here.node.dc1.consul.", mdns.TypeA, "NOERROR here.node.dc1.consul. 7 A 10.2.0.5", "NOERROR here.node.dc1.consul. 7 A 10.2.0.5"}, // what is registered for IPv4
		{"six.node.dc2.consul.", mdns.TypeAAAA, "NOERROR" + soa, "NOERROR six.node.dc2.consul. 7 AAAA 2001:db8::6"},
		{"six.node.dc2.consul.", mdns.TypeA, "NOERROR six.node.dc2.consul. 7 A 10.2.0.6", "NOERROR" + soa},
		{"name.node.dc2.consul.", mdns.TypeA, "NOERROR name.node.dc2.consul. 7 A 10.2.0.7", "NOERROR name.node.dc2.consul. 7 CNAME gate.example.com."},
		{"same.node.dc2.consul.", mdns.TypeAAAA, "NOERROR same.node.dc2.consul. 7 AAAA fd02::8", "NOERROR same.node.dc2.consul. 7 AAAA fd02::8"},

		{"plain.service.dc2.consul.", mdns.TypeA, "NOERROR plain.service.dc2.consul. 2 A 10.2.0.5", "NOERROR plain.service.dc2.consul. 2 A 198.51.100.5"},
		{"plain.service.dc2.consul.", mdns.TypeSRV, "NOERROR plain.service.dc2.consul. 2 SRV 1 1 80 w.node.dc2.consul. + w.node.dc2.consul. 2 A 10.2.0.5",
			"NOERROR plain.service.dc2.consul. 2 SRV 1 1 80 w.node.dc2.consul. + w.node.dc2.consul. 2 A 198.51.100.5"},
		{"gate.service.dc2.consul.", mdns.TypeA, "NOERROR gate.service.dc2.consul. 2 A 10.2.0.9", "NOERROR gate.service.dc2.consul. 2 A 198.51.100.9"},
		{"gate.service.dc2.consul.", mdns.TypeSRV, "NOERROR gate.service.dc2.consul. 2 SRV 1 1 80 0a020009.addr.dc2.consul. + 0a020009.addr.dc2.consul. 2 A 10.2.0.9",
			"NOERROR gate.service.dc2.consul. 2 SRV 1 1 8080 c6336409.addr.dc2.consul. + c6336409.addr.dc2.consul. 2 A 198.51.100.9"},
		{"tag.service.dc2.consul.", mdns.TypeSRV, "NOERROR tag.service.dc2.consul. 2 SRV 1 1 80 w.node.dc2.consul. + w.node.dc2.consul. 2 A 10.2.0.5",
			"NOERROR tag.service.dc2.consul. 2 SRV 1 1 8080 c6336409.addr.dc2.consul. + c6336409.addr.dc2.consul. 2 A 198.51.100.9"},
	} {
		for _, translate := range []bool{false, true} {
			s, _ := start(t, farFake(), func(cfg *Config) { cfg.TranslateWAN, cfg.DNS.EnableAdditionalNodeMetaTXT = translate, false })
			want := c.plain
			if translate {
				want = c.want
			}
			if got := show(ask(t, s, c.qname, c.qtype, edns(4096))); got != want {
				t.Errorf("%s %s, translated %t:\n got %s\nwant %s", c.qname, mdns.TypeToString[c.qtype], translate, got, want)
			}
		}
	}
}

// In an answer of several datacenters each instance counts for itself.
func TestTranslationIsByInstance(t *testing.T) {
	s, _ := start(t, farFake(), func(cfg *Config) { cfg.TranslateWAN = true })
	for _, name := range []string{"both.service.consul.", "both.service." + op.All + ".consul."} {
		found := map[string]bool{}
		for _, rr := range ask(t, s, name, mdns.TypeA).Answer {
			found[rr.(*mdns.A).A.String()] = true
		}
		if len(found) != 2 || !found["198.51.100.5"] || !found["10.2.0.5"] {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// The instances of a prepared query are where it found them.
func TestAnswersOfPreparedQueriesAreTranslated(t *testing.T) {
	f := farFake()
	caller := op.CallerFunc(func(_ context.Context, c *op.Call) (*op.Reply, error) {
		list := f.services["gate"]
		list[0].Node.Datacenter = "" // the answer says it
		return op.NewReply(op.Meta{}, &query.Answer{Service: "gate", Datacenter: "dc2", Nodes: list}), nil
	})
	s, _ := start(t, caller, func(cfg *Config) { cfg.TranslateWAN, cfg.DNS.EnableAdditionalNodeMetaTXT = true, false })
	want := "NOERROR gate.query.consul. 2 SRV 1 1 8080 c6336409.addr.dc2.consul. + c6336409.addr.dc2.consul. 2 A 198.51.100.9"
	if got := show(ask(t, s, "gate.query.consul.", mdns.TypeSRV)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

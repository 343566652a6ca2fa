package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// several is datacenters of which each question is answered by what it asks for.
type several map[string]struct {
	datacenters string // that have instances, in order
	lost        bool   // one could not be asked
}

func (f several) Do(_ context.Context, c *op.Call) (*op.Reply, error) {
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	about := ""
	switch req := req.(type) {
	case *catalog.ServiceRequest:
		about = req.Service + strings.Join(req.Tags, "") + "@" + c.Header.Datacenter
	case *catalog.NodeRequest:
		about = req.Node + "@" + c.Header.Datacenter
	}
	said, ok := f[about]
	if !ok {
		return nil, op.Errorf(op.CodeUnreachableDatacenter, "No path to datacenter")
	}
	meta := op.Meta{Outcomes: []op.Outcome{{Datacenter: "dc1"}}}
	if said.lost {
		meta.Outcomes = append(meta.Outcomes, op.Outcome{Datacenter: "dc9", State: op.Unreachable})
	}
	list := catalog.Instances{}
	datacenters := said.datacenters
	if hides, ok := strings.CutPrefix(datacenters, "hidden in "); ok {
		meta.Datacenter, meta.Filtered, datacenters = hides, true, ""
	}
	for _, dc := range strings.Fields(datacenters) {
		n := &catalog.Node{Node: "n", Address: "10." + dc[2:] + ".0.1", Datacenter: dc}
		if _, ok := req.(*catalog.NodeRequest); ok {
			return op.NewReply(meta, n), nil
		}
		list = append(list, instance(n, catalog.Service{Service: "web", Port: 80}, "passing"))
	}
	if _, ok := req.(*catalog.NodeRequest); ok {
		return op.NewReply(meta, nil), nil
	}
	return op.NewReply(meta, &list), nil
}

// TestQuestionsToSeveralDatacenters: one row is one question with its answer.
func TestQuestionsToSeveralDatacenters(t *testing.T) {
	f := several{
		"web@nearest": {"dc2", false}, "web@all": {"dc1 dc3", false}, "webv2@all": {"dc3", false}, "web@": {"dc1", false},
		"none@all": {"", false}, "lost@all": {"", true}, "lost@nearest": {"", true},
		"n@nearest": {"dc3", false}, "n@all": {"dc3", true}, "m@all": {"", false}, "k@all": {"", true},
		"plain@": {"", false}, "api@": {"", false}, "api@dc3>dc2": {"dc2", false}, "api-v1@": {"", false}, "api-v1@nearest": {"dc3 dc3", false},
		"api-v2@": {"dc1", false}, "api-x@nearest": {"", true}, "api@dc2": {"", false},
		"plain@dc2": {"", false}, "ruled@": {"", false}, "ruled@dc2": {"dc2", false},
		"secret@": {"", false}, "secret@dc2>nearest": {"hidden in dc2", false}, "secret@!dc2>nearest": {"dc3", false},
	}
	for _, c := range []struct {
		qname string
		qtype uint16
		want  string
	}{
		{"web.service.nearest.consul.", mdns.TypeA, "NOERROR web.service.nearest.consul. 0 A 10.2.0.1"},
		{"web.service.nearest.dc.consul.", mdns.TypeA, "NOERROR web.service.nearest.dc.consul. 0 A 10.2.0.1"},
		{"_web._tcp.nearest.consul.", mdns.TypeSRV, "NOERROR _web._tcp.nearest.consul. 0 SRV 1 1 80 n.node.dc2.consul. + n.node.dc2.consul. 0 A 10.2.0.1"},
		{"web.service.all.consul.", mdns.TypeA, "NOERROR web.service.all.consul. 0 A 10.1.0.1 web.service.all.consul. 0 A 10.3.0.1"},
		{"web.service.all.consul.", mdns.TypeSRV, "NOERROR web.service.all.consul. 0 SRV 1 1 80 n.node.dc1.consul. web.service.all.consul. 0 SRV 2 1 80 n.node.dc3.consul. + n.node.dc1.consul. 0 A 10.1.0.1 + n.node.dc3.consul. 0 A 10.3.0.1"},
		{"v2.web.service.all.consul.", mdns.TypeA, "NOERROR v2.web.service.all.consul. 0 A 10.3.0.1"},
		{"_web._v2.service.all.consul.", mdns.TypeA, "NOERROR _web._v2.service.all.consul. 0 A 10.3.0.1"},
		{"none.service.all.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"lost.service.all.consul.", mdns.TypeA, "SERVFAIL"},
		{"lost.service.nearest.consul.", mdns.TypeSRV, "SERVFAIL"},
		{"never.service.all.consul.", mdns.TypeA, "SERVFAIL"},

		{"n.node.nearest.consul.", mdns.TypeA, "NOERROR n.node.nearest.consul. 0 A 10.3.0.1"},
		{"n.node.all.consul.", mdns.TypeA, "NOERROR n.node.all.consul. 0 A 10.3.0.1"},
		{"m.node.all.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"k.node.all.consul.", mdns.TypeA, "SERVFAIL"},

		{"web.service.consul.", mdns.TypeA, "NOERROR web.service.consul. 0 A 10.1.0.1"},
		{"plain.service.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"api.service.consul.", mdns.TypeA, "NOERROR api.service.consul. 0 A 10.2.0.1"},
		{"_api._tcp.consul.", mdns.TypeSRV, "NOERROR _api._tcp.consul. 0 SRV 1 1 80 n.node.dc2.consul. + n.node.dc2.consul. 0 A 10.2.0.1"},
		{"api-v1.service.consul.", mdns.TypeA, "NOERROR api-v1.service.consul. 0 A 10.3.0.1"},
		{"api-v2.service.consul.", mdns.TypeA, "NOERROR api-v2.service.consul. 0 A 10.1.0.1"},
		{"api-x.service.consul.", mdns.TypeA, "SERVFAIL"},
		{"api.service.dc2.consul.", mdns.TypeA, "NXDOMAIN" + soa},
		{"ruled.service.consul.", mdns.TypeA, "NOERROR ruled.service.consul. 0 A 10.2.0.1"},
		{"secret.service.consul.", mdns.TypeA, "NOERROR secret.service.consul. 0 A 10.3.0.1"},
	} {
		s, _ := start(t, f, func(cfg *Config) {
			cfg.Failover = func(service string) string {
				if service == "plain" { // a rule for a service that nobody has
					return "dc2"
				}
				return map[string]string{"ruled": "dc2", "api": "dc9", "secret": "dc2>nearest"}[service] // what the agent's configuration says comes first
			}
			cfg.DNS = config.DNSConfig{SOA: config.SOA{MinTTL: 3}, Failover: map[string][]string{"API": {"dc3", "dc2"}, "api-*": {"nearest"}, "api*": {"dc7"}}}
		})
		if got := show(ask(t, s, c.qname, c.qtype, edns(4096))); got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.qname, mdns.TypeToString[c.qtype], got, c.want)
		}
	}
}

// crowd is 40 instances in each of three datacenters.
type crowd struct{}

func (crowd) Do(context.Context, *op.Call) (*op.Reply, error) {
	list := catalog.Instances{}
	for dc := range 3 {
		for i := range 40 {
			n := &catalog.Node{Node: fmt.Sprintf("n%d", i), Address: fmt.Sprintf("10.%d.0.%d", dc+1, i), Datacenter: fmt.Sprintf("dc%d", dc+1)}
			list = append(list, instance(n, catalog.Service{Service: "web", Port: 80}, "passing"))
		}
	}
	return op.NewReply(op.Meta{}, &list), nil
}

func TestAnswersOfAllBeginWithTheNearest(t *testing.T) {
	s, _ := start(t, crowd{}, func(cfg *Config) { cfg.DNS.UDPAnswerLimit = 8 })
	firsts := map[string]bool{}
	for range 20 {
		whole := ask(t, s, "web.service.all.consul.", mdns.TypeA, edns(4096))
		var order []string
		for _, rr := range whole.Answer {
			order = append(order, strings.Split(rr.(*mdns.A).A.String(), ".")[1])
		}
		if len(order) != 120 || !slices.IsSorted(order) {
			t.Fatalf("%d answers, from datacenters %v", len(order), order)
		}
		firsts[whole.Answer[0].(*mdns.A).A.String()] = true
		for _, qtype := range []uint16{mdns.TypeA, mdns.TypeSRV} {
			cut := ask(t, s, "web.service.all.consul.", qtype)
			if len(cut.Answer) == 0 || !cut.Truncated {
				t.Fatalf("nothing was cut: %s", show(cut))
			}
			for _, rr := range cut.Answer {
				switch rr := rr.(type) {
				case *mdns.A:
					if rr.A.To4()[1] != 1 {
						t.Errorf("what is left of a cut answer is far: %s", rr)
					}
				case *mdns.SRV:
					if rr.Priority != 1 || !strings.Contains(rr.Target, ".dc1.") {
						t.Errorf("what is left of a cut answer is far: %s", rr)
					}
				}
			}
		}
	}
	if len(firsts) < 5 {
		t.Errorf("20 answers begin with only %d different addresses", len(firsts))
	}
}

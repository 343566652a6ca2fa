package explain

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/dns"
	"github.com/legate-project/legate/dns/explained"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/query"
)

// federation has, by datacenter and service, the states of the instances. dc3 is cut off.
type federation struct{ tokens []string }

func (f *federation) instances(dc, service string) (out catalog.Instances) {
	states := map[string]string{"dc1/web": "passing warning critical", "dc1/db": "critical critical", "dc2/db": "passing", "dc1/lonely": "critical", "dc3/web": "passing", "dc2/web": "passing", "dc1/secret": "passing"}
	for i, status := range strings.Fields(states[dc+"/"+service]) {
		n := &catalog.Node{Node: fmt.Sprint("n", i), Address: fmt.Sprintf("10.%s.0.%d", dc[2:], i+1), Datacenter: dc}
		out = append(out, catalog.Instance{Node: n, Service: &catalog.Service{ID: "i", Service: service, Port: 80, Tags: []string{"v1"}}, Checks: catalog.Checks{{Status: status}}})
	}
	return out
}

// Do implements op.Caller.
func (f *federation) Do(_ context.Context, c *op.Call) (*op.Reply, error) {
	f.tokens = append(f.tokens, c.Header.Token)
	dc, meta := c.Header.Datacenter, op.Meta{}
	switch dc {
	case "", "dc2":
	case "dc3":
		meta.Age = 34 * time.Second
	case op.All:
		meta.Outcomes = []op.Outcome{{Datacenter: "dc1"}, {Datacenter: "dc2"}, {Datacenter: "dc4", State: op.Unreachable}}
	case "dc4":
		return nil, op.Errorf(op.CodeUnreachableDatacenter, "Remote DC has no server currently reachable")
	default:
		return nil, op.Errorf(op.CodeUnknownDatacenter, "No path to datacenter")
	}
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	switch req := req.(type) {
	case *catalog.ServiceRequest:
		list := catalog.Instances{}
		for _, at := range strings.Fields(map[string]string{"": "dc1", op.All: "dc1 dc2"}[dc] + " " + strings.TrimPrefix(dc, op.All)) {
			for _, in := range f.instances(at, req.Service) {
				status := in.Checks.Status()
				if (!req.HealthyOnly || status != catalog.Critical) && (!req.PassingOnly || status == catalog.Passing) && req.Fits(in.Service) {
					list = append(list, in)
				}
			}
		}
		if c.Header.Token == "blind" || req.Service == "secret" {
			meta.Filtered, list = len(list) > 0, catalog.Instances{}
		}
		return op.NewReply(meta, &list), nil
	case *catalog.NodeRequest:
		if req.Node == "n0" {
			return op.NewReply(meta, &catalog.Node{Node: "n0", Address: "10.1.0.1"}), nil
		}
	case *catalog.AddressRequest:
		return op.NewReply(op.Meta{}, &catalog.NamesAt{}), nil
	case *query.ExecuteRequest:
		if req.Name != "geo" {
			return nil, op.Errorf(op.CodeNotFound, "Query not found")
		}
		return op.NewReply(meta, &query.Answer{Service: "db", Nodes: f.instances("dc2", "db"), Datacenter: "dc2", Failovers: 1}), nil
	}
	return op.NewReply(meta, nil), nil
}

func explainer(t *testing.T, f *federation, change ...func(*dns.Config)) *Explainer {
	t.Helper()
	rule := func(service string) *failover.Rule {
		if service == "db" {
			return &failover.Rule{Service: "d*", Datacenters: []string{"dc2", "nearest"}}
		}
		return nil
	}
	cfg := dns.Config{Caller: f, Domain: "consul", Datacenter: "dc1", DNS: config.DNSConfig{AllowStale: true}, Log: logging.Discard(), Registerer: prometheus.NewRegistry(),
		Failover: func(service string) string {
			if rule(service) != nil {
				return "dc2"
			}
			return ""
		}}
	for _, c := range change {
		c(&cfg)
	}
	s, err := dns.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &Explainer{Server: s, Caller: f, Datacenter: "dc1", Rule: rule}
}

// One row is one name with its code, how many records answer it, who answered, and what is said of it.
func TestAnswersAreExplained(t *testing.T) {
	for _, c := range []struct {
		name   string
		qtype  uint16
		want   string
		why    []string
		change func(*dns.Config)
	}{
		{"web.service.consul", mdns.TypeA, "NOERROR 2 [dc1] 0", []string{"Of 3 instances in dc1 1 critical is left out.", "The order is drawn anew for each answer."}, nil},
		{"web.service.consul", mdns.TypeA, "NOERROR 1 [dc1] 0", []string{"Of 3 instances in dc1 1 critical and 1 with a warning (dns_config.only_passing) are left out."}, func(c *dns.Config) { c.DNS.OnlyPassing = true }},
		{"web.service.consul", mdns.TypeAAAA, "NOERROR 0 [dc1] 0", []string{"has no record of the type AAAA: the addresses are of IPv4."}, nil},
		{"v2.web.service.consul", mdns.TypeA, "NXDOMAIN 0 [dc1] 0", []string{"web has 3 instances in dc1, but none with the tag or the port v2.", "No other datacenter stands in for it"}, nil},
		{"none.service.consul", mdns.TypeA, "NXDOMAIN 0 [dc1] 0", []string{"No service is called none in dc1.", "No other datacenter stands in for it"}, nil},
		{"lonely.service.consul", mdns.TypeA, "NXDOMAIN 0 [dc1] 0", []string{"lonely has 1 instance in dc1, but none is healthy: 1 critical."}, nil},
		{"secret.service.consul", mdns.TypeA, "NXDOMAIN 0 [dc1] 0", []string{"The token may not see any instance of secret in dc1."}, nil},
		{"db.service.consul", mdns.TypeA, "NOERROR 1 [dc2] 0", []string{"db has 2 instances in dc1, but none is healthy: 2 critical.", "The rule for d* has dc2 stand in: the first that has a healthy instance is dc2."}, nil},
		{"db.service.consul", mdns.TypeA, "NOERROR 1 [dc2] 0", []string{"dns_config.failover of this agent has dc2 stand in"}, func(c *dns.Config) { c.DNS.Failover = map[string][]string{"db": {"dc2"}} }},
		{"db.service.dc1.consul", mdns.TypeA, "NXDOMAIN 0 [] 0", []string{"No datacenter is called dc1."}, nil}, // this federation has none of that name
		{"web.service.dc3.consul", mdns.TypeA, "NOERROR 1 [dc3] 34", []string{"This is what was known of dc3 34s ago", "5 s at most"}, nil},
		{"web.service.dc4.consul", mdns.TypeA, "SERVFAIL 0 [] 0", []string{"dc4 cannot be reached, and nothing is known here of what it has.", "SERVFAIL"}, nil},
		{"web.service.all.consul", mdns.TypeA, "NOERROR 3 [dc1 dc2] 0", []string{"Of 4 instances in any datacenter 1 critical is left out.", "Instances of the nearest datacenter come first", "dc4 cannot be reached"}, nil},
		{"none.service.all.consul", mdns.TypeA, "SERVFAIL 0 [] 0", []string{"dc4 cannot be reached"}, nil},
		{"n0.node.consul", mdns.TypeA, "NOERROR 1 [dc1] 0", nil, nil},
		{"none.node.consul", mdns.TypeA, "NXDOMAIN 0 [dc1] 0", []string{"No node of dc1 is called none."}, nil},
		{"geo.query.consul", mdns.TypeA, "NOERROR 1 [dc2] 0", []string{"found no instance in dc1. It goes on elsewhere, and dc2 is the first that has one."}, nil},
		{"none.query.consul", mdns.TypeA, "NXDOMAIN 0 [] 0", []string{"There is none in dc1."}, nil},
		{"0a000001.addr.consul", mdns.TypeA, "NOERROR 1 [] 0", nil, nil},
		{"0a00.addr.consul", mdns.TypeA, "NXDOMAIN 0 [] 0", []string{"0a00 is no address"}, nil},
		{"1.0.0.10.in-addr.arpa", mdns.TypePTR, "NXDOMAIN 0 [] 0", []string{"No node and no service has the address 10.0.0.1."}, nil},
		{"web.consul", mdns.TypeA, "NXDOMAIN 0 [] 0", []string{"Nothing before consul says what the name is of."}, nil},
		{"web.service.a.b.consul", mdns.TypeA, "NXDOMAIN 0 [] 0", []string{"can only be a datacenter"}, nil},
		{"x.virtual.consul", mdns.TypeA, "NXDOMAIN 0 [] 0", []string{"Names of this kind have no records here."}, nil},
		{"service.consul", mdns.TypeA, "NOERROR 0 [] 0", []string{"Other names are below this one"}, nil},
		{"www.example.com", mdns.TypeA, "REFUSED 0 [] 0", []string{"it has no recursors to ask"}, nil},
		{"www.example.com", mdns.TypeA, " 0 [] 0", []string{"its recursors are asked"}, func(c *dns.Config) { c.Recursors = []string{"192.0.2.1"} }},
		{"1.0.0.10.in-addr.arpa", mdns.TypePTR, " 0 [] 0", []string{"So recursors are asked"}, func(c *dns.Config) { c.Recursors = []string{"192.0.2.1"} }},
	} {
		f := &federation{}
		var change []func(*dns.Config)
		if c.change != nil {
			change = append(change, c.change)
		}
		e, err := explainer(t, f, change...).Explain(t.Context(), explained.Question{Name: c.name, Type: c.qtype, Token: "mine", Sees: func(string) bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(e.Code, " ", len(e.Answer), " ", e.Datacenters, " ", e.Age); got != c.want {
			t.Errorf("%s %s: %s, want %s; %q", c.name, e.Type, got, c.want, e.Why)
		}
		if e.Datacenters == nil || e.Answer == nil || e.Additional == nil || e.Why == nil || e.Read.Parts == nil {
			t.Errorf("%s %s: a list is null: %+v", c.name, e.Type, e)
		}
		all := strings.Join(e.Why, " ")
		for _, part := range c.why {
			if !strings.Contains(all, part) {
				t.Errorf("%s %s: it is not said that %q, but %q", c.name, e.Type, part, e.Why)
			}
		}
		if c.why == nil && len(e.Why) > 0 {
			t.Errorf("%s %s: nothing is unusual, but %q", c.name, e.Type, e.Why)
		}
		for _, token := range f.tokens {
			if token != "mine" {
				t.Errorf("%s: asked with the token %q", c.name, token)
			}
		}
	}
}

// Which datacenters stand in for a service is told to who may read the service, as on every other way.
func TestRulesAreToldToWhoMayReadTheService(t *testing.T) {
	own := func(c *dns.Config) { c.DNS.Failover = map[string][]string{"db": {"dc2"}} }
	for name, change := range map[string]func(*dns.Config){"db.service.consul": func(*dns.Config) {}, "none.service.consul": own, "DB.service.consul": own} {
		e, err := explainer(t, &federation{}, change).Explain(t.Context(), explained.Question{Name: name, Type: mdns.TypeA, Token: "blind",
			Sees: func(service string) bool { return service != "db" && service != "none" }})
		if err != nil {
			t.Fatal(err)
		}
		why := fmt.Sprint(e.Datacenters, e.Why)
		if strings.Contains(why, "dc2") || strings.Contains(why, "d*") || strings.Contains(why, "no rule") || !strings.Contains(why, "told to who may read the service") {
			t.Errorf("%s: %q", name, e.Why)
		}
	}
}

func TestOrdersAreSaidInWords(t *testing.T) {
	for order, want := range map[string]string{"dc2": "dc2", "dc2>dc3": "dc2, dc3", "dc2>nearest": "dc2 and then the nearest", "nearest": "the nearest"} {
		if got := inOrder(order); got != want {
			t.Errorf("%s: %s, want %s", order, got, want)
		}
	}
}

// The parts of a name are told one by one, and together they are the name.
func TestNamesAreReadPartByPart(t *testing.T) {
	x := explainer(t, &federation{})
	for name, want := range map[string]string{
		"web.service.consul":                "service web//: web=the service|service=the name is of a service|consul=the domain",
		"v1.2.web.service.dc2.consul":       "service web/v1.2/dc2: v1.2=a tag, or the name of a port|web=the service|service=the name is of a service|dc2=the datacenter|consul=the domain",
		"web.service.dc1.dc.consul":         "service web//dc1: web=the service|service=the name is of a service|dc1=the datacenter, which is this agent's own|dc=before it stands a datacenter|consul=",
		"_web._tcp.service.nearest.consul":  "service web//nearest: _web=the service|_tcp=the protocol|service=the name is of a service|nearest=the nearest datacenter that has it|consul=",
		"_web._v1.consul":                   "service web/v1/: _web=the service|_v1=a tag|consul=",
		"http.port.web.service.consul":      "service web//: http=the name of a port|port=before it|web=the service|service=the name is of a service|consul=",
		"web.service.http.port.dc2.consul":  "service web//dc2: web=the service|service=the name is of a service|http=the name of a port|port=before it|dc2=the datacenter|consul=",
		"a.b.node.all.consul":               "node //all: a.b=the node|node=the name is of a node|all=all datacenters|consul=",
		"_geo._tcp.query.consul":            "query //: _geo=the prepared query|_tcp=the protocol|query=the name is of a prepared query|consul=",
		"0a000001.addr.consul":              "addr //: 0a000001=the address|addr=the name is an address|consul=",
		"web.connect.consul":                "mesh web//: web=the service|connect=the name is of a service behind proxies of a mesh|consul=",
		"service.dc2.consul":                "above //dc2: service=the name is of a service|dc2=the datacenter|consul=",
		"consul":                            "domain //: consul=the domain",
		"what.ever.consul":                  "unknown //: what.ever=nothing|consul=",
		"www.example.com":                   "outside //: www.example.com=a name outside",
		"1.0.0.10.in-addr.arpa":             "reverse //: 1.0.0.10.in-addr.arpa=the address 10.0.0.1",
		strings.Repeat("a.", 40) + "consul": "unknown //: " + strings.TrimSuffix(strings.Repeat("a.", 40), ".") + "=nothing|consul=",
		"WEB.Service.CONSUL.":               "service web//: web=the service|service=the name is of a service|consul=",
	} {
		e, err := x.Explain(t.Context(), explained.Question{Name: name, Type: mdns.TypeA})
		if err != nil {
			t.Fatal(err)
		}
		r, texts := &e.Read, []string{}
		head, list, _ := strings.Cut(want, ": ")
		if got := fmt.Sprintf("%s %s/%s/%s", r.Kind, r.Service, r.Tag, r.Datacenter); got != head {
			t.Errorf("%s: %s, want %s", name, got, head)
		}
		parts := strings.Split(list, "|")
		if len(parts) != len(r.Parts) {
			t.Errorf("%s: %+v, want %s", name, r.Parts, list)
			continue
		}
		for i, p := range r.Parts {
			texts = append(texts, p.Text)
			if !strings.HasPrefix(p.Text+"="+p.Means, parts[i]) {
				t.Errorf("%s: %+v, want %s", name, p, parts[i])
			}
		}
		if whole := strings.Join(texts, "."); whole != strings.ToLower(strings.TrimSuffix(name, ".")) {
			t.Errorf("%s: together the parts are %s", name, whole)
		}
	}
}

// Whatever words a name is made of, its parts are the name.
func TestPartsAreTheName(t *testing.T) {
	x := explainer(t, &federation{})
	words := []string{"web", "v1", "_web", "_tcp", "_v1", "port", "http", "service", "node", "query", "addr", "connect", "virtual", "dc", "dc1", "dc2", "all", "nearest", "0a000001", "arpa", "in-addr", "10"}
	rapid.Check(t, func(rt *rapid.T) {
		labels := rapid.SliceOfN(rapid.SampledFrom(words), 0, 8).Draw(rt, "labels")
		name := strings.Join(append(labels, rapid.SampledFrom([]string{"consul", "in-addr.arpa", "example.com"}).Draw(rt, "domain")), ".")
		e, err := x.Explain(t.Context(), explained.Question{Name: name, Type: mdns.TypeSRV})
		if err != nil {
			rt.Fatal(err)
		}
		var texts []string
		for _, p := range e.Read.Parts {
			if p.Means == "" {
				rt.Fatalf("%s: %s means nothing", name, p.Text)
			}
			texts = append(texts, p.Text)
		}
		if whole := strings.Join(texts, "."); whole != name {
			rt.Fatalf("%s: together the parts are %s", name, whole)
		}
	})
}

package names

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/legate-project/legate/dns/explained"
	"github.com/legate-project/legate/httpapi/resttest"
)

// fake says what it was asked.
type fake struct{ asked explained.Question }

func (f *fake) Explain(_ context.Context, q explained.Question) (*explained.Explanation, error) {
	f.asked = q
	return &explained.Explanation{Name: q.Name + ".", Type: dns.Type(q.Type).String(), Code: "NOERROR", Datacenters: []string{"dc1"},
		Read:   explained.Read{Kind: "service", Service: "web", Parts: []explained.Part{{Text: "web", Means: "the service"}}},
		Answer: []explained.Record{{Name: "web.", Type: "A", TTL: 5, Data: "10.0.0.1"}}, Additional: []explained.Record{}, Why: []string{}, Filtered: true}, nil
}

func TestNamesAreExplained(t *testing.T) {
	f := &fake{}
	s := resttest.Serve(t, (&API{Explainer: func() Explainer { return f }}).Routes())
	const at = "/v1/dns/explain/"
	s.Check(t,
		resttest.Case{Method: "GET", Target: at + "web.service.consul", Status: 200, Want: `{"Name":"web.service.consul.","Type":"A","Code":"NOERROR",` +
			`"Read":{"Kind":"service","Service":"web","Parts":[{"Text":"web","Means":"the service"}]},"Answer":[{"Name":"web.","Type":"A","TTL":5,"Data":"10.0.0.1"}],` +
			`"Additional":[],"Datacenters":["dc1"],"Age":0,"Truncated":[],"Why":[]}`},
		resttest.Case{Method: "GET", Target: at + "web.service.consul?type=srv&token=mine", Status: 200, Want: `~"Type":"SRV"`},
		resttest.Case{Method: "GET", Target: at, Status: 400, Want: "~Missing the name"},
		resttest.Case{Method: "GET", Target: at + "web?type=WEB", Status: 400, Want: `~"WEB" is no type of records`},
		resttest.Case{Method: "GET", Target: at + "web?type=AXFR", Status: 400, Want: `~is no type of records`},
		resttest.Case{Method: "GET", Target: at + "a..b", Status: 400, Want: `~is no name of DNS`},
		resttest.Case{Method: "GET", Target: at + strings.Repeat("a", 64) + ".consul", Status: 400, Want: `~is no name of DNS`},
		resttest.Case{Method: "GET", Target: at + strings.Repeat("abc.", 64), Status: 400, Want: `~is no name of DNS`},
	)
	if f.asked.Type != dns.TypeSRV || f.asked.Sees == nil || !f.asked.Sees("web") || f.asked.Token != "mine" || !f.asked.From.IsValid() {
		t.Errorf("asked %+v", f.asked)
	}
	resttest.Serve(t, (&API{}).Routes()).Check(t, resttest.Case{Method: "GET", Target: at + "web", Status: 404, Want: "~no DNS interface"})
}

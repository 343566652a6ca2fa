package dns

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

// A query is a trace, which names what was asked if it is a name of ours.
func TestQueriesAreTraced(t *testing.T) {
	c := tracingtest.Start(t)
	tracer, err := tracing.New(tracing.Config{Endpoint: c.URL, Ratio: 1, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, newFake(), func(c *Config) { c.Tracer = tracer })
	for _, name := range []string{"n1.node.consul.", "none.node.consul.", "www.example.com."} {
		ask(t, s, name, mdns.TypeAAAA)
	}
	if err := tracer.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	var got []string
	for _, s := range c.Spans("") {
		got = append(got, s.Name, s.Attributes["dns.question.name"], s.Attributes["legate.dns.type"], s.Attributes["legate.dns.rcode"], s.Kind.String())
		if strings.Contains(fmt.Sprint(s), "example") {
			t.Errorf("a name that is not ours is shown: %+v", s)
		}
	}
	want := "DNS n1.node.consul. AAAA NOERROR SPAN_KIND_SERVER DNS none.node.consul. AAAA NXDOMAIN SPAN_KIND_SERVER DNS  AAAA REFUSED SPAN_KIND_SERVER"
	if strings.Join(got, " ") != want {
		t.Errorf("%s\nwant\n%s", strings.Join(got, " "), want)
	}
}

package transport

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTwoEndpointsShareARegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	named := func(name string) func(*Config) {
		return func(c *Config) { c.Registerer, c.Name = reg, name }
	}
	lan := endpoint(t, derived(t, testKey(1), server("a")), named("lan"))
	wan := endpoint(t, derived(t, testKey(1), server("a")), named("wan"))
	if _, err := lan.RoundTrip(within(t, 5*time.Second), to(wan), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(reg, "legate_quic_connections"); err != nil || n != 2 {
		t.Fatalf("%d series, %v", n, err)
	}
	closeEndpoint(t, lan)
	if n, err := testutil.GatherAndCount(reg, "legate_quic_handshake_failures_total"); err != nil || n != len(reasons())+3 {
		t.Fatalf("after one is closed %d series, %v", n, err)
	}
}

package dns

import (
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// What is kept of a datacenter that cannot be reached is not to be kept for long
// by others, and is counted.
func TestAnswersThatAreNotCurrent(t *testing.T) {
	f := newFake()
	s, _ := start(t, f, func(c *Config) {
		c.DNS.NodeTTL, c.DNS.ServiceTTL = time.Minute, map[string]time.Duration{"*": time.Minute, "own": time.Second}
		c.DNS.MaxStale, c.DNS.CacheMaxAge, c.DNS.SOA.MinTTL = time.Hour, time.Minute, 60
	})
	for _, c := range []struct {
		age  time.Duration
		name string
		want uint32
	}{{0, "web.service.consul.", 60}, {0, "n1.node.consul.", 60}, {time.Second, "web.service.consul.", AgedTTL}, {time.Hour, "n1.node.consul.", AgedTTL}, {time.Hour, "own.service.consul.", 1}} {
		f.age = c.age
		for _, qtype := range []uint16{mdns.TypeA, mdns.TypeSRV} {
			if m := ask(t, s, c.name, qtype); len(m.Answer) > 0 && m.Answer[0].Header().Ttl != c.want || qtype == mdns.TypeA && len(m.Answer) == 0 {
				t.Errorf("%s at age %s: %s, want a TTL of %d", c.name, c.age, m, c.want)
			}
		}
	}
	if f.last.MaxAge != time.Minute {
		t.Errorf("asked with %+v", f.last)
	}
	for age, want := range map[time.Duration]uint32{0: 60, time.Second: AgedTTL} { // that there is none may be old news, too
		f.age = age
		for _, name := range []string{"none.service.consul.", "none.node.consul."} {
			m := ask(t, s, name, mdns.TypeA)
			if soa, ok := m.Ns[0].(*mdns.SOA); !ok || m.Rcode != mdns.RcodeNameError || soa.Hdr.Ttl != want || soa.Minttl != want {
				t.Errorf("%s at age %s: %s, want that for %d s", name, age, m, want)
			}
		}
	}
	ask(t, s, "web.service.down.consul.", mdns.TypeA)
	ask(t, s, "0a000001.addr.consul.", mdns.TypeA)
	for i, want := range [...]float64{none: 1, current: 6, aged: 8, failed: 1} {
		if got := testutil.ToFloat64(s.metrics.lookups[i]); got != want {
			t.Errorf("%v lookups are counted as %d, want %v", got, i, want)
		}
	}
}

func TestTheDeadlineOfAnswersIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hang = true
		s, _ := start(t, f, func(c *Config) { c.DNS.AnswerTimeout = 300 * time.Millisecond })
		begin := time.Now()
		m := ask(t, s, "web.service.dc2.consul.", mdns.TypeA)
		if took := time.Since(begin); m.Rcode != mdns.RcodeServerFailure || took != 300*time.Millisecond {
			t.Errorf("%s after %s", m, took)
		}
	})
}

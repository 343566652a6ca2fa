package dns

import (
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/config"
)

func TestReloadCountsFromTheNextAnswer(t *testing.T) {
	s, _ := start(t, newFake())
	ttl := func() uint32 {
		m := ask(t, s, "web.service.consul.", mdns.TypeA)
		if len(m.Answer) == 0 {
			t.Fatalf("no answer: %s", show(m))
		}
		return m.Answer[0].Header().Ttl
	}
	before := ttl()
	if err := s.Reload(config.DNSConfig{ServiceTTL: map[string]time.Duration{"we*": 77 * time.Second}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := ttl(); got != 77 || before == 77 {
		t.Errorf("TTL %d before and %d after the reload, want 77", before, got)
	}
}

package wan

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/internal/logging"
)

func TestPenaltiesRiseFallAndAreBounded(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), "dc1")
	if err != nil {
		t.Fatal(err)
	}
	d, at := newDamper(logging.Discard(), m), time.Now()
	for range 100 {
		d.failed("b1.dc2", at)
	}
	if !d.isDamped("b1.dc2", at) || d.isDamped("b2.dc2", at) {
		t.Error("a hundred failures damp a server, and no other")
	}
	if d.isDamped("b1.dc2", at.Add(13*time.Minute)) {
		t.Error("13 minutes after the last failure it is still damped")
	}
	// Once in ten minutes is bad, but no flapping.
	for i := range 20 {
		if at := at.Add(time.Duration(i) * 10 * time.Minute); true {
			d.failed("b3.dc2", at)
			if d.isDamped("b3.dc2", at) {
				t.Fatalf("damped after %d failures, one in ten minutes", i+1)
			}
		}
	}
	for range 3 {
		d.failed("b4.dc2", at)
	}
	if n := testutil.ToFloat64(m.dampedNow.WithLabelValues("dc2")); n != 1 {
		t.Errorf("the gauge says %v, want 1", n)
	}
	d.forget("b4.dc2")
	if n := testutil.ToFloat64(m.dampedNow.WithLabelValues("dc2")); n != 0 || d.isDamped("b4.dc2", at) {
		t.Errorf("forgotten, and the gauge says %v", n)
	}
	for i := range 2 * dampedServers {
		d.failed(fmt.Sprintf("s%d.dc3", i), at)
	}
	if len(d.penalties) > dampedServers {
		t.Errorf("%d servers have a penalty", len(d.penalties))
	}
}

package metrics

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gone is a client that has closed its connection.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// contradiction says the same series twice.
type contradiction struct{ d *prometheus.Desc }

func (c contradiction) Describe(ch chan<- *prometheus.Desc) { ch <- c.d }

func (c contradiction) Collect(ch chan<- prometheus.Metric) {
	for range 3 {
		ch <- prometheus.MustNewConstMetric(c.d, prometheus.GaugeValue, 1)
	}
}

// What could not be gathered is counted, and not that a client went away.
func TestErrorsOfGatheringAreCounted(t *testing.T) {
	r := NewRegistry("gathering")
	defer r.Close()
	failed := func() float64 {
		t.Helper()
		var m dto.Metric
		if err := r.failed.Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetCounter().GetValue()
	}
	ask := func(w http.ResponseWriter) {
		r.Handler(Names{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}
	ask(gone{httptest.NewRecorder()})
	if n := failed(); n != 0 {
		t.Errorf("a client that went is counted %v times", n)
	}
	r.MustRegister(contradiction{prometheus.NewDesc("legate_contradiction", "Said twice.", nil, nil)})
	ask(httptest.NewRecorder())
	if n := failed(); n != 2 {
		t.Errorf("two series too many are counted %v times", n)
	}
}

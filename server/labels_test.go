package server

import (
	"fmt"
	"testing"
)

// invented is a federation with as many datacenters as somebody has invented.
type invented struct {
	frozen
	n int
}

func (f invented) Datacenters() []string {
	out := make([]string, f.n)
	for i := range out {
		out[i] = fmt.Sprintf("dc%d", i)
	}
	return out
}

func TestNamesOfDatacentersInMetricsAreBounded(t *testing.T) {
	h := newHarness(t, nil)
	h.start(t, invented{n: 2 * maxDatacenters})
	for asked, want := range map[string]string{
		"": "local", "dc7": "dc7", fmt.Sprintf("dc%d", maxDatacenters+7): "other", "nowhere": "unknown", "all": "several",
	} {
		if got := h.label(asked); got != want {
			t.Errorf("%q is %q, want %q", asked, got, want)
		}
	}
}

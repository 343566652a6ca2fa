package agent

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// manyServices is how many services of one agent reach the catalog in time.
const (
	manyServices = 2000
	inTime       = 2 * time.Second
)

func TestManyServicesOfOneAgentReachTheCatalogSoon(t *testing.T) {
	o := run(t, loopback(5), t.TempDir(), `disable_coordinates = true`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	begin := time.Now()
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := c; i < manyServices; i += 8 {
				body := fmt.Sprintf(`{"Name":"s%d","Port":%d,"Tags":["a","b"],"Check":{"TTL":"1h","Status":"passing"}}`, i, 1000+i)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, o.url+"/v1/agent/service/register", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				res, err := client.Do(req)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("register: %v, %v", res, err)
					return
				}
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	registered := time.Now()
	eventually(t, "all services are in the catalog", func() bool {
		all, _, err := o.client.Catalog().NodeServiceList("n1", nil)
		return err == nil && all.Node != nil && len(all.Services) == manyServices+1 // and the server's own
	})
	took := time.Since(registered)
	t.Logf("%d registrations by 8 clients in %v (%.0f a second), all in the catalog %v after the last", manyServices, registered.Sub(begin).Round(time.Millisecond),
		manyServices/registered.Sub(begin).Seconds(), took.Round(time.Millisecond))
	if took > inTime {
		t.Errorf("the catalog had all services %v after the last was registered, want less than %v", took, inTime)
	}
	eventually(t, "all checks are in the catalog", func() bool {
		checks, _, err := o.client.Health().Node("n1", nil)
		return err == nil && len(checks) == manyServices+1
	})
	count := func(name string) (n float64) {
		families, err := o.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == name {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	syncs := func() float64 { return count("legate_local_syncs_total") }
	settled := syncs()
	eventually(t, "a full comparison", func() bool { return syncs() > settled+1 })
	index, writes := o.server.state.Index(), count("legate_local_writes_total")
	settled = syncs()
	eventually(t, "more full comparisons", func() bool { return syncs() > settled+2 })
	if now := o.server.state.Index(); now != index || count("legate_local_writes_total") != writes {
		t.Errorf("comparisons that found nothing to change wrote %d times", now-index)
	}
}

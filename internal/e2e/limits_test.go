package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// latencies asks a URL so often a second for a while, and says how long answers took and
// how many were refused.
func latencies(t *testing.T, c *http.Client, url string, each time.Duration, times int) (p99 time.Duration, refused int) {
	t.Helper()
	tick := time.NewTicker(each)
	defer tick.Stop()
	var took []time.Duration
	for range times {
		<-tick.C
		began := time.Now()
		status := statusOf(t.Context(), c, url)
		took = append(took, time.Since(began))
		switch status {
		case http.StatusOK:
		case http.StatusTooManyRequests:
			refused++
		default:
			t.Fatalf("%s: status %d", url, status)
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100], refused
}

// statusOf is the status of an answer, 0 for none.
func statusOf(ctx context.Context, c *http.Client, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Who floods a server is refused; who asks little beside it is not, and waits no longer.
func TestAFloodDoesNotHurtItsNeighbors(t *testing.T) {
	h := proctest.Loopback(t)
	limits := map[string]any{"request_limits": map[string]any{"mode": "enforcing", "read_rate": 1000, "write_rate": 200}}
	server := start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1, config: map[string]any{"limits": limits}})
	client := start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{h.Addr(1, 1)}})
	awaitLeader(t, patience, server)
	proctest.Until(t, patience, "a key is written through the client agent", func() error { return client.put("k", "v", "") })

	if os.Getenv("LEGATE_FLOOD_PINNED") != "" { // the server has a core for itself
		proctest.Tool(t, proctest.Machine(), "", "taskset", "-a", "-c", "-p", "0", strconv.Itoa(server.Pid()))
		for _, pid := range []int{os.Getpid(), client.Pid()} {
			proctest.Tool(t, proctest.Machine(), "", "taskset", "-a", "-c", "-p", "1", strconv.Itoa(pid))
		}
	}
	neighbor, flood := &http.Client{Transport: h.Transport()}, &http.Client{Transport: h.Transport()}
	const key = "/v1/kv/k"
	alone, _ := latencies(t, neighbor, "http://"+server.ip+":8500"+key, 5*time.Millisecond, 400)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var refused, served atomic.Int64
	var wg sync.WaitGroup
	for range 4 { // 4,000 a second: four times what the server admits
		wg.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				switch statusOf(ctx, flood, "http://"+client.ip+":8500"+key) {
				case http.StatusOK:
					served.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				}
			}
		})
	}
	proctest.Until(t, patience, "the flood is refused", func() error {
		if refused.Load() == 0 {
			return fmt.Errorf("%d answers, none refused", served.Load())
		}
		return nil
	})
	beside, hurt := latencies(t, neighbor, "http://"+server.ip+":8500"+key, 5*time.Millisecond, 400)
	stop()
	wg.Wait()
	t.Logf("p99 alone %s, beside the flood %s; of the flood %d served, %d refused", alone, beside, served.Load(), refused.Load())
	if hurt > 0 {
		t.Errorf("%d of the neighbor's 400 requests were refused", hurt)
	}
	// The flood, its client and the servers share two cores: what it costs them is not the limit's to prevent.
	if most := max(3*alone, 20*time.Millisecond); beside > most {
		t.Errorf("the neighbor's p99 is %s beside the flood, %s alone", beside, alone)
	}
}

package agent

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/internal/logging"
)

// One client address has some of the places at the log, not all; who is refused is
// told of what to do.
func TestOneAddressDoesNotTakeAllMonitors(t *testing.T) {
	tee := logging.NewTee(logging.Discard().Handler())
	w := start(t, func(a *API) { a.Logs = tee })
	url := w.Listen(t)
	monitor := func(from string, want int) *http.Response {
		t.Helper()
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: transport}).Get(url + "/v1/agent/monitor")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != want {
			t.Fatalf("from %s: %s, want %d", from, resp.Status, want)
		}
		return resp
	}
	refused := func(from, want string) {
		t.Helper()
		resp := monitor(from, http.StatusTooManyRequests)
		if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("from %s: %q %v, want %q", from, b, err, want)
		}
	}
	const maxMonitors = logging.MaxListeners / 4
	var open []*http.Response
	for range maxMonitors {
		open = append(open, monitor("127.0.0.1", http.StatusOK))
	}
	refused("127.0.0.1", "4 monitors of this agent are open from this address, the most that one may have: close one of them")
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		for range maxMonitors {
			monitor(from, http.StatusOK)
		}
	}
	refused("127.0.0.5", "16 monitors of this agent are open, the most that it serves: try again when one was closed")
	left := func(resp *http.Response) {
		t.Helper()
		resp.Body.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(10 * time.Second); tee.Listeners() == logging.MaxListeners; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatal("who went keeps the place")
			}
		}
	}
	left(open[0])
	monitor("127.0.0.5", http.StatusOK)
	refused("127.0.0.5", "16 monitors")
	left(open[1])
	monitor("127.0.0.1", http.StatusOK)
}

// As with monitors.
func TestOneAddressDoesNotTakeAllStreamsOfMetrics(t *testing.T) {
	release := make(chan struct{})
	w := start(t, func(a *API) {
		a.MetricsStream = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if http.NewResponseController(w).Flush() == nil {
				<-release
			}
		})
	})
	defer close(release)
	url := w.Listen(t)
	ask := func(from string, want int) {
		t.Helper()
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		resp, err := (&http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}).Get(url + "/v1/agent/metrics/stream")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != want {
			t.Errorf("from %s: %s, want %d", from, resp.Status, want)
		}
	}
	ask("127.0.0.1", http.StatusOK)
	ask("127.0.0.1", http.StatusOK)
	ask("127.0.0.1", http.StatusTooManyRequests)
	ask("127.0.0.2", http.StatusOK)
}

func TestAMonitorOfAnUnknownLevelIsRefused(t *testing.T) {
	w := start(t, func(a *API) { a.Logs = logging.NewTee(logging.Discard().Handler()) })
	w.Check(t, resttest.Case{"GET", "/v1/agent/monitor?loglevel=x", "", 400, "Unknown log level: x"})
}

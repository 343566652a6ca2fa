package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/logging"
)

// serving starts the server on a real listener.
func serving(t testing.TB, w *world) (url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx, l) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return "http://" + l.Addr().String(), stop
}

// metric is the value of a series.
func (w *world) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			same := f.GetName() == name && len(has) == len(labels)/2
			for i := 0; i+1 < len(labels); i += 2 {
				same = same && has[labels[i]] == labels[i+1]
			}
			if same {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no series %s%v", name, labels)
	return 0
}

// waiting polls until n requests are in flight.
func waiting(t *testing.T, w *world, n float64) {
	t.Helper()
	tick, over := time.NewTicker(5*time.Millisecond), time.After(5*time.Second)
	defer tick.Stop()
	for w.metric(t, "legate_http_requests_in_flight") != n {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("%v requests in flight, want %v", w.metric(t, "legate_http_requests_in_flight"), n)
		}
	}
}

func TestAClientThatGoesEndsItsWait(t *testing.T) {
	w := start(t)
	url, _ := serving(t, w)
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/kv/a?index=7&wait=5m", nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	waiting(t, w, 1)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	waiting(t, w, 0)
}

func TestStopAnswersThoseWhoWait(t *testing.T) {
	w := start(t)
	url, stop := serving(t, w)
	type answer struct {
		status int
		reason string
		err    error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := http.Get(url + "/v1/kv/a?index=7&wait=5m")
		if err != nil {
			got <- answer{err: err}
			return
		}
		resp.Body.Close()
		got <- answer{resp.StatusCode, resp.Header.Get("X-Legate-Reason"), nil}
	}()
	waiting(t, w, 1)
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if a := <-got; a.err != nil || a.status != 503 || a.reason != "stopping" {
		t.Errorf("waiting client got %+v", a)
	}
	if _, err := http.Get(url + "/v1/kv/a"); err == nil {
		t.Error("a stopped server answers")
	}
}

func TestAMonitorEndsWithItsServer(t *testing.T) {
	tee := logging.NewTee(logging.Discard().Handler())
	w := start(t, func(c *Config) { c.Logs = tee })
	url, stop := serving(t, w)
	c := resttest.Client(t, url)
	end := make(chan struct{})
	defer close(end)
	lines, err := c.Agent().MonitorJSON("warn", end, nil)
	if err != nil {
		t.Fatal(err)
	}
	logging.Std(slog.New(tee)).Print("[WARN] heard")
	if line := <-lines; !strings.Contains(line, `"@message":"heard"`) {
		t.Errorf("line: %s", line)
	}
	begin := time.Now()
	if err := stop(); err != nil || time.Since(begin) > 3*time.Second {
		t.Errorf("stop: %v after %v", err, time.Since(begin))
	}
	if line := <-lines; line != "" {
		t.Errorf("after the stop: %q", line)
	}
}

func TestRealConnections(t *testing.T) {
	w := start(t, func(c *Config) { c.Gate = admission.New(admission.Bounds{Each: 2}, nil) })
	url, _ := serving(t, w)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := range 20 {
		req, err := http.NewRequest("PUT", url+"/v1/kv/a", io.LimitReader(strings.NewReader(strings.Repeat("v", 9000)), int64(8000+i)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req) // chunked: its length is not announced
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(b) != "true" {
			t.Errorf("put: %d %s", resp.StatusCode, b)
		}
	}
	addr := strings.TrimPrefix(url, "http://")
	var refused, told int
	for range 4 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if refused < 2 { // the last ones listen only: nothing unread makes the system drop the answer
			fmt.Fprintf(c, "GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			refused++ // the end overtook what was said
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 {
			refused, told = refused+1, told+1
		}
		if resp.StatusCode != 200 && (resp.StatusCode != 429 || !strings.HasSuffix(string(b), "(limits.http_max_conns_per_client)")) {
			t.Errorf("refused with %d %q", resp.StatusCode, b)
		}
	}
	if refused != 3 {
		t.Errorf("%d of 4 connections beside one were refused, want 3", refused)
	}
	if told == 0 {
		t.Error("nobody was told why")
	}
}

func TestMetrics(t *testing.T) {
	w := start(t)
	w.do("GET", "/v1/kv/a", "")
	w.do("GET", "/v1/kv/none", "")
	w.do("GET", "/v1/invented/"+strings.Repeat("x", 50), "")
	w.do("GET", "/v1/kv/panic", "")
	for _, c := range []struct {
		route, method, class string
		want                 float64
	}{{"/v1/kv/", "GET", "2xx", 1}, {"/v1/kv/", "GET", "4xx", 1}, {"/v1/kv/", "GET", "5xx", 1}, {"other", "other", "4xx", 1}, {"/v1/kv/", "PUT", "2xx", 0}} {
		if got := w.metric(t, "legate_http_responses_total", "route", c.route, "method", c.method, "class", c.class); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if got := w.metric(t, "legate_http_panics_total"); got != 1 {
		t.Errorf("%v panics", got)
	}
	if problems, err := testutil.GatherAndLint(w.reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestTheTableHasEachRouteOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Routes(Config{}) {
		if seen[r.Path] {
			t.Errorf("%s is in the table twice", r.Path)
		}
		seen[r.Path] = true
		if r.Get == nil && r.Put == nil && r.Post == nil && r.Delete == nil && r.Mesh == "" {
			t.Errorf("%s has no method", r.Path)
		}
	}
}

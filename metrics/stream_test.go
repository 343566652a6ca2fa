package metrics

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func open(t *testing.T, ctx context.Context, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestStreamSendsADumpEachInterval(t *testing.T) {
	r := NewRegistry("n1")
	t.Cleanup(r.Close)
	s := httptest.NewServer(r.StreamHandler(Names{}, 10*time.Millisecond))
	t.Cleanup(s.Close)
	lines := bufio.NewScanner(open(t, t.Context(), s.URL).Body)
	lines.Buffer(nil, 1<<20)
	for range 3 {
		if !lines.Scan() {
			t.Fatal("the stream ended: ", lines.Err())
		}
		var d Dump
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil || len(d.Gauges) == 0 || d.Timestamp == "" {
			t.Fatalf("%v: %.200s", err, lines.Text())
		}
	}
}

func TestStreamsAreBoundedAndEndWithTheirClient(t *testing.T) {
	r := NewRegistry("n1")
	t.Cleanup(r.Close)
	s := httptest.NewServer(r.StreamHandler(Names{}, 10*time.Millisecond))
	t.Cleanup(s.Close)
	ctx, cancel := context.WithCancel(t.Context())
	for range MaxStreams {
		if res := open(t, ctx, s.URL); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	if res := open(t, t.Context(), s.URL); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %s", res.Status)
	}
	cancel()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for open(t, t.Context(), s.URL).StatusCode != http.StatusOK {
		select {
		case <-deadline:
			t.Fatal("streams of clients that went still count")
		case <-tick.C:
		}
	}
}

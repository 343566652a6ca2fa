//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/legate-project/legate/internal/proctest"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

// What no trace may show.
const (
	tracedKey   = "a-key-that-says-much"
	tracedValue = "a-value-of-worth"
	tracedToken = "5f0c2e7a-0000-4000-8000-a1a1a1a1a1a1"
	tracedBy    = "b7ad6b7169203331" // the client's span
)

// putTraced writes a key as a client does that traces.
func (n *node) putTraced(traceID, dc string) error {
	url := "http://" + net.JoinHostPort(n.ip, "8500") + "/v1/kv/" + tracedKey + "?dc=" + dc
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(tracedValue))
	if err != nil {
		return err
	}
	req.Header.Set("X-Consul-Token", tracedToken)
	req.Header.Set("traceparent", "00-"+traceID+"-"+tracedBy+"-01")
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// ancestry lists the spans from the caller's child down to the one of a name, as
// "name kind node.datacenter".
func ancestry(spans []tracingtest.Span, name string) ([]string, error) {
	byID := map[string]tracingtest.Span{}
	at := tracingtest.Span{}
	for _, s := range spans {
		byID[s.ID] = s
		if s.Name == name {
			at = s
		}
	}
	for _, s := range spans {
		if p, ok := byID[s.Parent]; !ok && s.Parent != tracedBy {
			return nil, fmt.Errorf("the parent of %s at %s is missing", s.Name, s.Resource["legate.node"])
		} else if ok && (s.Start < p.Start || s.Start > p.End) {
			return nil, fmt.Errorf("%s begins at %d, which is not within %s, %d to %d", s.Name, s.Start, p.Name, p.Start, p.End)
		}
	}
	var way []string
	for at.ID != "" {
		kind := strings.ToLower(strings.TrimPrefix(trace.Span_SpanKind_name[int32(at.Kind)], "SPAN_KIND_"))
		way = append(way, fmt.Sprintf("%s %s %s.%s", at.Name, kind, at.Resource["legate.node"], at.Resource["legate.datacenter"]))
		at = byID[at.Parent]
	}
	slices.Reverse(way)
	if len(way) == 0 {
		return nil, fmt.Errorf("no span %s among %d", name, len(spans))
	}
	return way, nil
}

// A write through a client agent to another datacenter, and one that a follower hands
// to its leader, are one trace each, from HTTP to apply, and show no secret.
func TestOneTraceAcrossDatacenters(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	var c *tracingtest.Collector
	if err := h.Inside(func() error { c = tracingtest.Start(t); return nil }); err != nil {
		t.Fatal(err)
	}
	traced := map[string]any{"telemetry": map[string]any{"otlp_endpoint": c.URL, "trace_sample_ratio": 0, "otlp_headers": map[string]string{"x-key": "k"}}}
	agent := func(name, dc string, i, j, expect int, lan, wan []string) *node {
		n := newNode(t, spec{host: h, name: name, dc: dc, ip: h.Addr(i, j), expect: expect, lan: lan, wan: wan, config: traced})
		n.launch()
		return n
	}
	agent("s1", "dc1", 1, 1, 1, nil, nil)
	client := agent("c", "dc1", 1, 9, 0, []string{h.Addr(1, 1)}, nil)
	lan := []string{h.Addr(2, 1), h.Addr(2, 2)}
	there := []*node{agent("t1", "dc2", 2, 1, 2, lan, []string{h.Addr(1, 1)}), agent("t2", "dc2", 2, 2, 2, lan, []string{h.Addr(1, 1)})}

	const warm, across, forwarded = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccccccccccc"
	proctest.Until(t, patience, "the federation works", func() error { return errors.Join(client.putTraced(warm, "dc2"), there[0].putTraced(warm, "dc1")) })
	leader := awaitLeader(t, patience, there...)
	follower := others(there, leader)[0]
	if err := errors.Join(client.putTraced(across, "dc2"), follower.putTraced(forwarded, "dc2")); err != nil {
		t.Fatal(err)
	}
	handedOn := []string{"kv.apply client " + follower.name + ".dc2", "kv.apply server " + leader.name + ".dc2", "raft.propose internal " + leader.name + ".dc2", "apply internal " + leader.name + ".dc2"}
	home := []string{"PUT /v1/kv/* server c.dc1", "kv.apply client c.dc1", "kv.apply server s1.dc1", "federation internal s1.dc1", "kv.apply client s1.dc1"}
	ways := map[string][][]string{
		across:    {append(slices.Clone(home), handedOn[1:]...), append(append(slices.Clone(home), "kv.apply server "+follower.name+".dc2"), handedOn...)},
		forwarded: {append([]string{"PUT /v1/kv/* server " + follower.name + ".dc2", "kv.apply internal " + follower.name + ".dc2"}, handedOn...)},
	}
	for id, want := range ways {
		proctest.Until(t, 20*time.Second, "a whole trace", func() error {
			got, err := ancestry(c.Spans(id), "apply")
			if err == nil && !slices.ContainsFunc(want, func(w []string) bool { return slices.Equal(w, got) }) {
				err = fmt.Errorf("the way to apply is\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want[0], "\n"))
			}
			return err
		})
	}
	if _, err := ancestry(c.Spans(across), "raft.replicate"); err != nil {
		t.Error(err)
	}
	for _, s := range c.Spans("") {
		shown := fmt.Sprintf("%+v", s)
		for _, secret := range []string{tracedKey, tracedValue, tracedToken, "dc=dc2"} {
			if strings.Contains(shown, secret) {
				t.Errorf("%q is shown: %s", secret, shown)
			}
		}
		if s.Trace != warm && s.Trace != across && s.Trace != forwarded {
			t.Errorf("a trace that nobody asked for: %s", shown)
		}
	}
}

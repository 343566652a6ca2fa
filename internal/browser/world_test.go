package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/internal/testcluster/clustertest"
)

// federate runs a federation with the web interface until the test ends.
func federate(t testing.TB, s testcluster.Spec) *testcluster.Cluster {
	t.Helper()
	n, held, err := clustertest.FreeNetwork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() })
	s.Network, s.UI, s.Log, s.Seed = n, true, logging.Discard(), 1
	if s.Timing == (agent.Timing{}) {
		s.Timing = agent.Timing{FastGossip: true, RaftHeartbeat: 500 * time.Millisecond, SyncPeriod: 2 * time.Second, CoordinatePeriod: 500 * time.Millisecond, AutopilotPeriod: 200 * time.Millisecond}
	}
	c, err := testcluster.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error("stop the federation:", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	steps := []func() error{
		func() error { return c.Start(ctx) },
		func() error { _, err := c.WaitLeader(ctx, "dc1"); return err },
		func() error { return c.WaitFederated(ctx) },
		func() error { return c.MakeTokens(ctx) },
		func() error { return c.RegisterExamples(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal("start the federation:", err)
		}
	}
	return c
}

// send writes what is JSON to a path of the HTTP API below /v1/.
func send(ctx context.Context, n *testcluster.Node, path string, body any) error {
	b, err := json.Marshal(body)
	if err == nil {
		_, err = exchange(ctx, n, "", http.MethodPut, path, b)
	}
	return err
}

// exchange returns the answer to a request with a token.
func exchange(ctx context.Context, n *testcluster.Node, token, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+n.HTTPAddr()+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Consul-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	return b, err
}

// put is send, again until it is taken: a busy machine may be electing a leader.
func put(t testing.TB, n *testcluster.Node, path string, body any) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); ; <-again.C {
		err := send(t.Context(), n, path, body)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// registration is a node with a service and a check of it, as /v1/catalog/register takes it.
func registration(node, service, status, output string) map[string]any {
	return map[string]any{"Node": node, "Address": "10.1.2.3",
		"Service": map[string]any{"ID": service, "Service": service, "Port": 80, "Tags": []string{"v1"}},
		"Check":   map[string]any{"CheckID": "c-" + service, "Name": "check of " + service, "Status": status, "Output": output, "ServiceID": service}}
}

// axe is the text of axe-core, as npm brought it.
func axe(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/node_modules/axe-core/axe.min.js")
	if err != nil {
		missing(t, "npm's package axe-core (npm ci in internal/browser/testdata)")
	}
	return string(b)
}

// accessible has axe-core judge the page as it is, by the rules of WCAG 2.2 A and AA.
func (tb *tab) accessible(axe, what string) {
	tb.t.Helper()
	if !eval[bool](tb, "typeof axe !== 'undefined'") {
		eval[bool](tb, axe+"; true")
	}
	const judge = `axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
		.then(r => r.violations.map(v => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map(n => n.target + ' ' + n.failureSummary).join(' | ')))`
	for _, violation := range eval[[]string](tb, judge) {
		tb.t.Errorf("%s: %s", what, violation)
	}
}

// address is that of a page at an agent.
func address(n *testcluster.Node, path string) string {
	return fmt.Sprintf("http://%s/ui/%s", n.HTTPAddr(), path)
}

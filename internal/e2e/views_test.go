//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// cached asks an agent for the instances of a service in dc2 that it keeps.
func (n *node) cached(ctx context.Context, service string, control ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(n.ip, "8500")+"/v1/health/service/"+service+"?dc=dc2&cached", nil)
	if err != nil {
		return nil, err
	}
	for _, c := range control {
		req.Header.Add("Cache-Control", c)
	}
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// Names and cached reads of a datacenter that is cut off are answered with what
// is kept, at once, even without a server at home; and soon with what is new.
func TestADatacenterThatIsCutOffIsStillAnswered(t *testing.T) {
	t.Parallel()
	l := newLand(t)
	const name = "web.service.dc2.consul"
	for _, n := range []*node{l.a, l.clientA} {
		proctest.Until(t, patience, n.name+" knows "+name, func() error {
			if got := n.dig(t, name); got != "10.2.0.3" {
				return fmt.Errorf("%q", got)
			}
			resp, err := n.cached(t.Context(), "web")
			if err != nil {
				return err
			}
			if h := resp.Header; h.Get("X-Cache") != "HIT" || h.Get("Age") != "0" {
				return fmt.Errorf("%v", h)
			}
			return nil
		})
	}
	l.fabric.Firewall(l.router, nothing)
	for _, n := range []*node{l.a, l.clientA} {
		full := proctest.Tool(t, n.host, "", "dig", "@"+n.ip, "-p", "8600", "+time=3", "+tries=1", name)
		contains(t, "the first answer of "+n.name+" in the cut", full, "status: NOERROR", "10.2.0.3", "Query time: ")
		took := queryTime(t, full)
		t.Logf("first answer of %s in the cut after %s", n.name, took)
		if took > 300*time.Millisecond { // 50 on a machine that does nothing else
			t.Errorf("the first answer of %s in the cut took %s", n.name, took)
		}
	}
	for _, n := range []*node{l.a, l.clientA} {
		took := proctest.Until(t, patience, n.name+" says how old its answers are", func() error {
			resp, err := n.cached(t.Context(), "web")
			if err != nil {
				return err
			}
			if h := resp.Header; resp.StatusCode != 200 || h.Get("X-Cache") != "HIT" || h.Get("Age") == "0" || h.Get("X-Consul-Index") == "" {
				return fmt.Errorf("%d %v", resp.StatusCode, h)
			}
			return nil
		})
		t.Logf("%s noticed after %s", n.name, took.Round(10*time.Millisecond))
		for control, want := range map[string]int{"max-age=1": 500, "max-age=1, stale-if-error=3600": 200, "must-revalidate": 500} {
			if resp, err := n.cached(t.Context(), "web", control); err != nil || resp.StatusCode != want {
				t.Errorf("%s: %s: %v %v, want %d", n.name, control, resp, err, want)
			}
		}
		for _, most := range []time.Duration{2500 * time.Millisecond, 500 * time.Millisecond} {
			out := proctest.Tool(t, n.host, "", "dig", "@"+n.ip, "-p", "8600", "+time=4", "+tries=1", "never.service.dc2.consul")
			contains(t, "a name that "+n.name+" never saw", out, "status: SERVFAIL")
			if took := queryTime(t, out); took > most {
				t.Errorf("%s took %s to say that it does not know", n.name, took)
			}
		}
	}
	if r := l.clientB.cli("services register", "-name=web", "-id=web", "-address=10.2.0.9", "-port=80"); r.Code != 0 {
		t.Fatalf("%s%s", r.Stdout, r.Stderr)
	}
	answers := func(n *node, want string) func() error {
		return func() error {
			if got := n.dig(t, name); got != want {
				return fmt.Errorf("%q", got)
			}
			return nil
		}
	}
	l.fabric.Firewall(l.router, onePort)
	for _, n := range []*node{l.a, l.clientA} {
		took := proctest.Until(t, patience, n.name+" knows what has changed meanwhile", answers(n, "10.2.0.9"))
		t.Logf("%s is current %s after the cut was healed", n.name, took.Round(10*time.Millisecond))
		if took > 3*time.Second {
			t.Errorf("%s was current only %s after the cut was healed", n.name, took)
		}
	}
	l.fabric.Firewall(l.router, nothing)
	l.a.Kill()
	for range 20 {
		if err := answers(l.clientA, "10.2.0.9")(); err != nil {
			t.Errorf("without a server the client agent says %v", err)
		}
	}
	l.a.start()
	for range 20 {
		if err := answers(l.clientA, "10.2.0.9")(); err != nil {
			t.Errorf("with a server that knows nothing yet the client agent says %v", err)
		}
	}
	if r := l.clientB.cli("services deregister", "-id=web"); r.Code != 0 {
		t.Fatalf("%s%s", r.Stdout, r.Stderr)
	}
	l.fabric.Firewall(l.router, onePort)
	took := proctest.Until(t, patience, "the client agent knows that the service is gone", answers(l.clientA, ""))
	t.Logf("current %s after the cut was healed, with a server that was started in it", took.Round(10*time.Millisecond))
}

// queryTime is how long dig says that an answer took: to start dig itself takes
// a second on a busy machine.
func queryTime(t *testing.T, out string) time.Duration {
	t.Helper()
	_, rest, _ := strings.Cut(out, "Query time: ")
	var ms int
	if _, err := fmt.Sscanf(rest, "%d msec", &ms); err != nil {
		t.Errorf("dig does not say how long it took: %v in\n%s", err, out)
	}
	return time.Duration(ms) * time.Millisecond
}

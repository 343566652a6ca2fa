//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// gone is how soon a datacenter that was removed or left is listed by nobody.
const gone = 5 * time.Second

// union is three datacenters: one of a server and a client, one of two servers, and
// one of a server.
type union struct {
	t            testing.TB
	here, client *node
	there        [2]*node
	lost         *node
	web          *http.Client
}

func newUnion(t testing.TB) *union {
	t.Helper()
	h := proctest.Loopback(t)
	u := &union{t: t, web: &http.Client{Transport: h.Transport(), Timeout: patience}}
	server := func(dc, k, expect int) *node {
		s := spec{host: h, name: fmt.Sprintf("s%d", k), dc: fmt.Sprintf("dc%d", dc), ip: h.Addr(dc, k), expect: expect, lan: []string{h.Addr(dc, 1)}}
		if dc > 1 {
			s.wan = []string{h.Addr(1, 1)}
		}
		return newNode(t, s)
	}
	u.here, u.there, u.lost = server(1, 1, 1), [2]*node{server(2, 1, 2), server(2, 2, 2)}, server(3, 1, 1)
	u.client = newNode(t, spec{host: h, name: "c", dc: "dc1", ip: h.Addr(1, 9), lan: []string{h.Addr(1, 1)}})
	u.here.start()
	u.client.start()
	return u
}

// says asks an agent for a key of a datacenter and returns the reason why it is not
// answered, "" if it is.
func (u *union) says(from *node, dc string) (reason, body string, took time.Duration) {
	u.t.Helper()
	start := time.Now()
	resp, err := u.web.Get("http://" + from.ip + ":8500/v1/kv/?keys&dc=" + dc)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	reason = resp.Header.Get("X-Legate-Reason")
	if (reason == "") != (resp.StatusCode < 500) {
		u.t.Errorf("%s of %s answers %s with the reason %q", from.name, from.dc, resp.Status, reason)
	}
	if reason != "" && resp.Header.Get("X-Legate-Datacenter") != dc {
		u.t.Errorf("the reason %q is about the datacenter %q, want %s", reason, resp.Header.Get("X-Legate-Datacenter"), dc)
	}
	return reason, string(b), time.Since(start)
}

// becomes waits until both agents of dc1 give the reason for a datacenter, and list it
// in the catalog or not.
func (u *union) becomes(within time.Duration, dc, reason string) {
	u.t.Helper()
	listed := reason == "" || reason == "unreachable-datacenter" || reason == "no-leader"
	proctest.Until(u.t, within, dc+" is "+reason, func() error {
		for _, n := range []*node{u.here, u.client} {
			if got, body, _ := u.says(n, dc); got != reason {
				return fmt.Errorf("%s answers with the reason %q: %s", n.name, got, body)
			}
			names, err := n.client.Catalog().Datacenters()
			if err != nil || slices.Contains(names, dc) != listed {
				return fmt.Errorf("%s lists %v: %v", n.name, names, err)
			}
		}
		return nil
	})
}

// row is the line of a datacenter in a table, its cells apart.
func row(t *testing.T, table, dc string) []string {
	t.Helper()
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, dc+" ") {
			return strings.Fields(line)
		}
	}
	t.Fatalf("no line begins with %s:\n%s", dc, table)
	return nil
}

// The life of datacenters as an operator sees it: each state in the table, in the
// catalog and in the errors, from a server and from a client agent.
func TestLifeOfDatacenters(t *testing.T) {
	t.Parallel()
	u := newUnion(t)
	proctest.Until(t, patience, "dc1 works", func() error { return u.client.put("k", "v", "") })
	contains(t, "status of a datacenter that is alone", u.client.run(t, 0, "federation status"), "Datacenter dc1, led by s1", "no other datacenter is known")
	contains(t, "list of one", u.client.run(t, 0, "federation list"), "dc1")
	for _, n := range slices.Concat(u.there[:], []*node{u.lost}) {
		n.start()
	}
	u.becomes(patience, "dc2", "")
	u.becomes(patience, "dc3", "")
	table := u.client.run(t, 0, "federation status")
	t.Logf("all are up:\n%s", table)
	if cells := row(t, table, "dc2"); cells[1] != "up" || !strings.Contains(table, "2 of 2") {
		t.Errorf("dc2 is shown as %v", cells)
	} else if release := cells[len(cells)-1]; !strings.Contains(u.here.String(), "Version: "+release+"\n") {
		t.Errorf("dc2 runs the release %q", release)
	}
	contains(t, "status of all", u.client.run(t, 0, "federation status -all"), "Datacenter dc1, led by s1", "Datacenter dc2, led by s", "Datacenter dc3, led by s1")
	u.becomes(0, "dc9", "unknown-datacenter")

	t.Run("leaves", func(t *testing.T) {
		contains(t, "leaving", u.there[0].run(t, 0, "leave -wan -all"), "2 servers left the federation")
		u.becomes(gone, "dc2", "left-datacenter")
		if cells := row(t, u.client.run(t, 0, "federation status"), "dc2"); cells[1] != "left" {
			t.Errorf("dc2 is shown as %v", cells)
		}
		for _, n := range u.there {
			contains(t, "joining", n.run(t, 0, "join -wan", u.here.ip+":8302"), "Successfully joined")
		}
		u.becomes(patience, "dc2", "")
		proctest.Until(t, patience, "both servers are back", func() error {
			if table := u.client.run(t, 0, "federation status"); !strings.Contains(table, "2 of 2") {
				return errors.New(table)
			}
			return nil
		})
	})
	t.Run("has no leader", func(t *testing.T) {
		awaitLeader(t, patience, u.there[:]...)
		u.there[1].Kill()
		u.becomes(patience, "dc2", "no-leader")
		if reason, body, took := u.says(u.client, "dc2"); reason != "no-leader" || took > 12*time.Second {
			t.Errorf("%q after %s: %s", reason, took, body)
		}
		table := u.client.run(t, 0, "federation status")
		t.Logf("dc2 has lost a majority:\n%s", table)
		if cells := row(t, table, "dc2"); cells[1] != "degraded" {
			t.Errorf("dc2 is shown as %v", cells)
		}
		contains(t, "status", table, "it has no leader")
		u.there[1].start()
		u.becomes(patience, "dc2", "")
	})
	t.Run("is removed", func(t *testing.T) {
		contains(t, "removing what lives", u.client.run(t, 1, "federation remove", "dc3"), "-force", "dc3")
		contains(t, "removing the own one", u.client.run(t, 1, "federation remove", "dc1"), "dc1 is the datacenter of the server that was asked")
		contains(t, "removing nobody", u.client.run(t, 1, "federation remove", "dc9"), "no datacenter dc9 is known")
		contains(t, "allowing who is in", u.client.run(t, 1, "federation allow", "dc3"), "was not removed")
		u.lost.Kill()
		u.becomes(patience, "dc3", "unreachable-datacenter")
		table := u.client.run(t, 0, "federation status")
		t.Logf("dc3 was killed:\n%s", table)
		if cells := row(t, table, "dc3"); cells[1] != "unreachable" {
			t.Errorf("dc3 is shown as %v", cells)
		}
		said := u.client.run(t, 0, "federation remove", "dc3")
		contains(t, "removing", said, "Datacenter dc3 is removed from the federation", "3 servers know it now")
		u.becomes(gone, "dc3", "removed-datacenter")
		table = u.client.run(t, 0, "federation status")
		t.Logf("dc3 was removed:\n%s%s", said, table)
		if cells := row(t, table, "dc3"); cells[1] != "removed" {
			t.Errorf("dc3 is shown as %v", cells)
		}
		contains(t, "list", u.client.run(t, 0, "federation list"), "dc3", "removed", "by s1.dc1")

		u.lost.launch()
		u.lost.WaitLine(0, patience, "was removed from the federation", "dc3")
		u.becomes(0, "dc3", "removed-datacenter")
		contains(t, "allowing", u.there[0].run(t, 0, "federation allow", "dc3"), "Datacenter dc3 is allowed")
		contains(t, "joining", u.lost.run(t, 0, "join -wan", u.here.ip+":8302"), "Successfully joined")
		u.becomes(patience, "dc3", "")
	})
	for _, n := range []*node{u.here, u.client, u.there[0], u.there[1], u.lost} {
		calm(t, n.name+" of "+n.dc, n.String())
	}
}

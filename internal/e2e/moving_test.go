//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// consulSnapshot is a snapshot that a Consul server made, and answers what it
// said before to GET requests.
func consulSnapshot(name string) string {
	return filepath.Join("..", "..", "state", "archive", "consulsnap", "testdata", name+".snap")
}

func consulAnswers(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "consul", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := parsed(b)
	if err != nil {
		t.Fatal(err)
	}
	return answers.(map[string]any)
}

// parsed has numbers as what made the answers had them: floats.
func parsed(b []byte) (v any, err error) { return v, json.Unmarshal(b, &v) }

// ask asks an agent what the old server was asked.
func (n *node) ask(client *http.Client, path string) (any, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+n.ip+":8500"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Consul-Token", n.token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	return parsed(b)
}

// moved leaves out of an answer what does not come along: servers, the old and
// the new ones, with what is registered for them.
func moved(path string, v any, servers map[string]bool) any {
	is := func(v any) bool { name, ok := v.(string); return ok && servers[name] }
	ofServer := func(v any) bool {
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if ends, ok := m["ExpirationTime"].(string); ok { // a token that has ended since
			at, err := time.Parse(time.RFC3339Nano, ends)
			return err == nil && at.Before(time.Now())
		}
		inner, _ := m["Node"].(map[string]any)
		return is(m["Node"]) || inner != nil && is(inner["Node"]) || strings.HasPrefix(path, "/v1/internal/ui/") && m["Name"] == "consul"
	}
	switch v := v.(type) {
	case []any:
		return slices.DeleteFunc(v, ofServer)
	case map[string]any:
		if path == "/v1/catalog/services" {
			delete(v, "consul")
			for _, tags := range v { // a set
				list := tags.([]any)
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			}
		}
	}
	return v
}

// difference is the first one between two answers, empty for none.
func difference(at string, got, want any) string {
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			break
		}
		keys := maps.Clone(want)
		maps.Copy(keys, m)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			g, have := m[k]
			w, expected := want[k]
			if have != expected {
				return fmt.Sprintf("%s.%s: there %t, want %t", at, k, have, expected)
			}
			if d := difference(at+"."+k, g, w); d != "" {
				return d
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			break
		}
		for i := range want {
			if d := difference(fmt.Sprintf("%s[%d]", at, i), list[i], want[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if !reflect.DeepEqual(got, want) {
		g, w := fmt.Sprint(got), fmt.Sprint(want)
		return fmt.Sprintf("%s: %.200s, want %.200s", at, g, w)
	}
	return ""
}

// comesBack compares all answers of an agent with those of the old server.
func (n *node) comesBack(t *testing.T, name string) {
	t.Helper()
	servers := map[string]bool{"old-server-1": true, "s1": true, "s2": true, "s3": true, "fresh": true}
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	compared := 0
	answers := consulAnswers(t, name)
	for _, path := range slices.Sorted(maps.Keys(answers)) {
		got, err := n.ask(client, path)
		if err != nil {
			t.Errorf("%s: %v", n.name, err)
			continue
		}
		compared++
		if d := difference("", moved(path, got, servers), moved(path, answers[path], servers)); d != "" {
			t.Errorf("%s: %s%s", n.name, path, d)
		}
	}
	if compared < 30 {
		t.Errorf("only %d answers were compared", compared)
	}
}

// The state of a Consul cluster becomes that of three servers, survives their
// restart, and goes on into another datacenter by a snapshot of ours.
func TestSnapshotOfConsulComesBackWhole(t *testing.T) {
	t.Parallel()
	for octet, name := range []string{"plain", "acl"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := proctest.Loopback(t)
			token := map[string]string{"acl": "11111111-2222-3333-4444-555555555555"}[name]
			servers := threeServers(t, h, 10*octet+1, token)
			leader := awaitLeader(t, patience, servers...)
			follower := others(servers, leader)[0]
			said := follower.run(t, 0, "snapshot restore", consulSnapshot(name))
			contains(t, "what is left out", said, "Restored snapshot of Consul 1.21.4", "config entries: 1 (service-defaults/web)", "CA roots: 1")
			leader.WaitLine(0, patience, "the snapshot is one of Consul")
			for _, n := range servers {
				n.comesBack(t, name)
			}
			locksAreHeld(t, follower)
			if token != "" {
				tokensWork(t, follower)
			}

			for _, n := range servers {
				n.Kill()
			}
			for _, n := range servers {
				n.launch()
			}
			for _, n := range servers {
				n.WaitLine(0, patience, "agent started")
			}
			awaitLeader(t, patience, servers...)
			for _, n := range servers {
				n.comesBack(t, name)
			}

			file := filepath.Join(t.TempDir(), "ours.snap")
			servers[0].run(t, 0, "snapshot save", file)
			fresh := start(t, spec{host: h, name: "fresh", dc: "dc1", ip: h.Addr(10*octet+2, 1), expect: 1, token: token})
			awaitLeader(t, patience, fresh)
			fresh.run(t, 0, "snapshot restore", file)
			fresh.comesBack(t, name)
		})
	}
}

func threeServers(t *testing.T, h *proctest.Host, net int, token string) []*node {
	t.Helper()
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(net, i+1), expect: 3, token: token,
			lan: []string{h.Addr(net, 1), h.Addr(net, 2)}}))
	}
	return nodes
}

// tokensWork checks that the tokens of the snapshot may do what they could do before: one
// has a policy for keys, the other a role.
func tokensWork(t *testing.T, n *node) {
	t.Helper()
	keys, role := clientOf(t, n.host, n.ip, "0d0d0d0d-0000-4000-8000-000000000001"), clientOf(t, n.host, n.ip, "0d0d0d0d-0000-4000-8000-000000000002")
	if _, err := keys.KV().Put(&api.KVPair{Key: "cfg/new", Value: []byte("v")}, nil); err != nil {
		t.Errorf("a key that the policy grants: %v", err)
	}
	if _, err := keys.KV().Delete("cfg/new", nil); err != nil {
		t.Error(err)
	}
	if _, err := keys.KV().Put(&api.KVPair{Key: "other", Value: []byte("v")}, nil); err == nil ||
		!strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "0c0c0c0c-0000-4000-8000-000000000001") {
		t.Errorf("a key that it does not grant: %v", err)
	}
	if list, _, err := role.Catalog().Services(nil); err != nil || len(list) < 2 {
		t.Errorf("services by the role: %v %v", list, err)
	}
	if nobody, _, err := clientOf(t, n.host, n.ip, "").Catalog().Services(nil); err != nil || len(nobody) > 0 {
		t.Errorf("without a token: %v %v", nobody, err)
	}
}

// locksAreHeld checks what becomes of sessions: who holds a key still does,
// nobody else gets it, and the session can be renewed and ended.
func locksAreHeld(t *testing.T, n *node) {
	t.Helper()
	pair, _, err := n.client.KV().Get("locks/two", nil)
	if err != nil || pair == nil || pair.Session == "" {
		t.Fatalf("%+v %v", pair, err)
	}
	if s, _, err := n.client.Session().Renew(pair.Session, nil); err != nil || s == nil || s.TTL != "3600s" {
		t.Errorf("renewed: %+v %v", s, err)
	}
	other, _, err := n.client.Session().CreateNoChecks(&api.SessionEntry{Node: "ext1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := n.client.KV().Acquire(&api.KVPair{Key: "locks/two", Session: other}, nil); err != nil || got {
		t.Errorf("another session got the lock: %t %v", got, err)
	}
	// A compare-and-set with an index from before goes on.
	if ok, _, err := n.client.KV().CAS(&api.KVPair{Key: "locks/free", Value: []byte("y"), ModifyIndex: 81}, nil); err != nil || ok {
		t.Errorf("compared with an old index: %t %v", ok, err)
	}
	if _, err := n.client.Session().Destroy(other, nil); err != nil {
		t.Error(err)
	}
}

// An agent that starts with the node ID and the files that Consul's agent had
// takes over its node and its services, and ends what is not in its files.
func TestAgentTakesItsNodeOverFromConsul(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	server := start(t, spec{host: h, name: "fresh", dc: "dc1", ip: h.Addr(31, 1), expect: 1})
	awaitLeader(t, patience, server)
	server.run(t, 0, "snapshot restore", consulSnapshot("plain"))
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "services"), 0o700); err != nil {
		t.Fatal(err)
	}
	const id = "0b0b0b0b-0000-4000-8000-000000000005"
	for name, text := range map[string]string{
		"node-id":           id,
		"services/4d54f6e2": `{"Token":"","Service":{"ID":"kept1","Service":"kept","Port":99},"Source":"remote"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	agent := start(t, spec{host: h, name: "ext5", dc: "dc1", ip: h.Addr(31, 5), dir: dir, lan: []string{server.ip},
		config: map[string]any{"service": map[string]any{"id": "web5", "name": "web", "tags": []string{"a", "b"}, "port": 49636}}})
	proctest.Until(t, patience, "the node is the agent's", func() error {
		n, _, err := server.client.Catalog().Node("ext5", nil)
		switch {
		case err != nil:
			return err
		case n == nil || n.Node.Address != agent.ip || n.Node.ID != id || n.Node.CreateIndex != 70:
			return fmt.Errorf("node %+v", n)
		case len(n.Services) != 1 || n.Services["web5"] == nil || n.Services["web5"].CreateIndex != 71:
			return fmt.Errorf("services %v", slices.Collect(maps.Keys(n.Services)))
		}
		return nil
	})
}

//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// TestAMajorityOfDisksIsLost: of three servers' disks one is left. An operator looks at
// it, has it go on alone, and gives it new companions under the old names; keys, locks and
// sessions are there.
func TestAMajorityOfDisksIsLost(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	servers := make([]*node, 3)
	for i := range servers {
		servers[i] = start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(1, i+1), expect: 3,
			lan: []string{h.Addr(1, 1), h.Addr(1, 2), h.Addr(1, 3)}, config: map[string]any{"autopilot": map[string]any{"server_stabilization_time": "1s"}}})
	}
	proctest.Until(t, patience, "writes work", func() error { return servers[0].put("k", "v", "") })
	left := awaitLeader(t, patience, servers...)
	session, _, err := left.client.Session().CreateNoChecks(&api.SessionEntry{Name: "holder", TTL: "1h"}, nil)
	must(t, "make a session", err)
	if ok, _, err := left.client.KV().Acquire(&api.KVPair{Key: "lock", Value: []byte("held"), Session: session}, nil); err != nil || !ok {
		t.Fatalf("lock: %v, %v", ok, err)
	}
	contains(t, "of a running agent", left.cliOut(t, 1, "recover", "-data-dir="+left.dir), "stop it first")
	for _, n := range servers {
		n.Kill()
	}
	for _, n := range servers {
		if n != left {
			must(t, "lose a disk", os.RemoveAll(n.dir))
		}
	}
	contains(t, "of a lost disk", left.cliOut(t, 1, "recover", "-data-dir="+servers[(slices.Index(servers, left)+1)%3].dir), "no data directory of an agent")
	contains(t, "what is left", left.cliOut(t, 0, "recover", "-data-dir="+left.dir), "Last term", "this server", "2 of these 3 voters make a majority")
	var seen struct {
		ID   string
		Disk struct{ Index, Term uint64 }
	}
	must(t, "read what is shown as JSON", json.Unmarshal([]byte(left.cliOut(t, 0, "recover", "-data-dir="+left.dir, "-format=json")), &seen))
	if seen.Disk.Index == 0 || seen.Disk.Term == 0 || seen.ID == "" {
		t.Errorf("it shows %+v", seen)
	}
	contains(t, "another server alone", left.cliOut(t, 1, "recover", "-data-dir="+left.dir, "-peer=other=10.0.0.1:8300"), "not among those")
	contains(t, "have it go on", left.cliOut(t, 0, "recover", "-data-dir="+left.dir, "-alone"), "peers.json. Start the agent")
	left.start()
	proctest.Until(t, patience, "it goes on alone", func() error { return left.put("after", "v", "") })
	if _, err := os.Stat(filepath.Join(left.dir, "raft", "peers.json")); !os.IsNotExist(err) {
		t.Errorf("what was followed is still there: %v", err)
	}
	must(t, "a key is there", left.get("k", "v", ""))
	if pair, _, err := left.client.KV().Get("lock", nil); err != nil || pair == nil || pair.Session != session {
		t.Errorf("the lock is %+v, %v", pair, err)
	}
	for _, n := range servers {
		if n != left {
			n.start()
		}
	}
	proctest.Until(t, patience, "the new ones vote", func() error {
		group, err := left.client.Operator().RaftGetConfiguration(nil)
		if err != nil {
			return err
		}
		voters := 0
		for _, s := range group.Servers {
			if s.Voter {
				voters++
			}
		}
		if voters != 3 || len(group.Servers) != 3 {
			return fmt.Errorf("%d of %d vote", voters, len(group.Servers))
		}
		return nil
	})
	left.Kill()
	proctest.Until(t, patience, "the others go on", func() error {
		for _, n := range servers {
			if n != left {
				if err := n.put("later", "v", ""); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// TestADatacenterIsRestoredFromNothing: all servers and disks are lost, and a snapshot is
// left. In a new datacenter the tokens, policies, locks and sessions of the old one hold.
func TestADatacenterIsRestoredFromNothing(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	file := filepath.Join(t.TempDir(), "state.snap")
	old := start(t, spec{host: h, name: "old", dc: "dc1", ip: h.Addr(1, 1), expect: 1, token: "11111111-2222-3333-4444-555555555555"})
	proctest.Until(t, patience, "writes work", func() error { return old.put("app/k", "v", "") })
	_, _, err := old.client.ACL().PolicyCreate(&api.ACLPolicy{Name: "reader", Rules: `key_prefix "app/" { policy = "read" }`}, nil)
	must(t, "make a policy", err)
	token, _, err := old.client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "reader"}}}, nil)
	must(t, "make a token", err)
	session, _, err := old.client.Session().CreateNoChecks(&api.SessionEntry{TTL: "1h", Node: "old"}, nil)
	must(t, "make a session", err)
	if ok, _, err := old.client.KV().Acquire(&api.KVPair{Key: "app/lock", Session: session}, nil); err != nil || !ok {
		t.Fatalf("lock: %v, %v", ok, err)
	}
	contains(t, "saving", old.run(t, 0, "snapshot save", file), "Saved and verified")
	old.Kill()

	fresh := start(t, spec{host: h, name: "old", dc: "dc1", ip: h.Addr(1, 2), expect: 1, token: "99999999-2222-3333-4444-555555555555"})
	proctest.Until(t, patience, "writes work", func() error { return fresh.put("new", "v", "") })
	contains(t, "restoring", fresh.run(t, 0, "snapshot restore", file), "Restored snapshot")
	known := func(secret string) *api.Client { return clientOf(t, h, fresh.ip, secret) }
	proctest.Until(t, patience, "an old token reads what it may", func() error {
		pair, _, err := known(token.SecretID).KV().Get("app/k", nil)
		if err == nil && (pair == nil || string(pair.Value) != "v") {
			err = fmt.Errorf("it reads %+v", pair)
		}
		return err
	})
	if _, err := known(token.SecretID).KV().Put(&api.KVPair{Key: "app/k"}, nil); err == nil {
		t.Error("an old token writes what it may not")
	}
	proctest.Until(t, patience, "the token of the configuration is valid as well", func() error {
		_, _, err := fresh.client.ACL().TokenReadSelf(nil)
		return err
	})
	manager := known(old.token)
	if pair, _, err := manager.KV().Get("app/lock", nil); err != nil || pair == nil || pair.Session != session {
		t.Errorf("the lock is %+v, %v", pair, err)
	}
	if info, _, err := manager.Session().Info(session, nil); err != nil || info == nil || info.TTL != "1h" {
		t.Errorf("the session is %+v, %v", info, err)
	}
	if pair, _, err := manager.KV().Get("new", nil); err != nil || pair != nil {
		t.Errorf("what was written before the restore: %+v, %v", pair, err)
	}
}

// cliOut runs the program beside the node and returns all that it shows.
func (n *node) cliOut(t *testing.T, code int, args ...string) string {
	t.Helper()
	r := proctest.Run(t, n.host, args...)
	if r.Code != code {
		t.Errorf("%q ended with %d, want %d: %s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

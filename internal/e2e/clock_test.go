//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// TestALeadersClockIsSet: the clock of a leader jumps ahead, far ahead, and behind. Nobody
// else leads, writes do not pause, a lock whose session lives is held, and other
// datacenters are there. What goes by the clock is the end of tokens: one that is to live
// ten minutes does not outlive a leader that is an hour ahead.
func TestALeadersClockIsSet(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	const management = "11111111-2222-3333-4444-555555555555"
	key := keygen(t)
	servers := make([]*node, 3)
	for i := range servers {
		servers[i] = start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(1, i+1), expect: 3, key: key, token: management,
			lan: []string{h.Addr(1, 1), h.Addr(1, 2), h.Addr(1, 3)}, wan: []string{h.Addr(2, 1)}})
	}
	start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, token: management, config: map[string]any{"primary_datacenter": "dc1"}})
	agent := start(t, spec{host: h, name: "agent", dc: "dc1", ip: h.Addr(1, 9), key: key, token: management, lan: []string{h.Addr(1, 1)}})
	writes := func() error { return errors.Join(agent.put("k", "v", ""), agent.put("k", "v", "dc2")) }
	proctest.Until(t, patience, "a client agent writes here and there", writes)
	leader := awaitLeader(t, patience, servers...)
	lock, lost := lockOf(t, agent)
	token, _, err := agent.client.ACL().TokenCreate(&api.ACLToken{ExpirationTTL: 10 * time.Minute, Policies: []*api.ACLLink{{Name: "global-management"}}}, nil)
	must(t, "make a token", err)
	shown := clientOf(t, h, agent.ip, token.SecretID)
	term := func() any {
		self, err := leader.client.Agent().Self()
		must(t, "ask the leader", err)
		return self["Stats"]["raft"].(map[string]any)["term"]
	}
	before := term()
	for _, ahead := range []time.Duration{time.Minute, time.Hour, -time.Hour, 0} {
		leader.SetClock(ahead)
		pause := agent.writing(t, func() { <-time.After(1500 * time.Millisecond) })
		t.Logf("with a leader whose clock is %s ahead the longest pause of writes is %s", ahead, pause)
		must(t, "write there", agent.put("k", "v", "dc2"))
		if now := term(); now != before {
			t.Errorf("a clock that is %s ahead: term %s, was %s", ahead, now, before)
		}
		select {
		case <-lost:
			t.Fatalf("a clock that is %s ahead: the lock is lost", ahead)
		default:
		}
		_, _, err := shown.KV().Get("k", nil)
		if ahead == time.Minute {
			must(t, "a token of ten minutes, after a minute", err)
		}
		if ahead == time.Hour {
			shows(t, agent, leader.name, ahead)
			proctest.Until(t, patience, "the token has ended", func() error {
				if _, err := shown.KV().Put(&api.KVPair{Key: "k"}, nil); err == nil {
					return errors.New("it counts")
				}
				return nil
			})
		}
	}
	must(t, "give the lock back", lock.Unlock())
	for _, n := range append(servers, agent) {
		calm(t, n.name, n.String())
	}
}

// shows fails the test unless an operator sees how far the clock of a server is ahead.
func shows(t *testing.T, from *node, server string, ahead time.Duration) {
	t.Helper()
	var clocks []struct {
		Server   string
		OffsetMS float64
	}
	_, err := from.client.Raw().Query("/v1/operator/clocks", &clocks, nil)
	must(t, "compare clocks", err)
	for _, c := range clocks {
		if off := time.Duration(c.OffsetMS * float64(time.Millisecond)); c.Server == server && (off-ahead).Abs() < time.Minute {
			return
		}
	}
	t.Errorf("nobody sees that %s is %s ahead: %+v", server, ahead, clocks)
}

// lockOf holds a lock by a session of ten seconds. What it returns is closed when it is lost.
func lockOf(t *testing.T, n *node) (*api.Lock, <-chan struct{}) {
	t.Helper()
	lock, err := n.client.LockOpts(&api.LockOptions{Key: "lock", SessionTTL: "10s"})
	must(t, "make a lock", err)
	lost, err := lock.Lock(nil)
	must(t, "take the lock", err)
	return lock, lost
}

// TestAnAgentBeginsWithAWrongClock: with a gossip key no clock takes part in who is let in.
func TestAnAgentBeginsWithAWrongClock(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	key := keygen(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: key})
	awaitLeader(t, patience, home)
	agent := newNode(t, spec{host: h, name: "agent", dc: "dc1", ip: h.Addr(1, 2), key: key, lan: []string{home.ip}})
	for _, ahead := range []time.Duration{-time.Minute, 2 * time.Hour, -2 * time.Hour, 10 * year, -5 * year} {
		agent.launch()
		agent.SetClock(ahead)
		agent.WaitLine(0, patience, "agent started")
		proctest.Until(t, patience, fmt.Sprintf("an agent that is %s ahead writes", ahead), func() error { return agent.put("k", "v", "") })
		if line := agent.Tail(1); !strings.HasPrefix(line, "time="+time.Now().Add(ahead).UTC().Format("2006-")) && ahead.Abs() > year {
			t.Errorf("its clock is not %s ahead: %s", ahead, line)
		}
		agent.Kill()
		calm(t, agent.name, agent.String())
	}
}

const year = 365 * 24 * time.Hour

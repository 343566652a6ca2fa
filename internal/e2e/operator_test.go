//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// handOver is how long writes may wait while leadership is handed over: where nothing
// else is measured beside it, and beside other tests.
const (
	handOver     = 200 * time.Millisecond
	busyHandOver = 2 * time.Second
)

// Servers as an operator handles them: leadership is handed over under writes, a dead
// server is replaced by a new one and leaves then by itself, and one that never votes is
// taken out of the group.
func TestTheConsensusGroupIsOperated(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	servers := make([]*node, 3)
	for i := range servers {
		servers[i] = start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(1, i+1), expect: 3, lan: []string{h.Addr(1, 1)},
			config: map[string]any{"autopilot": map[string]any{"last_contact_threshold": "10s", "max_trailing_logs": 100_000}}}) // the machine is busy
	}
	replica := start(t, spec{host: h, name: "replica", dc: "dc1", ip: h.Addr(1, 7), expect: 3, lan: []string{h.Addr(1, 1)}, config: map[string]any{"read_replica": true}})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 9), lan: []string{h.Addr(1, 1)}})
	proctest.Until(t, patience, "writes work", func() error { return client.put("k", "v", "") })
	leading := func() *node { t.Helper(); return awaitLeader(t, patience, servers...) }
	group := func() map[string][]string {
		t.Helper()
		rows := map[string][]string{}
		for _, line := range strings.Split(strings.TrimSpace(client.run(t, 0, "operator raft list-peers")), "\n")[1:] {
			fields := strings.Fields(line)
			rows[fields[0]] = fields
		}
		return rows
	}

	limit := busyHandOver
	if os.Getenv("LEGATE_QUIET") != "" {
		limit = handOver
	}
	for range 3 {
		old := leading()
		var next *node
		for _, n := range servers {
			if n != old {
				next = n
			}
		}
		peers := group()
		if row := peers[old.name]; len(peers) != 4 || row[3] != "leader" || row[4] != "true" || row[6] == "-" || row[7] != "-" {
			t.Fatalf("the group is listed as %v", peers)
		}
		pause := client.writing(t, func() {
			if out := client.run(t, 0, "operator raft transfer-leader", "-id="+peers[next.name][1]); out != "Success\n" {
				t.Errorf("transfer-leader says %q", out)
			}
		})
		t.Logf("writes waited %s while leadership was handed over", pause.Round(time.Millisecond))
		if pause > limit {
			t.Errorf("writes waited %s, at most %s are allowed", pause, limit)
		}
		if now := leading(); now != next {
			t.Errorf("%s leads, not %s", now.name, next.name)
		}
	}

	lead := leading()
	var dead, other *node
	for _, n := range servers {
		if n != lead {
			dead, other = n, dead
		}
	}
	ids := group()
	contains(t, "removing the leader", client.run(t, 1, "operator raft remove-peer", "-id="+ids[lead.name][1]), "leads: have another server lead")
	contains(t, "handing over to who leads", client.run(t, 1, "operator raft transfer-leader", "-id="+ids[lead.name][1]), "leads already")
	contains(t, "handing over to nobody", client.run(t, 1, "operator raft transfer-leader", "-id=nobody"), "no voter in the Raft configuration")
	contains(t, "removing nobody", client.run(t, 1, "operator raft remove-peer", "-address=10.0.0.1:1"), `address "10.0.0.1:1" was not found`)
	client.configures(t)
	client.awaitHealth(t, "s1 voter, s2 voter, s3 voter, replica", 1)
	replaced(t, client, lead, dead, other)
	replica.Kill()
	// A server is asked: the client agent may have asked the one that died.
	contains(t, "removing the dead", other.run(t, 0, "operator raft remove-peer", "-address="+replica.ip+":8300"), "Removed peer with address")
	if now := group(); len(now) != 3 || now["replica"] != nil {
		t.Errorf("after its removal the group is %v", now)
	}
}

// configures has new servers vote soon.
func (n *node) configures(t *testing.T) {
	t.Helper()
	contains(t, "the configuration", n.run(t, 0, "operator autopilot get-config"), "LastContactThreshold = 10s\nMaxTrailingLogs = 100000\n")
	contains(t, "changing it", n.run(t, 0, "operator autopilot set-config", "-server-stabilization-time=2s"), "Configuration updated!")
	contains(t, "the changed configuration", n.run(t, 0, "operator autopilot get-config"), "LastContactThreshold = 10s\nMaxTrailingLogs = 100000\nMinQuorum = 0\nServerStabilizationTime = 2s\n")
}

// replaced kills a server, shows that the datacenter is not well, and starts a new one:
// that votes when it is stable, and then the dead one is gone.
func replaced(t *testing.T, client, lead, dead, other *node) {
	t.Helper()
	dead.Kill()
	other.shows(dead.name, "failed")
	proctest.Until(t, patience, "the datacenter is not well", func() error {
		health, err := client.health()
		if err == nil && (health.status != http.StatusTooManyRequests || health.FailureTolerance != 0 || len(health.Servers) != 4) {
			err = fmt.Errorf("health is %+v", health)
		}
		return err
	})
	start(t, spec{host: client.host, name: "s4", dc: "dc1", ip: client.host.Addr(1, 4), expect: 3, lan: []string{lead.ip}})
	client.awaitHealth(t, strings.Replace("s1 voter, s2 voter, s3 voter, s4 voter, replica", dead.name+" voter, ", "", 1), 1)
	other.shows(dead.name, "left")
	contains(t, "the state", client.run(t, 0, "operator autopilot state"), "Failure Tolerance:            1\n")
}

// health is what an agent answers about the servers.
type health struct {
	status int
	api.OperatorHealthReply
}

func (n *node) health() (health, error) {
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + n.ip + ":8500/v1/operator/autopilot/health")
	if err != nil {
		return health{}, err
	}
	defer resp.Body.Close()
	h := health{status: resp.StatusCode}
	return h, json.NewDecoder(resp.Body).Decode(&h.OperatorHealthReply)
}

// awaitHealth waits until all servers are healthy, with or without a vote, and so many
// may fail.
func (n *node) awaitHealth(t *testing.T, want string, tolerance int) {
	t.Helper()
	proctest.Until(t, patience, "the servers are "+want, func() error {
		h, err := n.health()
		if err != nil {
			return err
		}
		names := map[string]string{}
		for _, s := range h.Servers {
			if names[s.Name] = s.Name; s.Voter {
				names[s.Name] += " voter"
			}
		}
		rest := slices.Sorted(maps.Values(names))
		wanted := strings.Split(want, ", ")
		slices.Sort(wanted)
		if h.status != http.StatusOK || !h.Healthy || h.FailureTolerance != tolerance || !slices.Equal(rest, wanted) {
			return fmt.Errorf("%d %+v", h.status, h.OperatorHealthReply)
		}
		return nil
	})
}

// writing writes through the agent all the time while something is done, and for a
// second more, and returns the longest time between two writes that were taken.
func (n *node) writing(t *testing.T, do func()) (pause time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	began := make(chan struct{})
	wg.Go(func() {
		last, first := time.Time{}, true
		for ctx.Err() == nil {
			if n.put("handed", "over", "") != nil {
				continue
			}
			now := time.Now()
			if first {
				first = false
				close(began)
			} else {
				pause = max(pause, now.Sub(last))
			}
			last = now
		}
		pause = max(pause, time.Since(last))
	})
	<-began
	do()
	<-time.After(time.Second)
	cancel()
	wg.Wait()
	return pause
}

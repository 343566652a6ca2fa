//go:build linux

package linear

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// set writes a value, again until it is taken.
func (c *cluster) set(n *node, key, value string) {
	c.t.Helper()
	c.until("a write at "+n.name, func() error {
		_, err := c.ask(http.MethodPut, n, "/v1/kv/"+key, value)
		return err
	})
}

// others returns the servers but one.
func (c *cluster) others(without *node) []*node {
	return slices.DeleteFunc(slices.Clone(c.servers), func(n *node) bool { return n == without })
}

// TestAStoppedLeaderWakesUpSilent stops the leader, lets the others elect
// another one and write, asks the stopped one meanwhile, and wakes it: what it
// answers must not be from before.
func TestAStoppedLeaderWakesUpSilent(t *testing.T) {
	t.Parallel()
	const rounds, askers = 3, 64
	c := newCluster(t, 3, plain(t))
	for round := range rounds {
		old := c.leader()
		c.set(old, "asleep", fmt.Sprint("before ", round))
		old.Signal(syscall.SIGSTOP)
		c.set(c.others(old)[0], "asleep", fmt.Sprint("after ", round))
		var answers sync.Map
		var asked, wg sync.WaitGroup
		for i := range askers {
			asked.Add(1)
			wg.Go(func() {
				path := "/v1/kv/asleep?raw"
				if i%4 == 0 {
					path += "&consistent"
				}
				cl := &http.Client{Transport: c.home.Transport(), Timeout: patience}
				defer cl.CloseIdleConnections()
				asked.Done()
				res, err := cl.Get(old.url(path))
				if err != nil {
					return
				}
				answers.Store(fmt.Sprintf("%s: %s", path, readAll(res)), i)
			})
		}
		asked.Wait()
		<-time.After(100 * time.Millisecond) // the questions lie at the stopped server
		old.Signal(syscall.SIGCONT)
		wg.Wait()
		n := 0
		answers.Range(func(answer, _ any) bool {
			n++
			t.Log(answer)
			if text := answer.(string); slices.Contains([]string{
				fmt.Sprint("/v1/kv/asleep?raw: 200 before ", round), fmt.Sprint("/v1/kv/asleep?raw&consistent: 200 before ", round)}, text) {
				t.Errorf("the woken leader answers %s", text)
			}
			return true
		})
		if n == 0 {
			t.Error("the woken leader answers nothing")
		}
		c.whole(patience)
	}
}

// lossOfLeader is a way to lose the leader, and how long writes through a client
// agent may pause because of it, at most. Those who lead next count the time of a
// heartbeat; a leader that is silent is not waited for either.
type lossOfLeader struct {
	name   string
	limit  time.Duration
	strike func(c *cluster, old *node)
}

func lossesOfLeader() []lossOfLeader {
	return []lossOfLeader{
		{"killed", 800 * time.Millisecond, func(c *cluster, old *node) { c.kill(old) }},
		{"stopped", 1500 * time.Millisecond, func(_ *cluster, old *node) { old.Signal(syscall.SIGSTOP) }},
		{"cut off from servers", 1500 * time.Millisecond, func(c *cluster, old *node) { c.part(only(old), true, true) }},
		{"cut off from all", 1500 * time.Millisecond, func(c *cluster, old *node) {
			deafen(old, c.nodes()...)
			for _, n := range c.nodes() {
				deafen(n, old)
			}
			c.wall()
		}},
	}
}

// TestWritesGoOnAfterTheLeaderIsLost measures the time from the loss of the leader
// to the first write, begun after it, that is acknowledged through a client agent;
// and from a write that was on its way.
func TestWritesGoOnAfterTheLeaderIsLost(t *testing.T) {
	rounds := 1
	if longRun(t) > 0 {
		rounds = 10
	}
	measurePauses(t, newCluster(t, 3, plain(t)), lossesOfLeader(), rounds)
}

// planned are the ways in which a leader goes that says so, and how long writes
// through a client agent may pause because of it.
func planned() []lossOfLeader {
	const limit = 200 * time.Millisecond
	ended := func(c *cluster, old *node) {
		if code := old.WaitExit(patience); code != 0 {
			c.t.Errorf("%s ended with %d:\n%s", old.label(), code, old.Tail(30))
		}
	}
	return []lossOfLeader{
		{"told to leave", limit, func(c *cluster, old *node) {
			_, err := c.ask(http.MethodPut, old, "/v1/agent/leave", "")
			if ended(c, old); err != nil { // on a busy machine it takes longer than a question may
				c.t.Logf("told to leave: %v", err)
			}
		}},
		{"ended for a restart", limit, func(c *cluster, old *node) { old.Signal(syscall.SIGTERM); ended(c, old) }},
	}
}

// TestWritesGoOnWhileALeaderLeaves measures the same where it is said that the leader
// goes: an upgrade is as many of these as there are servers.
func TestWritesGoOnWhileALeaderLeaves(t *testing.T) {
	rounds := 1
	if longRun(t) > 0 {
		rounds = 10
	}
	measurePauses(t, newCluster(t, 3, plain(t)), planned(), rounds)
}

// measurePauses has the leader go in each of the ways, several times.
func measurePauses(t *testing.T, c *cluster, ways []lossOfLeader, rounds int) {
	for _, loss := range ways {
		limit := maxGap
		if longRun(t) > 0 { // beside other tests there is no measuring
			limit = loss.limit
		}
		var pauses []time.Duration
		for round := range rounds {
			c.voting()
			old := c.leader()
			<-time.After(time.Duration(round*137%500) * time.Millisecond) // anywhere between two heartbeats
			pauses = append(pauses, c.pause(func() { loss.strike(c, old) }))
			c.heal()
			c.whole(patience)
		}
		slices.Sort(pauses)
		t.Logf("the leader is %s: writes through a client agent pause for: p50 %s, longest %s, all %v", loss.name, pauses[len(pauses)/2], pauses[len(pauses)-1], pauses)
		if longest := pauses[len(pauses)-1]; longest > limit {
			t.Errorf("the leader is %s: writes pause for %s, want at most %s", loss.name, longest, limit)
		}
	}
}

// voting waits until all servers vote: one that left comes back without.
func (c *cluster) voting() {
	c.t.Helper()
	c.until("all servers vote", func() error {
		group, err := c.ask(http.MethodGet, c.agent, "/v1/operator/raft/configuration", "")
		if err == nil && strings.Count(group, `"Voter":true`) != len(c.servers) {
			err = fmt.Errorf("the group is %s", group)
		}
		return err
	})
}

// pause has writers write through the client agent all the time, strikes, and returns
// the longest time from a write that one of them had acknowledged to its next.
func (c *cluster) pause(strike func()) time.Duration {
	const writers = 4
	var gaps [writers]time.Duration
	var wg, writing sync.WaitGroup
	struck := make(chan struct{})
	for w := range writers {
		writing.Add(1)
		wg.Go(func() {
			last := c.writeOnce(fmt.Sprint("resume/", w))
			writing.Done()
			for done := false; !done; {
				select {
				case <-struck:
					done = true
				default:
				}
				now := c.writeOnce(fmt.Sprint("resume/", w))
				gaps[w], last = max(gaps[w], now.Sub(last)), now
			}
		})
	}
	writing.Wait()
	strike()
	close(struck)
	wg.Wait()
	return slices.Max(gaps[:])
}

// writeOnce writes through the client agent, again until a write is acknowledged, and
// returns when that was.
func (c *cluster) writeOnce(key string) time.Time {
	cl := &http.Client{Transport: c.home.Transport(), Timeout: 10 * time.Second}
	defer cl.CloseIdleConnections()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		req, err := http.NewRequest(http.MethodPut, c.agent.url("/v1/kv/"+key), strings.NewReader("x"))
		if err != nil {
			c.t.Error(err)
			break
		}
		res, err := cl.Do(req)
		if err == nil && readAll(res) == "200 true" {
			break
		}
	}
	return time.Now()
}

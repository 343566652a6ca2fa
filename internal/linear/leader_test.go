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

// maxResume is how long writes through a client agent may pause when the
// leader is killed.
const maxResume = 1200 * time.Millisecond

// TestWritesGoOnAfterTheLeaderIsKilled measures the time from kill -9 of the
// leader to the first write, begun after it, that is acknowledged through a
// client agent.
func TestWritesGoOnAfterTheLeaderIsKilled(t *testing.T) {
	kills, writers, limit := 4, 4, maxGap // beside other tests there is no measuring
	if longRun(t) > 0 {
		kills, limit = 20, maxResume
	}
	c := newCluster(t, 3, plain(t))
	var pauses []time.Duration
	for kill := range kills {
		old := c.leader()
		<-time.After(time.Duration(kill*137%500) * time.Millisecond) // anywhere between two heartbeats
		c.kill(old)
		began := time.Now()
		back := make(chan time.Duration, writers)
		for w := range writers {
			go c.writeUntil(began.Add(patience), fmt.Sprint("resume/", w), func() { back <- time.Since(began) })
		}
		pauses = append(pauses, <-back)
		for range writers - 1 {
			<-back
		}
		c.start(old)
		c.whole(patience)
	}
	slices.Sort(pauses)
	t.Logf("writes through a client agent pause for: p50 %s, longest %s, all %v", pauses[len(pauses)/2], pauses[len(pauses)-1], pauses)
	if longest := pauses[len(pauses)-1]; longest > limit {
		t.Errorf("writes go on %s after the leader is killed, want at most %s", longest, limit)
	}
}

// writeUntil writes through the client agent until one write is acknowledged.
func (c *cluster) writeUntil(deadline time.Time, key string, done func()) {
	cl := &http.Client{Transport: c.home.Transport(), Timeout: 10 * time.Second}
	defer cl.CloseIdleConnections()
	defer done()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		req, err := http.NewRequest(http.MethodPut, c.agent.url("/v1/kv/"+key), strings.NewReader("x"))
		if err != nil {
			c.t.Error(err)
			return
		}
		res, err := cl.Do(req)
		if err == nil && readAll(res) == "200 true" {
			return
		}
		<-tick.C
	}
	c.t.Errorf("no write at the client agent was acknowledged within %s", patience)
}

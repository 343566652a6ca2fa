//go:build linux

package linear

import (
	"fmt"
	"net/http"
	"slices"
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

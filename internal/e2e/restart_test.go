//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// TestARestartIsNoOutage kills an agent and starts it again: what its checks
// have said stands, the catalog sees nothing of it, and they run again soon.
func TestARestartIsNoOutage(t *testing.T) {
	t.Parallel()
	const interval = 8 * time.Second
	h := proctest.Loopback(t)
	var asked atomic.Int64
	var l net.Listener
	must(t, "listen", h.Inside(func() (err error) {
		l, err = net.Listen("tcp", h.Addr(9, 9)+":80")
		return err
	}))
	serve(t, l, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	url := "http://" + l.Addr().String()
	server := start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	agent := start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip},
		config: map[string]any{"service": map[string]any{"name": "filed", "check": map[string]any{"http": url, "interval": interval.String()}}}})
	must(t, "register", agent.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web",
		Check: &api.AgentServiceCheck{HTTP: url, Interval: interval.String(), DeregisterCriticalServiceAfter: "1m"}}))
	states := func(from *node) (text string, err error) {
		for _, service := range []string{"filed", "web"} {
			list, _, err := from.client.Health().Checks(service, nil)
			if err != nil {
				return "", err
			}
			for _, c := range list {
				text += fmt.Sprintf("%s %s %d\n", c.CheckID, c.Status, c.ModifyIndex)
			}
		}
		return text, nil
	}
	proctest.Until(t, patience, "both checks pass", func() error {
		for _, service := range []string{"filed", "web"} {
			list, _, err := server.client.Health().Service(service, "", true, nil)
			if err != nil {
				return err
			}
			if len(list) != 1 {
				return fmt.Errorf("%d healthy instances of %s", len(list), service)
			}
		}
		return nil
	})
	proctest.Until(t, patience, "both states are kept", keptStates(agent, 2))
	before, err := states(server)
	must(t, "read the states", err)
	asked.Store(0)
	agent.Kill()
	agent.start()
	own, err := agent.client.Agent().Checks()
	must(t, "read the agent's own checks", err)
	for id, c := range own {
		if c.Status != api.HealthPassing {
			t.Errorf("%s is %s when the agent has started: %s", id, c.Status, c.Output)
		}
	}
	took := proctest.Until(t, patience, "both checks ran again", func() error {
		if n := asked.Load(); n < 2 {
			return fmt.Errorf("%d ran", n)
		}
		return nil
	})
	if took > interval/2 {
		t.Errorf("the checks ran %s after the start, with an interval of %s", took, interval)
	}
	// What the agent sends after its start comes before this.
	must(t, "register", agent.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "last"}))
	proctest.Until(t, patience, "the catalog hears of the agent", func() error {
		list, _, err := server.client.Health().Service("last", "", false, nil)
		if err == nil && len(list) == 0 {
			err = errors.New("no such service")
		}
		return err
	})
	after, err := states(server)
	if must(t, "read the states", err); after != before {
		t.Errorf("the catalog has seen the restart:\n%snow\n%s", before, after)
	}
}

// keptStates waits until an agent has written the states of its checks.
func keptStates(n *node, want int) func() error {
	return func() error {
		files, err := filepath.Glob(filepath.Join(n.dir, "checks", "state", "*.json"))
		if err == nil && len(files) < want {
			err = fmt.Errorf("%d are", len(files))
		}
		return err
	}
}

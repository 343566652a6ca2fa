//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// shows waits until members on a node shows another with a status.
func (n *node) shows(name, status string) {
	n.t.Helper()
	proctest.Until(n.t, patience, fmt.Sprintf("%s shows as %s", name, status), func() error {
		members, err := n.client.Agent().Members(false)
		if err != nil {
			return err
		}
		names := []string{"none", "alive", "leaving", "left", "failed"}
		for _, m := range members {
			if m.Name == name && m.Status < len(names) && names[m.Status] == status {
				return nil
			}
		}
		r := n.cli("members")
		return fmt.Errorf("members:\n%s", r.Stdout)
	})
}

// A server ends by a signal without leaving, a client leaves: so that servers
// may be restarted at will and clients clean up behind them.
func TestSignalsEndServersAndClientsAsTheirDefaultsSay(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	awaitLeader(t, patience, home)
	server := start(t, spec{host: h, name: "server", dc: "dc1", ip: h.Addr(1, 2), expect: 1, lan: []string{home.ip}})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 3), lan: []string{home.ip}})
	for _, c := range []struct {
		n      *node
		sig    syscall.Signal
		shows  string
		leaves bool
	}{
		{client, syscall.SIGINT, "left", true},
		{server, syscall.SIGTERM, "failed", false},
		{client, syscall.SIGTERM, "left", true},
		{server, syscall.SIGINT, "failed", false},
	} {
		home.shows(c.n.name, "alive")
		c.n.shows("home", "alive") // else it would have nobody to say goodbye to
		c.n.Signal(c.sig)
		if code := c.n.WaitExit(patience); code != 0 {
			t.Errorf("%s ends by %s with exit code %d", c.n.name, c.sig, code)
		}
		contains(t, "the log of "+c.n.name, c.n.String(), fmt.Sprintf("leave=%v", c.leaves))
		calm(t, "the log of "+c.n.name, c.n.String())
		home.shows(c.n.name, c.shows)
		// The same data directory: back without a join of anybody.
		c.n.spec.lan = nil
		if c.leaves { // who left does not come back by itself unless told to
			c.n.flags = []string{"-rejoin"}
		}
		c.n.start()
	}
	home.shows(server.name, "alive")
	home.shows(client.name, "alive")
	if err := client.put("k", "v", ""); err != nil {
		t.Errorf("a client that came back: %v", err)
	}
	proctest.Until(t, patience, "the server that came back", func() error { return server.get("k", "v", "") })
}

func TestConfigurationChangesWhatSignalsDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		expect int
		config map[string]any
		sig    syscall.Signal
		shows  string
	}{
		{"server with leave_on_terminate", 1, map[string]any{"leave_on_terminate": true}, syscall.SIGTERM, "left"},
		{"client without leave_on_terminate", 0, map[string]any{"leave_on_terminate": false}, syscall.SIGTERM, "failed"},
		{"client with skip_leave_on_interrupt", 0, map[string]any{"skip_leave_on_interrupt": true}, syscall.SIGINT, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := proctest.Loopback(t)
			home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
			n := start(t, spec{host: h, name: "n", dc: "dc1", ip: h.Addr(1, 2), expect: c.expect, config: c.config, lan: []string{home.ip}})
			home.shows("n", "alive")
			n.shows("home", "alive")
			n.Signal(c.sig)
			if code := n.WaitExit(patience); code != 0 {
				t.Errorf("exit code %d", code)
			}
			home.shows("n", c.shows)
			if c.shows == "failed" { // whoever knows better says so
				home.run(t, 0, "force-leave", "n")
				home.shows("n", "left")
			}
			home.run(t, 0, "force-leave -prune", "n")
			proctest.Until(t, patience, "n is forgotten", func() error {
				if out := home.run(t, 0, "members"); strings.Contains(out, "\nn ") {
					return errors.New(out)
				}
				return nil
			})
			home.run(t, 1, "force-leave", "nobody")
		})
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), lan: []string{home.ip}})
	home.shows("client", "alive")
	client.shows("home", "alive")
	client.Signal(syscall.SIGINT)
	client.WaitLine(0, patience, "leaving the LAN pool")
	begin := time.Now()
	client.Signal(syscall.SIGTERM)
	code := client.WaitExit(patience)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %s to end at once", took)
	}
	contains(t, "the output", client.String(), "second signal")
	if code != 1 {
		t.Errorf("exit code %d, want 1: it did not leave", code)
	}
}

//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/legate-project/legate/internal/proctest"
)

// An archive of a server that saw its leader die and the other datacenter cut off:
// its summary says both.
func TestDebugShowTellsOfAKilledLeaderAndACut(t *testing.T) {
	t.Parallel()
	f := proctest.NewFabric(t)
	left, right := f.Switch("dc1"), f.Switch("dc2")
	router := f.Router("router", proctest.Leg{Switch: left, CIDR: "10.1.0.1/24"}, proctest.Leg{Switch: right, CIDR: "10.2.0.1/24"})
	lan := []string{"10.1.0.2", "10.1.0.3", "10.1.0.4"}
	var servers []*node
	for i, ip := range lan {
		name := fmt.Sprint("a", i+1)
		n := newNode(t, spec{host: left.Host(name, ip+"/24", "10.1.0.1"), name: name, dc: "dc1", ip: ip, expect: 3, lan: lan, config: map[string]any{"enable_debug": true}})
		n.launch()
		servers = append(servers, n)
	}
	start(t, spec{host: right.Host("b", "10.2.0.2/24", "10.2.0.1"), name: "b", dc: "dc2", ip: "10.2.0.2", expect: 1, wan: lan})
	lead := awaitLeader(t, patience, servers...)
	rest := others(servers, lead)
	proctest.Until(t, patience, "dc2 answers", func() error { return rest[0].put("before", "v", "dc2") })

	archive := filepath.Join(t.TempDir(), "archive")
	debug := proctest.Start(t, rest[0].host, "debug", "debug", "-http-addr="+net.JoinHostPort(rest[0].ip, "8500"),
		"-duration=3m", "-interval=500ms", "-output="+archive)
	debug.WaitLine(0, patience, "Collecting from node "+rest[0].name)
	lead.Kill()
	next := awaitLeader(t, patience, rest...)
	if err := next.put("after", "v", ""); err != nil {
		t.Error(err)
	}
	f.Firewall(router, nothing)
	proctest.Until(t, patience, "the cut is seen", func() error {
		if err := rest[0].put("during", "v", "dc2"); err == nil {
			return errors.New("dc2 answers")
		}
		if r := rest[0].cli("federation list"); !strings.Contains(r.Stdout, "unreachable") {
			return fmt.Errorf("the federation is %s", r.Stdout)
		}
		return nil
	})
	proctest.Until(t, patience, "the killed leader has failed", func() error {
		if r := rest[0].cli("members", "-status=failed"); !strings.Contains(r.Stdout, lead.name) {
			return errors.New("it has not")
		}
		return nil
	})
	debug.Signal(syscall.SIGINT)
	if code := debug.WaitExit(patience); code != 0 {
		t.Fatalf("debug ends with %d: %s", code, debug.Tail(20))
	}
	shown := proctest.Run(t, rest[0].host, "debug", "show", archive+".tar.gz")
	if shown.Code != 0 {
		t.Fatalf("show: %s", shown.Stderr)
	}
	t.Log(shown.Stdout)
	contains(t, "the summary", shown.Stdout, "Node "+rest[0].name, "WHAT WAS CUT", "dc2 cut off: ", "MEMBERS THAT FAILED", "lan "+lead.name+"  failed once",
		"WHO LED WHEN", "NO LEADER; it was "+lead.name, next.name+" leads; there was no leader for ", "WHAT WAS SLOW", "raft_apply_seconds", "GOROUTINES AND HEAP", "goroutines: ", "heap: ")
	if lines := strings.Count(shown.Stdout, "\n"); lines > 120 {
		t.Errorf("the summary has %d lines: nobody reads that at night", lines)
	}
}

//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// TestARegistrationIsAnsweredWhenTheCatalogHasIt changes what a client agent
// has registered, and asks a server at once: right after the start, when all is
// calm, and while a leader is being elected. Without servers it is answered after
// a while all the same.
func TestARegistrationIsAnsweredWhenTheCatalogHasIt(t *testing.T) {
	t.Parallel()
	const hold = 5 * time.Second
	h := proctest.Loopback(t)
	var servers []*node
	for i := range 3 {
		servers = append(servers, newNode(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(1, i+1), expect: 3, lan: []string{h.Addr(1, 1)}}))
		servers[i].launch()
	}
	leader := awaitLeader(t, patience, servers...)
	agent := newNode(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 9), lan: []string{h.Addr(1, 1)},
		config: map[string]any{"performance": map[string]any{"raft_multiplier": 1, "rpc_hold_timeout": hold.String()}}})
	agent.launch()
	local := agent.client.Agent()
	register := func(name string) error {
		return local.ServiceRegister(&api.AgentServiceRegistration{Name: name, Check: &api.AgentServiceCheck{TTL: "1h"}})
	}
	// state is what a server says of a service: its checks, or nothing.
	state := func(at *node, name string) (text string) {
		t.Helper()
		list, _, err := at.client.Health().Service(name, "", false, nil)
		must(t, "ask a server", err)
		for _, entry := range list {
			text += entry.Checks.AggregatedStatus()
		}
		return text
	}
	proctest.Until(t, patience, "the agent listens", func() error { return register("first") })
	if got := state(leader, "first"); got != api.HealthCritical {
		t.Errorf("right after the start of the agent the catalog says %q of the service", got)
	}

	for i := range 20 {
		name := fmt.Sprint("web", i)
		for _, step := range []struct {
			what string
			do   func() error
			want string
		}{
			{"register", func() error { return register(name) }, api.HealthCritical},
			{"pass", func() error { return local.UpdateTTL("service:"+name, "", "pass") }, api.HealthPassing},
			{"maintain", func() error { return local.EnableServiceMaintenance(name, "") }, api.HealthMaint},
			{"end of maintenance", func() error { return local.DisableServiceMaintenance(name) }, api.HealthPassing},
			{"another check", func() error {
				return local.CheckRegister(&api.AgentCheckRegistration{ID: name + "-too", Name: "too", ServiceID: name, AgentServiceCheck: api.AgentServiceCheck{TTL: "1h", Status: "warning"}})
			}, api.HealthWarning},
			{"end of the check", func() error { return local.CheckDeregister(name + "-too") }, api.HealthPassing},
			{"deregister", func() error { return local.ServiceDeregister(name) }, ""},
		} {
			must(t, step.what, step.do())
			if got := state(leader, name); got != step.want {
				t.Fatalf("after %s of %s the catalog says %q, want %q", step.what, name, got, step.want)
			}
		}
	}

	leader.Kill()
	must(t, "register", register("meanwhile"))
	rest := others(servers, leader)
	if got := state(rest[0], "meanwhile"); got != api.HealthCritical {
		t.Errorf("after an election the catalog says %q of the service", got)
	}

	for _, s := range rest {
		s.Kill()
	}
	for what, c := range map[string]struct {
		do   func() error
		wait bool
	}{
		"a new service":             {func() error { return register("late") }, true},
		"a report of the same":      {func() error { return local.UpdateTTL("service:meanwhile", "", "fail") }, false},
		"the same registered again": {func() error { return register("meanwhile") }, false},
	} {
		began := time.Now()
		must(t, what, c.do())
		took := time.Since(began)
		if waited := took > hold/2; waited != c.wait || took > 2*hold {
			t.Errorf("without servers, %s was answered after %s", what, took)
		}
	}
}

package testcluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	plans "github.com/hashicorp/consul/api/watch"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
)

func TestEventsReachWhomTheyMean(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 2, RTT: 5 * time.Millisecond, Dir: t.TempDir()})
	here := c.In("dc1")
	if err := here[1].Agent().Local().AddService(config.ServiceDefinition{Name: "web", Tags: []string{"v1"}}); err != nil {
		t.Fatal(err)
	}
	fire := func(n *testcluster.Node, e api.UserEvent, dc string) string {
		t.Helper()
		id, _, err := official(t, n).Event().Fire(&e, &api.WriteOptions{Datacenter: dc})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	has := func(n *testcluster.Node, id string) func(context.Context) error {
		return func(context.Context) error {
			list, qm, err := official(t, n).Event().List("", nil)
			if err != nil || len(list) == 0 {
				return fmt.Errorf("%d events: %w", len(list), err)
			}
			last := list[len(list)-1]
			if last.ID != id || qm.LastIndex != official(t, n).Event().IDToIndex(id) {
				return fmt.Errorf("the last is %+v, index %d", last, qm.LastIndex)
			}
			return nil
		}
	}
	first := fire(here[2], api.UserEvent{Name: "deploy", Payload: []byte("1.2")}, "")
	for _, n := range here {
		eventually(t, n.Name+" has the event", 10*time.Second, has(n, first))
	}
	// Only one agent runs web; a last event for all shows that the others are done.
	meant := fire(here[2], api.UserEvent{Name: "restart", ServiceFilter: "^web$", TagFilter: "v."}, "")
	eventually(t, "the agent that is meant has it", 10*time.Second, has(here[1], meant))
	last := fire(here[0], api.UserEvent{Name: "last"}, "dc1")
	for _, n := range []*testcluster.Node{here[0], here[2]} {
		eventually(t, n.Name+" has the last one", 10*time.Second, has(n, last))
		if list, _, err := official(t, n).Event().List("restart", nil); err != nil || len(list) != 0 {
			t.Errorf("%s: %d events for others, %v", n.Name, len(list), err)
		}
	}
	other := fire(here[2], api.UserEvent{Name: "there", NodeFilter: "client"}, "dc2")
	eventually(t, "the other datacenter has its event", 10*time.Second, has(c.In("dc2")[2], other))
	if list, _, err := official(t, here[0]).Event().List("there", nil); err != nil || len(list) != 0 {
		t.Errorf("an event of dc2 is in dc1: %v %v", list, err)
	}
	for want, e := range map[string]api.UserEvent{
		"413": {Name: "big", Payload: make([]byte, 600)}, "node filter": {Name: "e", NodeFilter: "("},
		"between agents": {Name: "_x"}, "tag filter": {Name: "e", TagFilter: "x"},
	} {
		if _, _, err := official(t, here[1]).Event().Fire(&e, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// An event for all datacenters is kept once by each agent of each, and who could not be told
// is named.
func TestEventsReachAllDatacenters(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 1, Clients: 1, RTT: 5 * time.Millisecond, Dir: t.TempDir()})
	client := &asking{t: t, c: c, node: c.In("dc1")[1]}
	fire := func(to string) (id string, failed []string) {
		t.Helper()
		code, text, _ := client.do("", "PUT", "/v1/event/fire/deploy?dc="+to, "1.2")
		var got struct {
			ID          string
			Datacenters []events.Told
		}
		if err := json.Unmarshal([]byte(text), &got); code != 200 || err != nil {
			t.Fatalf("%s: %d %s, %v", to, code, text, err)
		}
		for _, d := range got.Datacenters {
			if d.Error != "" {
				failed = append(failed, d.Datacenter)
			}
		}
		return got.ID, failed
	}
	keeps := func(n *testcluster.Node, want ...string) func(context.Context) error {
		return func(context.Context) error {
			list, _, err := official(t, n).Event().List("deploy", nil)
			var ids []string
			for _, e := range list {
				ids = append(ids, e.ID)
			}
			if err != nil || !slices.Equal(ids, want) {
				return fmt.Errorf("%v, %w; want %v", ids, err, want)
			}
			return nil
		}
	}
	first, failed := fire("all")
	if failed != nil {
		t.Fatalf("not told: %v", failed)
	}
	for _, n := range c.Nodes() {
		eventually(t, n.Name+" has it", 10*time.Second, keeps(n, first))
	}
	if code, text, _ := client.do("", "PUT", "/v1/event/fire/deploy?dc=nearest", ""); code != 400 || !strings.Contains(text, "for a list") {
		t.Errorf("nearest: %d %s", code, text)
	}
	if err := c.Cut("dc3"); err != nil {
		t.Fatal(err)
	}
	second, failed := fire("all")
	if !slices.Equal(failed, []string{"dc3"}) {
		t.Errorf("not told: %v, want dc3", failed)
	}
	for _, n := range append(c.In("dc1"), c.In("dc2")...) {
		eventually(t, n.Name+" has both, in order", 10*time.Second, keeps(n, first, second))
	}
}

func TestWatchPlanOfEvents(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Dir: t.TempDir()})
	n := c.In("dc1")[1]
	plan, err := plans.Parse(map[string]any{"type": "event", "name": "deploy"})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan []*api.UserEvent, 8)
	plan.Handler = func(_ uint64, v any) {
		if list, ok := v.([]*api.UserEvent); ok && len(list) > 0 {
			seen <- list
		}
	}
	done := make(chan error, 1)
	go func() { done <- plan.Run(n.HTTPAddr()) }()
	for i := range 3 {
		for _, name := range []string{"other", "deploy"} {
			if _, _, err := official(t, n).Event().Fire(&api.UserEvent{Name: name, Payload: []byte{byte('a' + i)}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case list := <-seen:
			if got := string(list[len(list)-1].Payload); got != string(rune('a'+i)) || list[0].Name != "deploy" {
				t.Errorf("event %d: %q of %d", i, got, len(list))
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the plan saw nothing")
		}
	}
	plan.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

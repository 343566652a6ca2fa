package testcluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	mdns "github.com/miekg/dns"
)

// A service of which this datacenter has nothing healthy is answered by another one, by DNS
// and by HTTP, also for who waits, as a rule in the state says; and by this one again when it
// is well. Every agent of the datacenter knows the rule.
func TestPlainNamesFailOverByARule(t *testing.T) {
	t.Parallel()
	c, n := federated(t)
	client := &asking{t: t, c: c, node: n}
	official := officialOf(t, n)
	server := c.In("dc1")[0]
	webIn(t, c, "dc2", "critical")

	dns := func(node string, want string) func(context.Context) error {
		return func(context.Context) error {
			got, err := resolve(c.Node(node), "web.service.consul.", mdns.TypeSRV)
			if err == nil && !strings.Contains(got, want) {
				err = fmt.Errorf("%s, want %s", got, want)
			}
			return err
		}
	}
	webIn(t, c, "dc1", "critical")
	eventually(t, "without a rule nobody stands in", 10*time.Second, dns(n.Name, "NXDOMAIN"))
	webIn(t, c, "dc1", "passing")
	client.must("PUT", "/v1/failover/we*", `{"Datacenters":["dc2","nearest"]}`, "")

	eventually(t, "the agent knows the rule", 10*time.Second, client.gets("", "/v1/failover/explain/web", 200, "we*"))

	told := make(chan string, 100)
	ctx, stop := context.WithCancel(t.Context())
	var waits sync.WaitGroup
	waits.Go(func() {
		for q := (&api.QueryOptions{WaitTime: 20 * time.Second}); ctx.Err() == nil; {
			list, meta, err := official.Health().Service("web", "", true, q.WithContext(ctx))
			if err != nil {
				continue
			}
			var dcs []string
			for _, e := range list {
				dcs = append(dcs, e.Node.Datacenter)
			}
			told <- fmt.Sprint(dcs)
			q.WaitIndex = meta.LastIndex
		}
	})
	t.Cleanup(func() { stop(); waits.Wait() })
	awaitAnswer(t, told, "[dc1]", 10*time.Second)

	webIn(t, c, "dc1", "critical")
	awaitAnswer(t, told, "[dc3]", 10*time.Second)
	for _, node := range []string{n.Name, server.Name} {
		eventually(t, node+" answers with dc3", 10*time.Second, dns(node, "web-dc3.node.dc3.consul."))
	}
	_, text, _ := client.do("", "GET", "/v1/failover/explain/web", "")
	var why struct{ DNS, HTTP, Why string }
	if err := json.Unmarshal([]byte(text), &why); err != nil || why.DNS != "dc3" || why.HTTP != "dc3" || !strings.Contains(why.Why, "the rule for we* has dc2, nearest stand in") {
		t.Errorf("explained: %s, %v", text, err)
	}
	webIn(t, c, "dc2", "passing")
	awaitAnswer(t, told, "[dc2]", 10*time.Second)
	webIn(t, c, "dc1", "passing")
	awaitAnswer(t, told, "[dc1]", 10*time.Second)
	eventually(t, "this datacenter answers again", 10*time.Second, dns(n.Name, "web-dc1.node.dc1.consul."))

	// Who sees all instances of this datacenter sees those alone.
	webIn(t, c, "dc1", "critical")
	eventually(t, "all instances are those of this datacenter", 10*time.Second, func(context.Context) error {
		list, _, err := official.Health().Service("web", "", false, nil)
		if err == nil && (len(list) != 1 || list[0].Node.Datacenter != "dc1" || list[0].Checks.AggregatedStatus() != "critical") {
			err = fmt.Errorf("%d instances", len(list))
		}
		return err
	})
	client.must("DELETE", "/v1/failover/we*", "", "")
	awaitAnswer(t, told, "[]", 30*time.Second)
	eventually(t, "nobody stands in any more", 10*time.Second, dns(n.Name, "NXDOMAIN"))
	if code, rules, _ := client.do("", "GET", "/v1/failover", ""); code != 200 || rules != "[]" {
		t.Errorf("the rules that are left: %d %s", code, rules)
	}
}

// A datacenter that stands in and is cut off before anybody needed it answers with what it had:
// servers have asked it since there is a rule.
func TestAStandInThatIsCutOffAnswersWithWhatItHad(t *testing.T) {
	t.Parallel()
	c, n := federated(t)
	client := &asking{t: t, c: c, node: n}
	server := c.In("dc1")[0]
	webIn(t, c, "dc1", "passing")
	webIn(t, c, "dc2", "passing")
	client.must("PUT", "/v1/failover/web", `{"Datacenters":["dc2"]}`, "")
	for _, known := range []string{`legate_view_views{datacenter="dc2"} 2`, `legate_directory_services{datacenter="dc2"} 2`} {
		eventually(t, "the server knows what dc2 has", 10*time.Second, (&asking{t: t, c: c, node: server}).gets("", "/v1/agent/metrics?format=prometheus", 200, known))
	}
	client.must("PUT", "/v1/failover/other", `{"Datacenters":["dc2"]}`, "")
	eventually(t, "the agent knows the rules", 10*time.Second, client.gets("", "/v1/failover/explain/other", 200, `"Service":"other","Datacenters"`)) // asks nobody about web
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	webIn(t, c, "dc1", "critical")
	eventually(t, "DNS answers with dc2", 20*time.Second, func(context.Context) error {
		got, err := resolve(n, "web.service.consul.", mdns.TypeSRV)
		if err == nil && !strings.Contains(got, "web-dc2.node.dc2.consul.") {
			err = fmt.Errorf("%s", got)
		}
		return err
	})
	eventually(t, "HTTP answers with dc2", 20*time.Second, client.gets("", "/v1/health/service/web?passing", 200, `"Datacenter":"dc2"`))
}

package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/internal/testcluster"
)

// webIn registers an instance of web on a node of its own in a datacenter.
func webIn(t *testing.T, c *testcluster.Cluster, dc, status string) {
	t.Helper()
	eventually(t, "web is "+status+" in "+dc, 15*time.Second, func(context.Context) error {
		_, err := officialOf(t, c.In(dc)[0]).Catalog().Register(&api.CatalogRegistration{Node: "web-" + dc, Address: "10.9.0.1", Datacenter: dc,
			Service: &api.AgentService{ID: "web", Service: "web", Port: 80, Tags: []string{"main"}},
			Check:   &api.AgentCheck{Node: "web-" + dc, CheckID: "c", Name: "c", ServiceID: "web", Status: status}}, nil)
		return err
	})
}

func nodesOf(r *api.PreparedQueryExecuteResponse) string {
	var out []string
	for _, n := range r.Nodes {
		out = append(out, n.Node.Node)
	}
	slices.Sort(out)
	return fmt.Sprintf("%s %v %d", r.Datacenter, out, r.Failovers)
}

// follow executes a query whenever its answer is another one and tells each.
func follow(t *testing.T, c *api.Client, name string) <-chan string {
	told := make(chan string, 64)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var index uint64
		for ctx.Err() == nil {
			r, m, err := c.PreparedQuery().Execute(name, (&api.QueryOptions{WaitIndex: index, WaitTime: 5 * time.Minute}).WithContext(ctx))
			if err != nil {
				index = 0
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			index = m.LastIndex
			select {
			case told <- nodesOf(r):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return told
}

func awaitAnswer(t *testing.T, told <-chan string, want string, within time.Duration) {
	t.Helper()
	begin, late := time.Now(), time.After(within)
	for {
		select {
		case got := <-told:
			if got == want {
				t.Logf("%s after %s", want, time.Since(begin).Round(time.Millisecond))
				return
			}
			t.Logf("meanwhile: %s", got)
		case <-late:
			t.Fatalf("no answer %s within %s", want, within)
		}
	}
}

// resolve asks a node's DNS interface and returns answers and additional records
// on one line.
func resolve(n *testcluster.Node, name string, qtype uint16) (string, error) {
	m, _, err := (&mdns.Client{Timeout: 5 * time.Second}).Exchange(new(mdns.Msg).SetQuestion(name, qtype).SetEdns0(4096, false), n.DNSAddr())
	if err != nil {
		return "", err
	}
	out := mdns.RcodeToString[m.Rcode]
	for _, rr := range append(m.Answer, m.Extra...) {
		if rr.Header().Rrtype != mdns.TypeOPT {
			out += " " + strings.Join(strings.Fields(rr.String()), " ")
		}
	}
	return out, nil
}

// federated is three datacenters of one server each that know each other, with
// web in all of them, and a client agent in the first.
func federated(t *testing.T) (*testcluster.Cluster, *testcluster.Node) {
	t.Helper()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 1, Clients: 1, RTT: 10 * time.Millisecond, Dir: t.TempDir()})
	for _, dc := range c.Datacenters() {
		webIn(t, c, dc, "passing")
	}
	n := c.Node("dc1-client1")
	eventually(t, "the datacenters know each other", 20*time.Second, func(context.Context) error {
		dcs, err := officialOf(t, n).Catalog().Datacenters()
		if err == nil && len(dcs) != 3 {
			err = fmt.Errorf("only %v", dcs)
		}
		return err
	})
	return c, n
}

func TestWaitingQueryFollowsFailoverCutAndFailback(t *testing.T) {
	t.Parallel()
	c, n := federated(t)
	official := officialOf(t, n)
	_, _, err := official.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: "web",
		Service: api.ServiceQuery{Service: "web", Failover: api.QueryFailoverOptions{Datacenters: []string{"dc2", "dc3"}}}, DNS: api.QueryDNSOptions{TTL: "7s"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := follow(t, official, "web")
	awaitAnswer(t, told, "dc1 [web-dc1] 0", 10*time.Second)
	answered := func(qtype uint16, want string) {
		t.Helper()
		if got, err := resolve(n, "web.query.consul.", qtype); err != nil || got != want {
			t.Errorf("DNS: %s, %v; want %s", got, err, want)
		}
	}
	answered(mdns.TypeSRV, "NOERROR web.query.consul. 7 IN SRV 1 1 80 web-dc1.node.dc1.consul. web-dc1.node.dc1.consul. 7 IN A 10.9.0.1")

	webIn(t, c, "dc1", "critical")
	awaitAnswer(t, told, "dc2 [web-dc2] 1", 10*time.Second)
	answered(mdns.TypeSRV, "NOERROR web.query.consul. 7 IN SRV 1 1 80 web-dc2.node.dc2.consul. web-dc2.node.dc2.consul. 7 IN A 10.9.0.1")
	webIn(t, c, "dc2", "critical")
	awaitAnswer(t, told, "dc3 [web-dc3] 2", 10*time.Second)
	webIn(t, c, "dc2", "passing")
	awaitAnswer(t, told, "dc2 [web-dc2] 1", 10*time.Second)

	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	answered(mdns.TypeA, "NOERROR web.query.consul. 7 IN A 10.9.0.1") // in time, from dc3
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("DNS took %s while a datacenter was cut off", took)
	}
	awaitAnswer(t, told, "dc3 [web-dc3] 2", 60*time.Second)
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	awaitAnswer(t, told, "dc2 [web-dc2] 1", 60*time.Second)
	webIn(t, c, "dc1", "passing")
	awaitAnswer(t, told, "dc1 [web-dc1] 0", 10*time.Second)
}

func TestQueriesThroughTheOfficialClient(t *testing.T) {
	t.Parallel()
	c, n := federated(t)
	official := officialOf(t, n)
	pq := official.PreparedQuery()
	id, _, err := pq.Create(&api.PreparedQueryDefinition{Name: "geo-", Template: api.QueryTemplate{Type: "name_prefix_match", Regexp: "^geo-(.*?)-([^-]+)$"},
		Service: api.ServiceQuery{Service: "${match(1)}", Tags: []string{"${match(2)}"}, Failover: api.QueryFailoverOptions{NearestN: 2}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	executed := func(name string, q *api.QueryOptions, want string) {
		t.Helper()
		r, m, err := pq.Execute(name, q)
		if err != nil || nodesOf(r) != want || m.LastIndex == 0 || !m.KnownLeader {
			t.Errorf("%s: %v, %v; want %s", name, r, err, want)
		}
	}
	executed("geo-web-main", nil, "dc1 [web-dc1] 0")
	executed("geo-web-main", &api.QueryOptions{Datacenter: "dc1", AllowStale: true}, "dc1 [web-dc1] 0")
	executed("geo-web-other", nil, "dc1 [] 2")
	if got, err := resolve(n, "geo-web-main.query.consul.", mdns.TypeA); err != nil || got != "NOERROR geo-web-main.query.consul. 0 IN A 10.9.0.1" {
		t.Errorf("DNS: %s, %v", got, err)
	}
	if _, _, err := pq.Execute("none", nil); err == nil || !strings.Contains(err.Error(), "404 (Query not found)") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, _, err := pq.Execute("geo-web-main", &api.QueryOptions{Datacenter: "dc2"}); err == nil || !strings.Contains(err.Error(), "Query not found") {
		t.Errorf("a name that another datacenter does not know: %v", err)
	}

	list, _, err := pq.Get(id, nil)
	if err != nil || len(list) != 1 || list[0].Template.Regexp == "" {
		t.Fatalf("%+v, %v", list, err)
	}
	list[0].Name, list[0].Template.Regexp, list[0].Service.Service, list[0].Service.Tags = "", "", "${name.full}", []string{"!other"}
	if _, err := pq.Update(list[0], nil); err != nil {
		t.Fatal(err)
	}
	executed("web", nil, "dc1 [web-dc1] 0")
	if _, _, err := pq.Create(&api.PreparedQueryDefinition{Template: list[0].Template, Service: list[0].Service}, nil); err == nil || !strings.Contains(err.Error(), "aliases an existing query template") {
		t.Errorf("a second template for all names: %v", err)
	}

	// In another datacenter, and bound to a session of there.
	abroad := (&api.WriteOptions{Datacenter: "dc2"})
	sid, _, err := officialOf(t, c.In("dc2")[0]).Session().CreateNoChecks(&api.SessionEntry{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := pq.Create(&api.PreparedQueryDefinition{Session: sid, Service: api.ServiceQuery{Service: "web"}}, nil); err == nil || !strings.Contains(err.Error(), "invalid session") {
		t.Errorf("a session of another datacenter: %v", err)
	}
	bound, _, err := pq.Create(&api.PreparedQueryDefinition{Session: sid, Service: api.ServiceQuery{Service: "web", OnlyPassing: true}}, abroad)
	if err != nil {
		t.Fatal(err)
	}
	executed(bound, &api.QueryOptions{Datacenter: "dc2"}, "dc2 [web-dc2] 0")
	if got, err := resolve(n, bound+".query.dc2.consul.", mdns.TypeSRV); err != nil || !strings.Contains(got, "SRV 1 1 80 web-dc2.node.dc2.consul.") {
		t.Errorf("DNS by ID: %s, %v", got, err)
	}
	if _, err := officialOf(t, c.In("dc2")[0]).Session().Destroy(sid, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := pq.Execute(bound, &api.QueryOptions{Datacenter: "dc2"}); err == nil || !strings.Contains(err.Error(), "Query not found") {
		t.Errorf("after its session: %v", err)
	}
	if _, err := pq.Delete(id, nil); err != nil {
		t.Fatal(err)
	}
	if list, _, err = pq.List(nil); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestQueriesTravelInSnapshots(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Dir: t.TempDir()})
	n := c.In("dc1")[0]
	official := officialOf(t, n)
	webIn(t, c, "dc1", "passing")
	id, _, err := official.PreparedQuery().Create(&api.PreparedQueryDefinition{Name: "kept", Service: api.ServiceQuery{Service: "web"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, meta, _ := saved(t, n, nil)
	told := follow(t, official, "kept")
	awaitAnswer(t, told, "dc1 [web-dc1] 0", 10*time.Second)
	if _, err := official.PreparedQuery().Delete(id, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := official.PreparedQuery().Execute("kept", nil); err == nil {
		t.Error("a deleted query is executed")
	}
	eventually(t, "it is restored", 30*time.Second, func(context.Context) error {
		return official.Snapshot().Restore(nil, bytes.NewReader(b))
	})
	eventually(t, "the query is there again", 10*time.Second, func(context.Context) error {
		list, _, err := official.PreparedQuery().Get(id, nil)
		if err == nil && len(list) != 1 {
			err = errors.New("it is not")
		}
		return err
	})
	awaitAnswer(t, told, "dc1 [web-dc1] 0", 10*time.Second)
	if meta.Index == 0 {
		t.Errorf("%+v", meta)
	}
}

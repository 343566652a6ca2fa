package testcluster_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// enlist writes an instance of a service on a node of its own into a
// datacenter's catalog.
func enlist(t *testing.T, from op.Caller, dc, service, node, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _, err := catalog.Register.Call(ctx, from, op.Header{Datacenter: dc}, &catalog.RegisterRequest{Datacenter: dc, Node: node, Address: addr,
		Service: &catalog.Service{ID: service, Service: service, Port: 80}})
	if err != nil {
		t.Fatalf("register %s in %s: %v", service, dc, err)
	}
}

// kept asks for a service's instances as far as they are kept.
func kept(ctx context.Context, from op.Caller, dc, service string) (int, op.Meta, error) {
	list, meta, err := catalog.ListInstances.Call(ctx, from, op.Header{Datacenter: dc, Consistency: op.Cached}, &catalog.ServiceRequest{Service: service})
	if err != nil || list == nil {
		return 0, meta, err
	}
	return len(*list), meta, nil
}

func TestViewsFollowAnotherDatacenterAndOutliveACut(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, Clients: 1, RTT: 40 * time.Millisecond, Dir: t.TempDir()})
	client, server := c.In("dc1")[3].Agent().Caller(), c.In("dc1")[1].Agent().Caller()
	owner := c.In("dc2")[3].Agent().Caller()
	enlist(t, owner, "dc2", "web", "n1", "10.0.0.1")
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" is told by any server there", 2*time.Second, func(ctx context.Context) error {
			if n, meta, err := kept(ctx, from, "dc2", "web"); err != nil || n != 1 {
				return fmt.Errorf("%d instances, %+v, %w", n, meta, err)
			}
			return nil
		})
		begin := time.Now()
		n, meta, err := kept(t.Context(), from, "dc2", "web")
		if err != nil || n != 1 || !meta.Hit || meta.Age != 0 || meta.Datacenter != "dc2" || !meta.KnownLeader || time.Since(begin) > promptly {
			t.Fatalf("%s: second answer after %s: %d instances, %+v, %v", name, time.Since(begin), n, meta, err)
		}
	}
	enlist(t, owner, "dc2", "web", "n2", "10.0.0.2")
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" has been pushed the change", 2*time.Second, func(ctx context.Context) error {
			n, meta, err := kept(ctx, from, "dc2", "web")
			if n != 2 || !meta.Hit {
				return fmt.Errorf("%d instances, %+v, %w", n, meta, err)
			}
			return nil
		})
	}
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" shows the age", 20*time.Second, func(ctx context.Context) error {
			begin := time.Now()
			n, meta, err := kept(ctx, from, "dc2", "web")
			if n != 2 || err != nil || time.Since(begin) > promptly {
				t.Fatalf("during the cut, after %s: %d instances, %+v, %v", time.Since(begin), n, meta, err)
			}
			if meta.Age == 0 {
				return fmt.Errorf("%+v", meta)
			}
			return nil
		})
	}
	enlist(t, owner, "dc2", "web", "n3", "10.0.0.3")
	for _, within := range []time.Duration{4 * time.Second, promptly} { // the second is spared the attempt, which took 2.6 s beside other tests
		begin := time.Now()
		_, _, err := kept(t.Context(), client, "dc2", "never")
		if took := time.Since(begin); op.CodeOf(err) != op.CodeUnreachableDatacenter || took > within {
			t.Errorf("a service that was never asked for: %v after %s", err, took)
		}
	}
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]op.Caller{"client": client, "server": server} {
		eventually(t, name+" is current again", 3*time.Second, func(ctx context.Context) error {
			n, meta, err := kept(ctx, from, "dc2", "web")
			if n != 3 || meta.Age != 0 {
				return fmt.Errorf("%d instances, %+v, %w", n, meta, err)
			}
			return nil
		})
	}
}

// counter reads one series of an agent's metrics.
func counter(t *testing.T, n *testcluster.Node, series string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + n.HTTPAddr() + "/v1/agent/metrics?format=prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("%s has no series %s", n.Name, series)
	return 0
}

// lookup asks the DNS interface of an agent.
func lookup(t *testing.T, n *testcluster.Node, name string) (*dns.Msg, time.Duration) {
	t.Helper()
	c := dns.Client{Timeout: 5 * time.Second}
	answer, took, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), n.DNSAddr())
	if err != nil {
		t.Fatalf("%s asked for %s: %v", n.Name, name, err)
	}
	return answer, took
}

// promptly is how long an answer may take that nobody has to be asked for: far
// less than any attempt to ask would. On an idle machine it is below 1 ms.
const promptly = 300 * time.Millisecond

func TestDNSAnswersInACutAndWithoutQuorum(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, Clients: 1, RTT: 80 * time.Millisecond, Dir: t.TempDir(), Configure: func(cfg *config.Config) {
		cfg.DNSConfig.ServiceTTL = map[string]time.Duration{"*": time.Minute}
	}})
	server, client := c.In("dc1")[0], c.In("dc1")[3]
	for _, dc := range c.Datacenters() {
		enlist(t, c.In(dc)[3].Agent().Caller(), dc, "web", "n1", "10.0.0.1")
	}
	names := []string{"web.service.dc2.consul.", "web.service.consul.", "n1.node.dc2.consul."}
	answers := func(what string, ttl uint32) {
		t.Helper()
		for _, n := range []*testcluster.Node{server, client} {
			for _, name := range names {
				m, took := lookup(t, n, name)
				for try := 0; took > promptly && try < 2; try++ { // the machine may have been busy
					m, took = lookup(t, n, name)
				}
				if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || took > promptly {
					t.Errorf("%s: %s asked for %s: %s after %s", what, n.Name, name, m, took)
					continue
				}
				if got := m.Answer[0].Header().Ttl; strings.HasPrefix(name, "web.service.dc2") && ttl > 0 && got != ttl {
					t.Errorf("%s: the TTL of %s is %d at %s, want %d", what, name, got, n.Name, ttl)
				}
			}
		}
	}
	for _, n := range []*testcluster.Node{server, client} { // the first time may take what it takes
		for _, name := range names {
			eventually(t, n.Name+" knows "+name, 5*time.Second, func(context.Context) error {
				if m, _ := lookup(t, n, name); len(m.Answer) != 1 {
					return fmt.Errorf("%s", m)
				}
				return nil
			})
		}
	}
	answers("before", 60)
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	answers("at the moment of the cut", 0)
	eventually(t, "the views are old", 20*time.Second, func(context.Context) error {
		for _, n := range []*testcluster.Node{server, client} {
			if m, _ := lookup(t, n, names[0]); len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 5 {
				return fmt.Errorf("%s at %s", m, n.Name)
			}
			if v := counter(t, n, `legate_view_oldest_age_seconds{datacenter="dc2"}`); v == 0 {
				t.Errorf("%s counts all its views as current", n.Name)
			}
		}
		return nil
	})
	answers("in the cut", 5)
	for _, s := range c.In("dc1")[1:3] {
		if err := c.StopNode(t.Context(), s.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*testcluster.Node{server, client} {
		m, took := lookup(t, n, "never.service.dc2.consul.")
		if m.Rcode != dns.RcodeServerFailure || took > 2500*time.Millisecond {
			t.Errorf("%s asked for what it never saw: %s after %s", n.Name, m, took)
		}
		t.Logf("a name that %s never saw: SERVFAIL after %s", n.Name, took)
		if m, took = lookup(t, n, "never.service.dc2.consul."); m.Rcode != dns.RcodeServerFailure || took > promptly {
			t.Errorf("%s asked for it again: %s after %s", n.Name, m, took)
		}
	}
	eventually(t, "the server has noticed that it has no leader", 20*time.Second, func(context.Context) error {
		answers("without quorum", 5)
		if m, _ := lookup(t, server, names[1]); m.Answer[0].Header().Ttl != 5 {
			return fmt.Errorf("%s", m)
		}
		return nil
	})
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*testcluster.Node{server, client} {
		eventually(t, n.Name+" is current without quorum at home", 3*time.Second, func(context.Context) error {
			if m, _ := lookup(t, n, names[0]); len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 60 {
				return fmt.Errorf("%s", m)
			}
			return nil
		})
	}
}

// 1,000 clients at two agents wait for changes of the same 100 services of
// another datacenter. It costs the link a stream and a push for each service.
func TestManyWatchersOfAnotherDatacenterCostOneStreamEach(t *testing.T) {
	t.Parallel()
	const services, each = 100, 10
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 2, RTT: 40 * time.Millisecond})
	owner := c.In("dc2")[0]
	index := make([]uint64, services)
	for i := range services {
		enlist(t, owner.Agent().Caller(), "dc2", fmt.Sprintf("s%d", i), "n1", "10.0.0.1")
		_, meta, err := catalog.ListInstances.Call(t.Context(), owner.Agent().Caller(), op.Header{}, &catalog.ServiceRequest{Service: fmt.Sprintf("s%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		index[i] = meta.Index
	}
	var all sync.WaitGroup
	for i := range services {
		for k := range each {
			from := c.In("dc1")[1+k%2].Agent().Caller()
			all.Go(func() {
				list, meta, err := catalog.ListInstances.Call(t.Context(), from, op.Header{Datacenter: "dc2", MinIndex: index[i], MaxWait: time.Minute},
					&catalog.ServiceRequest{Service: fmt.Sprintf("s%d", i)})
				if err != nil || len(*list) != 2 || meta.Index <= index[i] {
					t.Errorf("s%d: %v %+v %v", i, list, meta, err)
				}
			})
		}
	}
	// One stream, with its pushes, is the directory's and there without watchers.
	streams := func() float64 { return counter(t, owner, `legate_feed_subscriptions{network="wan"}`) - 1 }
	pushes := func() float64 {
		return counter(t, owner, `legate_feed_pushes_total{network="wan"}`) - counter(t, c.In("dc1")[0], `legate_directory_deltas_total{datacenter="dc2"}`)
	}
	eventually(t, "every service is followed", 20*time.Second, func(context.Context) error {
		if n := streams(); n != services {
			return fmt.Errorf("%v streams", n)
		}
		if n := pushes(); n != services {
			return fmt.Errorf("%v first results", n)
		}
		return nil
	})
	<-time.After(1500 * time.Millisecond) // who has waited for so long is answered with what is pushed
	before := pushes()
	for i := range services {
		enlist(t, owner.Agent().Caller(), "dc2", fmt.Sprintf("s%d", i), "n2", "10.0.0.2")
	}
	all.Wait()
	eventually(t, "a push for each change, and what the directory was told has come", 5*time.Second, func(context.Context) error {
		if got := pushes() - before; got != services {
			return fmt.Errorf("%v pushes for %d changes", got, services)
		}
		return nil
	})
	if got := streams(); got != services {
		t.Errorf("%v streams for %d watchers of %d services", got, services*each, services)
	}
}

//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// three is three datacenters of a server each; the first has a client agent, on
// which plain names fail over.
type three struct {
	servers [3]*node
	client  *node
}

func newThree(t *testing.T) *three {
	t.Helper()
	h := proctest.Loopback(t)
	f := &three{}
	for i := range f.servers {
		s := spec{host: h, name: fmt.Sprintf("s%d", i+1), dc: dcName(i), ip: h.Addr(i+1, 1), expect: 1}
		if i > 0 {
			s.wan = []string{h.Addr(1, 1)}
		}
		f.servers[i] = newNode(t, s)
		f.servers[i].launch()
	}
	f.client = newNode(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 9), lan: []string{h.Addr(1, 1)},
		config: map[string]any{"dns_config": map[string]any{"failover": map[string]any{"web": []string{"nearest"}, "api-*": []string{"dc3", "dc2"}}}}})
	f.client.launch()
	for i, s := range f.servers {
		proctest.Until(t, patience, "the federation works", func() error { return s.put("start", "v", dcName(2-i)) })
	}
	return f
}

// became is what a header says of the datacenters that a list of web's instances
// was asked of.
func (f *three) became(dc string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+f.client.ip+":8500/v1/health/service/web?dc="+dc, nil)
	if err != nil {
		return "", err
	}
	transport := f.client.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("X-Legate-Datacenters"), resp.Body.Close()
}

// dig asks the client agent and returns the lines of the answer, sorted.
func (f *three) dig(t *testing.T, name string, more ...string) []string {
	t.Helper()
	lines := strings.Fields(strings.ReplaceAll(f.client.dig(t, name, more...), " ", "_"))
	slices.Sort(lines)
	return lines
}

func (f *three) digs(t *testing.T, want []string, name string, more ...string) {
	t.Helper()
	proctest.Until(t, patience, name, func() error {
		if got := f.dig(t, name, more...); !slices.Equal(got, want) {
			return fmt.Errorf("dig says %q, want %q", got, want)
		}
		return nil
	})
}

func TestNamesOfSeveralDatacenters(t *testing.T) {
	t.Parallel()
	f := newThree(t)
	here := f.client.client.Agent()
	must(t, "register web in dc1", here.ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80, Check: &api.AgentServiceCheck{TTL: "600s", Status: api.HealthPassing}}))
	must(t, "register web in dc2", f.servers[1].client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80, Tags: []string{"two"}}))
	must(t, "register api-1 in dc2", f.servers[1].client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "api-1", Port: 81}))
	ip1, ip2, ip3 := f.client.ip, f.servers[1].ip, f.servers[2].ip

	near := *f.client
	near.client = clientFor(t, f.client, "nearest")
	all := *f.client
	all.client = clientFor(t, f.client, "all")
	tellsNear := plan(t, &near, map[string]any{"type": "service", "service": "web", "passingonly": true})
	tellsAll := plan(t, &all, map[string]any{"type": "service", "service": "web", "passingonly": true})
	from := func(dcs ...string) func(any) bool {
		return func(v any) bool {
			list, ok := v.([]*api.ServiceEntry)
			got := []string{}
			for _, e := range list {
				got = append(got, e.Node.Datacenter)
			}
			slices.Sort(got)
			return ok && slices.Equal(got, dcs)
		}
	}
	awaitTold(t, tellsNear, "web is here", from("dc1"))
	awaitTold(t, tellsAll, "web is in two", from("dc1", "dc2"))
	f.digs(t, []string{ip1}, "web.service.nearest.consul")
	f.digs(t, []string{ip2}, "two.web.service.nearest.consul")
	f.digs(t, []string{ip1, ip2}, "web.service.all.consul")
	f.digs(t, []string{"1_1_80_c1.node.dc1.consul.", "2_1_80_s2.node.dc2.consul."}, "_web._tcp.all.consul", "SRV")
	f.digs(t, []string{ip2}, "api-1.service.consul")
	f.digs(t, []string{ip3}, "s3.node.nearest.consul")
	contains(t, "a name that nobody has", proctest.Tool(t, f.client.host, "", "dig", "@"+f.client.ip, "-p", "8600", "none.service.all.consul"), "status: NXDOMAIN")

	contains(t, "services", f.client.run(t, 0, "catalog services -datacenter=all -tags"), "Service", "DC", "consul", "dc1,dc", "api-1", "two")
	contains(t, "nodes", f.client.run(t, 0, "catalog nodes -datacenter=nearest -service=api-1"), "s2", "dc2")
	contains(t, "a write", f.client.run(t, 1, "kv put -datacenter=all", "k", "v"), "answered 400", "name one")

	must(t, "web fails in dc1", here.UpdateTTL("service:web", "", api.HealthCritical))
	awaitTold(t, tellsNear, "web has changed over", from("dc2"))
	awaitTold(t, tellsAll, "web is in one", from("dc2"))
	f.digs(t, []string{ip2}, "web.service.nearest.consul")
	f.digs(t, []string{ip2}, "web.service.consul")

	f.servers[1].Signal(syscall.SIGSTOP)
	proctest.Until(t, patience, "dc2 is known to be silent", func() error {
		text, err := f.became("nearest")
		if err != nil || !strings.Contains(text, "dc2;stale;age=") {
			return fmt.Errorf("the header says %q, %v", text, err)
		}
		return nil
	})
	f.digs(t, []string{ip2}, "web.service.nearest.consul")
	must(t, "web passes in dc1", here.UpdateTTL("service:web", "", api.HealthPassing))
	awaitTold(t, tellsNear, "web has changed back", from("dc1"))
	f.digs(t, []string{ip1}, "web.service.consul")
	f.servers[1].Signal(syscall.SIGCONT)
	proctest.Until(t, patience, "dc2 is heard again", func() error {
		text, err := f.became("all")
		if err != nil || !strings.Contains(text, "dc2;ok") || !strings.Contains(text, "dc3;ok") || !strings.HasPrefix(text, "dc1;ok, ") {
			return fmt.Errorf("the header says %q, %v", text, err)
		}
		return nil
	})
	for _, n := range append(f.servers[:], f.client) {
		calm(t, n.name, n.String())
	}
}

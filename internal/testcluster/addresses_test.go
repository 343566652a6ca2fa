package testcluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Names of addresses in other datacenters, and addresses of names there as they are
// reached from here.
func TestAddressesOfOtherDatacenters(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 1, Clients: 1, RTT: 40 * time.Millisecond,
		Configure: func(cfg *config.Config) { cfg.TranslateWANAddrs = cfg.Datacenter == "dc1" }})
	from := c.In("dc2")[0].Agent().Caller()
	for i, name := range []string{"gate", "quiet"} {
		_, _, err := catalog.Register.Call(t.Context(), from, op.Header{}, &catalog.RegisterRequest{Datacenter: "dc2", Node: name, Address: fmt.Sprintf("10.2.0.%d", i+1),
			TaggedAddresses: map[string]string{"wan": fmt.Sprintf("198.51.100.%d", i+1)},
			Service:         &catalog.Service{ID: "vip", Service: "vip", Address: fmt.Sprintf("10.2.9.%d", i+1), Port: 80}})
		if err != nil {
			t.Fatal(err)
		}
	}
	asks := func(nodes []*testcluster.Node, name string, qtype uint16, want string) {
		t.Helper()
		for _, n := range nodes {
			eventually(t, n.Name+" is asked for "+name, 20*time.Second, func(context.Context) error {
				if got, err := resolve(n, name, qtype); err != nil || got != want {
					return fmt.Errorf("answer %q, %w", got, err)
				}
				return nil
			})
		}
	}
	reverse := func(address string) string {
		name, err := mdns.ReverseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	points := func(address, want string) {
		t.Helper()
		name := reverse(address)
		asks(c.In("dc1"), name, mdns.TypePTR, "NOERROR "+name+" 0 IN PTR "+want)
	}
	for _, dc := range c.Datacenters() {
		for _, n := range c.In(dc) { // the agents themselves
			points(n.IP, n.Name+".node."+dc+".consul.")
		}
	}
	points("10.2.0.1", "gate.node.dc2.consul.")
	points("198.51.100.1", "gate.node.dc2.consul.")
	points("10.2.9.1", "vip.service.dc2.consul.")
	asks(c.In("dc1"), reverse("10.77.0.1"), mdns.TypePTR, "NXDOMAIN")
	asks(c.In("dc1"), reverse("10.2.0.99"), mdns.TypePTR, "NXDOMAIN")

	asks(c.In("dc1"), "gate.node.dc2.consul.", mdns.TypeA, "NOERROR gate.node.dc2.consul. 0 IN A 198.51.100.1")
	asks(c.In("dc2"), "gate.node.dc2.consul.", mdns.TypeA, "NOERROR gate.node.dc2.consul. 0 IN A 10.2.0.1")
	asks(c.In("dc3"), "gate.node.dc2.consul.", mdns.TypeA, "NOERROR gate.node.dc2.consul. 0 IN A 10.2.0.1")

	for dc, want := range map[string]string{"dc1": "198.51.100.1 10.2.9.1 80 true", "dc2": "10.2.0.1 10.2.9.1 80 false", "dc3": "10.2.0.1 10.2.9.1 80 false"} {
		client, err := api.NewClient(&api.Config{Address: c.In(dc)[1].HTTPAddr()})
		if err != nil {
			t.Fatal(err)
		}
		list, meta, err := client.Health().Service("vip", "", false, &api.QueryOptions{Datacenter: "dc2", Filter: `Node.Node == "gate"`})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", dc, list, err)
		}
		in := list[0]
		if got := fmt.Sprint(in.Node.Address, " ", in.Service.Address, " ", in.Service.Port, " ", meta.AddressTranslationEnabled); got != want {
			t.Errorf("from %s: %s, want %s", dc, got, want)
		}
	}

	// What was asked for stays. Of other networks it is known that dc2 has nobody
	// there, of its own not who has what.
	if err := c.Cut("dc2"); err != nil {
		t.Fatal(err)
	}
	points("10.2.0.1", "gate.node.dc2.consul.")
	asks(c.In("dc1"), reverse("10.77.0.2"), mdns.TypePTR, "NXDOMAIN")
	asks(c.In("dc1"), reverse("10.2.0.2"), mdns.TypePTR, "SERVFAIL")
	if err := c.Heal("dc2"); err != nil {
		t.Fatal(err)
	}
	points("10.2.0.2", "quiet.node.dc2.consul.")
}

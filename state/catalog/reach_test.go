package catalog

import (
	"encoding/json"
	"net/netip"
	"testing"
)

func TestWhereNodesAndInstancesAreReached(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []struct {
		name      string
		address   string
		tags      map[string]string
		near, far Reach
	}{
		{"no tags", "10.0.0.1", nil, Reach{Address: "10.0.0.1"}, Reach{Address: "10.0.0.1"}},
		{"LAN alone", "10.0.0.1", map[string]string{"lan": "10.0.0.1", "lan_ipv6": "fd00::1"},
			Reach{Address: "10.0.0.1", IPv6: addr("fd00::1")}, Reach{Address: "10.0.0.1", IPv6: addr("fd00::1")}},
		{"WAN", "10.0.0.1", map[string]string{"lan_ipv6": "fd00::1", "wan": "198.51.100.1"},
			Reach{Address: "10.0.0.1", IPv6: addr("fd00::1")}, Reach{Address: "198.51.100.1"}},
		{"both versions", "10.0.0.1", map[string]string{"wan": "198.51.100.1", "wan_ipv4": "198.51.100.2", "wan_ipv6": "2001:db8::1"},
			Reach{Address: "10.0.0.1"}, Reach{Address: "198.51.100.1", IPv4: addr("198.51.100.2"), IPv6: addr("2001:db8::1")}},
		{"one version", "10.0.0.1", map[string]string{"wan_ipv6": "2001:db8::1"},
			Reach{Address: "10.0.0.1"}, Reach{Address: "2001:db8::1", IPv6: addr("2001:db8::1")}},
		{"tags that are no such address", "10.0.0.1", map[string]string{"lan_ipv4": "fd00::1", "lan_ipv6": "x", "wan_ipv4": "host.example"},
			Reach{Address: "10.0.0.1"}, Reach{Address: "host.example"}},
	} {
		n := Node{Address: c.address, TaggedAddresses: c.tags}
		s := Service{Address: c.address, Port: 1, TaggedAddresses: map[string]ServiceAddress{}}
		for tag, a := range c.tags {
			s.TaggedAddresses[tag] = ServiceAddress{Address: a, Port: 7}
		}
		if near, far := n.Reached(false), n.Reached(true); near != c.near || far != c.far {
			t.Errorf("%s: near %v, far %v", c.name, near, far)
		}
		c.near.Port, c.far.Port = 1, 1
		if c.far.Address != c.near.Address {
			c.far.Port = 7
		}
		if near, far := s.Reached(false), s.Reached(true); near != c.near || far != c.far {
			t.Errorf("%s, of an instance: near %v, far %v", c.name, near, far)
		}
	}
}

// What is elsewhere is changed, in a copy; what is here stays as it is.
func TestResultsSeenFromAnotherDatacenter(t *testing.T) {
	node := func(dc string) Node {
		return Node{Node: "n", Address: "10.0.0.1", Datacenter: dc, TaggedAddresses: map[string]string{"wan": "198.51.100.1"}}
	}
	service := Service{ID: "s", Service: "s", Address: "10.0.0.2", Port: 80, TaggedAddresses: map[string]ServiceAddress{"wan": {"198.51.100.2", 8080}}}
	own := Service{ID: "t", Service: "t", Port: 81}
	n1, n2, unsaid := node("dc1"), node("dc2"), node("")
	for name, f := range map[string]Foreign{
		"node":          &n2,
		"nodes":         &Nodes{n1, n2, unsaid},
		"instances":     &Instances{{Node: &n1, Service: &service}, {Node: &n2, Service: &service}, {Node: &unsaid, Service: &own}},
		"service nodes": &ServiceNodes{flatten(&n1, &service), flatten(&n2, &service), flatten(&unsaid, &own)},
		"node services": &NodeServices{Node: &n2, Services: map[string]*Service{"s": &service, "t": &own}},
		"node info":     &NodeInfo{Node: "n", Address: n2.Address, Datacenter: "dc2", TaggedAddresses: n2.TaggedAddresses, Services: []Service{service, own}},
		"node infos":    &NodeInfos{{Node: "n", Address: n1.Address, Datacenter: "dc1", TaggedAddresses: n1.TaggedAddresses, Services: []Service{service}}},
	} {
		before, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var wrote []string
		for _, seen := range []any{f.From("dc2", "dc2"), f.From("dc1", "dc2")} {
			b, err := json.Marshal(seen)
			if err != nil {
				t.Fatal(err)
			}
			wrote = append(wrote, string(b))
		}
		after, err := json.Marshal(f)
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the result itself is changed to %s, %v", name, after, err)
		}
		if wrote[0] == wrote[1] {
			t.Errorf("%s: from dc1 it is seen as from dc2: %s", name, wrote[0])
		}
	}
	seen := (&Instances{{Node: &n1, Service: &service}, {Node: &n2, Service: &service}, {Node: &unsaid, Service: &own}}).From("dc1", "dc2").(*Instances)
	for i, want := range []struct {
		node, service string
		port          int
	}{{"10.0.0.1", "10.0.0.2", 80}, {"198.51.100.1", "198.51.100.2", 8080}, {"198.51.100.1", "", 81}} {
		in := (*seen)[i]
		if in.Node.Address != want.node || in.Service.Address != want.service || in.Service.Port != want.port {
			t.Errorf("instance %d: node at %s, service at %s:%d", i, in.Node.Address, in.Service.Address, in.Service.Port)
		}
	}
	flat := (&ServiceNodes{flatten(&n2, &service), flatten(&n1, &service)}).From("dc1", "dc2").(*ServiceNodes)
	if f := (*flat)[0]; f.Address != "198.51.100.1" || f.ServiceAddress != "198.51.100.2" || f.ServicePort != 8080 {
		t.Errorf("flat: %+v", f)
	}
	if f := (*flat)[1]; f.Address != "10.0.0.1" || f.ServicePort != 80 {
		t.Errorf("flat, of here: %+v", f)
	}
	var nothing *Node
	if nothing.From("dc1", "dc2") != any(nothing) {
		t.Error("nothing is seen as something")
	}
}

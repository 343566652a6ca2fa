package state

import (
	"fmt"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

// namesAt shows who has an address, and the index of that.
func namesAt(t *testing.T, s *storage.State, address string) string {
	t.Helper()
	list, index := read(t, s, &catalog.ListNamesAt, &catalog.AddressRequest{Address: address})
	return fmt.Sprint(*list, index)
}

func TestNamesByAddress(t *testing.T) {
	s, apply := open(t)
	register := func(r *catalog.RegisterRequest) {
		t.Helper()
		if _, err := apply(&catalog.Register, r); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(address, want string) {
		t.Helper()
		if got := namesAt(t, s, address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	register(&catalog.RegisterRequest{Node: "a", Address: "10.0.0.1", Datacenter: "dc1", // 1
		TaggedAddresses: map[string]string{"lan": "10.0.0.1", "lan_ipv6": "fd00::1", "wan": "198.51.100.1"}})
	register(&catalog.RegisterRequest{Node: "b", Address: "10.0.0.1", Service: &catalog.Service{ID: "w1", Service: "web"}})                      // 2
	register(&catalog.RegisterRequest{Node: "b", Address: "10.0.0.1", Service: &catalog.Service{ID: "v1", Service: "vip", Address: "10.0.0.9"}}) // 3
	register(&catalog.RegisterRequest{Node: "a", Address: "10.0.0.1", Service: &catalog.Service{ID: "v2", Service: "VIP", Address: "10.0.0.9"},  // 4
		SkipNodeUpdate: true})
	register(&catalog.RegisterRequest{Node: "b", Address: "10.0.0.1", Service: &catalog.Service{ID: "d", Service: "db", Address: "::ffff:10.0.0.9", // 5
		TaggedAddresses: map[string]catalog.ServiceAddress{"wan": {Address: "2001:db8::7", Port: 1}}}})
	register(&catalog.RegisterRequest{Node: "host", Address: "host.example"}) // 6

	wants("10.0.0.1", "[{dc1 a } { b }] 2")
	wants("fd00:0::1", "[{dc1 a }] 1")
	wants("198.51.100.1", "[{dc1 a }] 1")
	wants("10.0.0.9", "[{  db} {  VIP}] 5")
	wants("::ffff:10.0.0.9", "[{  db} {  VIP}] 5")
	wants("2001:db8::7", "[{  db}] 5")
	wants("10.0.0.2", "[] 0")

	register(&catalog.RegisterRequest{Node: "b", Address: "10.0.0.2"}) // 7
	wants("10.0.0.1", "[{dc1 a }] 7")
	wants("10.0.0.2", "[{ b }] 7")
	if _, err := apply(&catalog.Deregister, &catalog.DeregisterRequest{Node: "b"}); err != nil { // 8
		t.Fatal(err)
	}
	wants("10.0.0.2", "[] 8")
	wants("10.0.0.9", "[{  VIP}] 8")

	v := s.View()
	defer v.Close()
	if _, err := catalog.ListNamesAt.Query(v, &catalog.AddressRequest{Address: "host.example"}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("what is no address: %v", err)
	}
}

// An address that many machines share does not make an answer that grows with them.
func TestNamesOfASharedAddressAreBounded(t *testing.T) {
	s, apply := open(t)
	for i := range 1100 {
		if _, err := apply(&catalog.Register, &catalog.RegisterRequest{Node: fmt.Sprint("n", i), Address: "10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := read(t, s, &catalog.ListNamesAt, &catalog.AddressRequest{Address: "10.0.0.1"})
	if len(*list) != 1024 {
		t.Errorf("%d names", len(*list))
	}
}

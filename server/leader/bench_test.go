package leader

import (
	"context"
	"fmt"
	"testing"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/catalog"
)

// BenchmarkReconcile is a round in a datacenter of 2,000 members with 20 services each, in which nothing changed.
func BenchmarkReconcile(b *testing.B) {
	h := newHarness(b, nil)
	h.start(b)
	members := make([]gossip.Member, 0, 2000)
	for i := range cap(members) {
		name, id, addr := fmt.Sprint("n", i), servertest.UID(fmt.Sprintf("%012d", i)), fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250)
		members = append(members, servertest.ClientMember(name, id, addr, gossip.Alive))
		r := &catalog.RegisterRequest{ID: id, Node: name, Address: addr, Checks: []catalog.Check{{Node: name, CheckID: catalog.SerfHealth, Name: serfHealthName,
			Status: catalog.Passing, Output: serfHealthAlive}}}
		for j := range 20 {
			service := fmt.Sprint("service", j)
			r.Checks = append(r.Checks, catalog.Check{Node: name, CheckID: service, ServiceID: service, Status: catalog.Passing})
			one := &catalog.RegisterRequest{ID: id, Node: name, Address: addr, Service: &catalog.Service{ID: service, Service: service}}
			if _, _, err := catalog.Register.Call(b.Context(), h.Self(), op.Header{}, one); err != nil {
				b.Fatal(err)
			}
		}
		if _, _, err := catalog.Register.Call(b.Context(), h.Self(), op.Header{}, r); err != nil {
			b.Fatal(err)
		}
	}
	h.pool.Set(members...)
	h.settle(b)
	for b.Loop() {
		if err := h.reconcile(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

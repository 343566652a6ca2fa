package gateway

import (
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Connections end at both ends with the flow that they go over, whichever session of it ended:
// who calls dials again, and does not wait for an answer that cannot come. A server that is told
// to registers at once.
func TestConnectionsEndWithTheirFlow(t *testing.T) {
	t.Parallel()
	a, b, g := open(t, "a"), open(t, "b"), open(t, "g", carries)
	b.reachedBy(t, g)
	a.uses(g)
	to := transport.Target{Addr: nowhere, NodeID: "id-b", Name: b.name}
	for _, left := range []*node{a, b} {
		eventually(t, "a calls b", func() bool { // the end of the session before may be heard late
			_, err := a.call(t, b)
			return err == nil
		})
		remote, err := a.Reach(t.Context(), to, testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		b.knows(a)
		back, err := b.Reach(t.Context(), transport.Target{Addr: nowhere, NodeID: "id-a", Name: a.name}, testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		n := g.Expel(func(p identity.Peer) bool { return p.FullName() == left.name }, "the session ends")
		if n == 0 {
			t.Fatal("there was no session")
		}
		for end, link := range map[string]transport.Link{"a": remote.Link, "b": back.Link} {
			select {
			case <-link.Done():
			case <-time.After(2 * time.Second):
				t.Errorf("%s left, and 2 s later %s has the connection", left.name, end)
			}
		}
		b.Again()
		eventually(t, "b is registered again", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.registered[b.name] != nil
		})
		a.Anew(testProtocol)
		a.Anew(Protocol)
	}
}

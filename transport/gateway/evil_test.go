package gateway

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
)

// evil is the socket of a gateway that loses, delays, repeats, changes and makes up what it carries.
type evil struct {
	*net.UDPConn

	mu   sync.Mutex
	rand *rand.Rand
	seen [][]byte // packets that it carried lately, with their labels
	held []byte
	to   net.Addr
}

const (
	evilMemory = 512
	evilCount  = "legate-count/1"
)

func newEvil(c *net.UDPConn) *evil { return &evil{UDPConn: c, rand: rand.New(rand.NewPCG(7, 7))} }

// WriteTo implements net.PacketConn.
func (e *evil) WriteTo(b []byte, to net.Addr) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b = slices.Clone(b)
	if len(e.seen) == evilMemory {
		e.seen = slices.Delete(e.seen, 0, 1)
	}
	e.seen = append(e.seen, b)
	send := func(b []byte) { _, _ = e.UDPConn.WriteTo(b, to) }
	switch dice := e.rand.IntN(100); {
	case dice < 5: // lost
	case dice < 15 && e.held == nil: // sent after the next one
		e.held, e.to = b, to
		return len(b), nil
	case dice < 20: // changed
		c := slices.Clone(b)
		c[e.rand.IntN(len(c))] ^= byte(1 + e.rand.IntN(255))
		send(c)
	case dice < 40: // twice, with something old, whomever that was for
		send(b)
		send(e.seen[e.rand.IntN(len(e.seen))])
		fallthrough
	default:
		send(b)
	}
	if e.held != nil {
		_, _ = e.UDPConn.WriteTo(e.held, e.to)
		e.held = nil
	}
	return len(b), nil
}

// flood sends much to an address: what was carried before, the same with other ends, and noise.
func (e *evil) flood(to net.Addr, n int) {
	for i := range n {
		e.mu.Lock()
		b := slices.Clone(e.seen[e.rand.IntN(len(e.seen))])
		switch i % 3 {
		case 1:
			for j := 8; j < len(b); j++ {
				b[j] = byte(e.rand.Uint32())
			}
		case 2:
			b = binary.BigEndian.AppendUint64(nil, e.rand.Uint64())
			b = append(b, make([]byte, 1200)...)
		}
		e.mu.Unlock()
		_, _ = e.UDPConn.WriteTo(b, to)
	}
}

// A gateway that does with packets what it likes can slow calls down. What is called is done
// once, by who was meant, and answered as it was.
func TestAGatewayThatDoesEvil(t *testing.T) {
	t.Parallel()
	const callers, calls = 8, 25
	a, b, g := open(t, "a"), open(t, "b"), open(t, "evil", carries)
	var mu sync.Mutex
	done := map[string]int{}
	err := b.Handle(evilCount, transport.Protocol{Answer: func(_ context.Context, from transport.Remote, q []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		done[string(q[:8])]++
		return fmt.Appendf(nil, "%s did %s for %s", b.name, q, from.Peer.FullName())
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Handle(evilCount, transport.Protocol{}); err != nil {
		t.Fatal(err)
	}
	b.reachedBy(t, g)
	a.uses(g)
	to := transport.Target{Addr: nowhere, NodeID: "id-b", Name: b.name}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range calls {
				q := fmt.Appendf(nil, "%03d %03d %s", i, j, make([]byte, 2000*(j%5)))
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				got, err := a.RoundTrip(ctx, to, evilCount, nil, q)
				cancel()
				if want := fmt.Sprintf("%s did %s for %s", b.name, q, a.name); err != nil || string(got) != want {
					t.Errorf("call %d of %d: %.60q, %v", j, i, got, err)
				}
			}
		})
	}
	wg.Wait()
	for _, end := range []*node{a, b} {
		g.evil.flood(end.Endpoint.Addr(), 20_000)
	}
	a.mustCall(t, b)
	mu.Lock()
	defer mu.Unlock()
	for q, n := range done {
		if n != 1 {
			t.Errorf("%s was done %d times", q, n)
		}
	}
	if len(done) != callers*calls {
		t.Errorf("%d calls were done, want %d", len(done), callers*calls)
	}
}

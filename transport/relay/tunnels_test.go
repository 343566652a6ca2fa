package relay

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pipe is a tunnel that hands what goes into it to another board at once.
type pipe struct {
	to      *Board
	from    *net.UDPAddr
	carried atomic.Int64
}

func (p *pipe) Send(b []byte) {
	p.carried.Add(1)
	p.to.Deliver(p.from, b)
}

func (p *pipe) Seen() string { return "192.0.2.1:99" }

// tunnelled has everything between a and g go by a tunnel, and returns both ends of it, and
// the address that stands for a at g.
func tunnelled(a, g *party) (up, down *pipe, stands *net.UDPAddr) {
	stands = TunnelAddr(7)
	at, _ := g.LocalAddr().(*net.UDPAddr)
	up, down = &pipe{to: g.board, from: stands}, &pipe{to: a.board, from: at}
	a.board.Divert(at, up)
	g.board.Divert(stands, down)
	return up, down, stands
}

// A connection goes by a tunnel, whether it came about there or not, and goes on by UDP when
// the tunnel is left; neither end is told.
func TestConnectionsGoByTunnelsAndLeaveThem(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(testing.TB) *party{"socket": listen, "plain": listenPlain} {
		t.Run(name, func(t *testing.T) {
			c := certificate(t)
			a, g := make(t), make(t)
			on := quicOn(t, a, c)
			quicOn(t, g, c)
			direct, err := on.Dial(t.Context(), g.LocalAddr(), c, nil)
			if err != nil {
				t.Fatal(err)
			}
			echo(t, direct, 1000)
			up, down, stands := tunnelled(a, g)
			if g.board.Seen(stands) != "192.0.2.1:99" {
				t.Errorf("it is seen at %s", g.board.Seen(stands))
			}
			conn, err := on.Dial(t.Context(), g.LocalAddr(), c, nil)
			if err != nil {
				t.Fatal(err)
			}
			echo(t, conn, 2_000_000)
			echo(t, direct, 100_000)
			before := up.carried.Load()
			if before < 1000 || down.carried.Load() < 1000 {
				t.Errorf("%d packets went up and %d down by the tunnel", before, down.carried.Load())
			}
			at, _ := g.LocalAddr().(*net.UDPAddr)
			a.board.Divert(at, nil)
			before = up.carried.Load()
			echo(t, conn, 100_000)
			echo(t, direct, 100_000)
			if n := up.carried.Load(); n != before {
				t.Errorf("%d packets went by the tunnel that was left", n-before)
			}
		})
	}
}

func listenPlain(t testing.TB) *party {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	b := NewBoard()
	return &party{Socket: Listen(c, NewBoard()), under: Wrap(struct{ *net.UDPConn }{c}, b), board: b}
}

// Flows go over links of which one is a tunnel.
func TestFlowsGoByTunnels(t *testing.T) {
	t.Parallel()
	c := certificate(t)
	a, g, b := listen(t), listen(t), listen(t)
	for _, p := range []*party{a, g, b} {
		p.on = quicOn(t, p, c)
	}
	up, down, stands := tunnelled(a, g)
	a.known = stands
	toB, _ := connect(t, nil, a, g, b)
	conn, err := a.on.Dial(t.Context(), toB, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, conn, 2_000_000)
	if up.carried.Load() < 1000 || down.carried.Load() < 1000 {
		t.Errorf("%d packets went up and %d down by the tunnel", up.carried.Load(), down.carried.Load())
	}
	if n := a.board.Strange() + g.board.Strange() + b.board.Strange(); n > 0 {
		t.Errorf("%d packets were strange", n)
	}
}

// What waits is bounded: more is dropped, and so is what is too long.
func TestWhatTunnelsDeliverIsBounded(t *testing.T) {
	p := listen(t)
	from := TunnelAddr(1)
	if NewBoard().Deliver(from, []byte("x")) {
		t.Error("a packet was taken where nobody reads")
	}
	if p.board.Deliver(from, make([]byte, MaxPacket+1)) {
		t.Error("a packet that is too long was taken")
	}
	for i := range maxWaiting {
		if !p.board.Deliver(from, []byte{1, byte(i), byte(i >> 8)}) {
			t.Fatalf("packet %d was dropped", i)
		}
	}
	if p.board.Deliver(from, []byte("x")) {
		t.Error("one too many was taken")
	}
	ms := newMessages(7)
	for got := 0; got < maxWaiting; {
		n, err := p.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			if want := []byte{1, byte(got), byte(got >> 8)}; !bytes.Equal(m.Buffers[0][:m.N], want) || m.Addr != net.Addr(from) {
				t.Fatalf("packet %d is %x from %s", got, m.Buffers[0][:m.N], m.Addr)
			}
			got++
		}
	}
}

// A tunnel that floods makes room for what others bring: as many as it has itself.
func TestATunnelLeavesRoomForOthers(t *testing.T) {
	p := listen(t)
	flood, calm := TunnelAddr(1), TunnelAddr(2)
	for p.board.Deliver(flood, []byte{1}) {
	}
	for i := range maxWaiting / 2 {
		if !p.board.Deliver(calm, []byte{2, byte(i), byte(i >> 8)}) {
			t.Fatalf("packet %d of another tunnel was dropped", i)
		}
		if p.board.Deliver(flood, []byte{1}) {
			t.Fatalf("after packet %d one of the flood was taken", i)
		}
	}
	if p.board.Deliver(calm, []byte{2}) {
		t.Error("it was given more than its share")
	}
	if !p.board.Deliver(TunnelAddr(3), []byte{3}) {
		t.Error("a third one has no room")
	}
	ms, got := newMessages(7), map[byte]int{}
	for sum := 0; sum < maxWaiting; {
		n, err := p.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms[:n] {
			b := m.Buffers[0][:m.N]
			if b[0] == 2 && got[2] < maxWaiting/2-1 && !bytes.Equal(b, []byte{2, byte(got[2]), byte(got[2] >> 8)}) {
				t.Fatalf("packet %d is %x", got[2], b)
			}
			got[b[0]]++
			sum++
		}
	}
	if got[3] != 1 || got[1]+got[2] != maxWaiting-1 || len(p.board.tunnels.inbox.of) != 0 {
		t.Errorf("%v were read, %v wait", got, p.board.tunnels.inbox.of)
	}
}

// However much comes by tunnels, what comes by UDP is read in turn: one server that floods its
// tunnel does not keep out those that come by UDP.
func TestAFloodInTunnelsLeavesRoomForUDP(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(testing.TB) *party{"socket": listen, "plain": listenPlain} {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			c, err := net.Dial("udp4", p.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fill := func() {
				for p.board.Deliver(TunnelAddr(1), []byte{1, 2, 3}) {
				}
			}
			fill()
			if _, err := c.Write([]byte{4, 5}); err != nil {
				t.Fatal(err)
			}
			ms, b := newMessages(8), [packetSize]byte{}
			for range 8 * maxWaiting {
				fill() // as fast as it is read
				from := net.Addr(nil)
				if plain, ok := p.under.(*plain); ok {
					_, from, err = plain.ReadFrom(b[:])
				} else if _, err = p.ReadBatch(ms[:1], 0); err == nil {
					from = ms[0].Addr
				}
				if err != nil {
					t.Fatal(err)
				}
				if from.String() == c.LocalAddr().String() {
					return
				}
			}
			t.Error("the packet that came by UDP was not read")
		})
	}
}

// The owner's deadlines hold, however often the reader is woken meanwhile: QUIC stops its
// reader by one.
func TestDeadlinesOfTheOwnerHold(t *testing.T) {
	t.Parallel()
	p := listen(t)
	for range 200 {
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 20 {
				p.board.Deliver(TunnelAddr(1), []byte{1, 2})
			}
		})
		wg.Go(func() { _ = p.SetReadDeadline(time.Now()) })
		ms := newMessages(4)
		for {
			_, err := p.ReadBatch(ms, 0)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		_ = p.SetReadDeadline(time.Time{})
	}
}

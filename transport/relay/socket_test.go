package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
	"golang.org/x/time/rate"
)

// party is a socket with its board, and whom it names neighbors.
type party struct {
	*Socket
	under net.PacketConn // what QUIC is on: the socket, or something like it
	board *Board
	on    *quic.Transport
	known *net.UDPAddr // where others know it; nil for the address of the socket
}

func listen(t testing.TB) *party {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	b := NewBoard()
	s := Listen(c, b)
	return &party{Socket: s, under: s, board: b}
}

// neighbor is the party as another one sees it.
func (p *party) neighbor(of *party) *Neighbor {
	var local net.IP
	if of.known != nil {
		local = of.known.IP
	}
	addr, _ := p.LocalAddr().(*net.UDPAddr)
	if p.known != nil {
		addr = p.known
	}
	return NewNeighbor(func() *net.UDPAddr { return addr }, local)
}

func reserve(t testing.TB, b *Board, n *Neighbor) Label {
	t.Helper()
	l, err := b.Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// connect makes a flow from a over the middle ones to b, and returns how each end sees
// the other.
func connect(t testing.TB, limit *rate.Limiter, all ...*party) (toB, toA *net.UDPAddr) {
	t.Helper()
	n := len(all)
	// left[i] is what i receives from i-1, right[i] what it receives from i+1.
	left, right := make([]Label, n), make([]Label, n)
	for i, p := range all {
		if i > 0 {
			left[i] = reserve(t, p.board, all[i-1].neighbor(p))
		}
		if i < n-1 {
			right[i] = reserve(t, p.board, all[i+1].neighbor(p))
		}
	}
	var err error
	for i, p := range all {
		switch i {
		case 0:
			toB, err = p.board.End(Hop{all[1].neighbor(p), right[0], left[1]})
		case n - 1:
			toA, err = p.board.End(Hop{all[n-2].neighbor(p), left[i], right[i-1]})
		default:
			err = p.board.Join(Hop{all[i-1].neighbor(p), left[i], right[i-1]}, Hop{all[i+1].neighbor(p), right[i], left[i+1]}, limit)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return toB, toA
}

func certificate(t testing.TB) *tls.Config {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, of, of, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}, NextProtos: []string{"echo"}, InsecureSkipVerify: true}
}

// quicOn runs QUIC on a party's socket; it answers what it is sent on streams.
func quicOn(t testing.TB, p *party, c *tls.Config) *quic.Transport {
	t.Helper()
	tr := &quic.Transport{Conn: p.under}
	l, err := tr.Listen(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() {
				for {
					s, err := conn.AcceptStream(context.Background())
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(s, s); _ = s.Close() }()
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// echo sends so many bytes over a new stream and wants them back.
func echo(t testing.TB, conn *quic.Conn, size int) {
	t.Helper()
	s, err := conn.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, size)
	_, _ = rand.Read(sent)
	go func() { _, _ = s.Write(sent); _ = s.Close() }()
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
}

// QUIC goes over one, two and three sockets between, beside connections of those in the
// middle, and each end sees an address that stands for the other.
func TestConnectionsOverFlows(t *testing.T) {
	for between := 1; between <= 3; between++ {
		t.Run(fmt.Sprint(between), func(t *testing.T) {
			c := certificate(t)
			var all []*party
			var on []*quic.Transport
			for range between + 2 {
				p := listen(t)
				all = append(all, p)
				on = append(on, quicOn(t, p, c))
			}
			toB, toA := connect(t, nil, all...)
			conn, err := on[0].Dial(t.Context(), toB, c, nil)
			if err != nil {
				t.Fatal(err)
			}
			if conn.RemoteAddr().String() != toB.String() {
				t.Errorf("the other end is %s, not %s", conn.RemoteAddr(), toB)
			}
			if _, carried := flowOf(toA); !carried {
				t.Errorf("%s stands for no flow", toA)
			}
			for _, size := range []int{1, 1000, 2_000_000} {
				echo(t, conn, size)
			}
			direct, err := on[0].Dial(t.Context(), all[1].LocalAddr(), c, nil)
			if err != nil {
				t.Fatal(err)
			}
			echo(t, direct, 100_000)
			label, _ := flowOf(toB)
			if got := all[0].board.Traffic(label); got.Packets == 0 || got.Bytes < 2_000_000 {
				t.Errorf("of the flow %+v was counted", got)
			}
			if n := all[1].board.Strange(); n != 0 {
				t.Errorf("%d packets were strange", n)
			}
		})
	}
}

// A flow that is released carries nothing more, and who writes to it is told.
func TestAReleasedFlowEndsItsConnections(t *testing.T) {
	c := certificate(t)
	a, g, b := listen(t), listen(t), listen(t)
	ta := quicOn(t, a, c)
	quicOn(t, g, c)
	quicOn(t, b, c)
	toB, _ := connect(t, nil, a, g, b)
	conn, err := ta.Dial(t.Context(), toB, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, conn, 10)
	label, _ := flowOf(toB)
	a.board.Release(label)
	s, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte("x"))
	select {
	case <-conn.Context().Done():
	case <-time.After(5 * time.Second):
		t.Error("the connection lives on")
	}
	if _, _, err := a.WriteMsgUDP([]byte("x"), nil, toB); !errors.Is(err, errGone) {
		t.Errorf("writing says %v", err)
	}
}

// silence fails the test if something is read within a short time.
func silence(t *testing.T, c net.PacketConn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	b := make([]byte, packetSize)
	if n, from, err := c.ReadFrom(b); err == nil {
		t.Errorf("%x came from %s", b[:n], from)
	}
}

// serve reads as quic-go does, in the background.
func (p *party) serve() {
	go func() {
		ms := newMessages(1)
		for {
			if _, err := p.ReadBatch(ms, 0); err != nil {
				return
			}
		}
	}()
}

func newMessages(n int) []ipv4.Message {
	ms := make([]ipv4.Message, n)
	for i := range ms {
		ms[i] = ipv4.Message{Buffers: [][]byte{make([]byte, packetSize)}, OOB: make([]byte, oobSize)}
	}
	return ms
}

// What comes from elsewhere than the neighbor, or with another label, is dropped and
// counted, and so is what is above the limit.
func TestStrangersAreNotCarried(t *testing.T) {
	g := listen(t)
	g.serve()
	ends := make([]*net.UDPConn, 3) // two neighbors and a stranger
	neighbors := make([]*Neighbor, 3)
	for i := range ends {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		addr, _ := c.LocalAddr().(*net.UDPAddr)
		ends[i], neighbors[i] = c, NewNeighbor(func() *net.UDPAddr { return addr }, nil)
	}
	in, back := reserve(t, g.board, neighbors[0]), reserve(t, g.board, neighbors[1])
	out, outBack := newLabel(7, 7), newLabel(8, 8)
	send := func(from *net.UDPConn, l Label, payload string) {
		t.Helper()
		b := make([]byte, Overhead, Overhead+len(payload))
		l.put(b)
		if _, err := from.WriteTo(append(b, payload...), g.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(c *net.UDPConn, l Label, payload string) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, packetSize)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := labelOf(b[:n]); got != l || string(b[Overhead:n]) != payload {
			t.Fatalf("%x came, not %x %q", b[:n], l, payload)
		}
	}

	send(ends[0], in, "too early")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; g.board.Traffic(in).Refused == 0 && i < 5000; i++ {
		<-tick.C
	}
	if err := g.board.Join(Hop{neighbors[0], in, outBack}, Hop{neighbors[1], back, out}, rate.NewLimiter(0, 60)); err != nil {
		t.Fatal(err)
	}
	send(ends[2], in, "of a stranger")
	send(ends[1], in, "of the other neighbor")
	send(ends[0], in^1, "another label")
	send(ends[0], in, "there")
	receive(ends[1], out, "there")
	send(ends[1], back, "back")
	receive(ends[0], outBack, "back")
	send(ends[0], in, "a packet that is beyond the limit of the flow")
	send(ends[0], in, "last")
	receive(ends[1], out, "last")
	silence(t, ends[1])
	silence(t, ends[2])
	if n := g.board.Strange(); n != 3 {
		t.Errorf("%d packets were strange, not 3", n)
	}
	if got := g.board.Traffic(in); got != (Traffic{Packets: 2, Bytes: 2*Overhead + 9, Refused: 2}) {
		t.Errorf("the flow carried %+v", got)
	}
	g.board.Release(in)
	send(ends[0], in, "after the end")
	silence(t, ends[1])
}

// On a host with several addresses packets leave from the one that the neighbor knows:
// others would be strange to it.
func TestPacketsLeaveFromTheAddressThatIsKnown(t *testing.T) {
	c := certificate(t)
	a, b := listen(t), listen(t)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{}) // at all addresses
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	board := NewBoard()
	s := Listen(conn, board)
	g := &party{Socket: s, under: s, board: board}
	for _, p := range []*party{a, b, g} {
		p.on = quicOn(t, p, c)
	}
	addr, _ := conn.LocalAddr().(*net.UDPAddr)
	g.known = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 77), Port: addr.Port}
	toB, _ := connect(t, nil, a, g, b)
	over, err := a.on.Dial(t.Context(), toB, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, over, 100_000)
	if n := a.board.Strange() + b.board.Strange(); n > 0 {
		t.Errorf("%d packets were strange", n)
	}
}

// The number of flows is bounded, and a label is not used again soon.
func TestFlowsAreBounded(t *testing.T) {
	b, n := NewBoard(), &Neighbor{}
	first := reserve(t, b, n)
	for range maxFlows - 2 {
		reserve(t, b, n)
	}
	if _, err := b.Reserve(n); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	b.Release(first)
	b.Release(first)
	again := reserve(t, b, n)
	if again == first || b.flow(first) != nil {
		t.Error("a label that was released is used again")
	}
	if _, err := b.Reserve(n); !errors.Is(err, ErrFull) {
		t.Errorf("released twice counts once: %v", err)
	}
	if _, err := b.End(Hop{n, first, 1}); !errors.Is(err, errGone) {
		t.Errorf("end of a flow that is gone: %v", err)
	}
}

// Labels and the addresses that stand for them are told from all else.
// Connections over all flows of one neighbor count as one's, however many flows it has; others by their address.
func TestFlowsCountAsTheirNeighbor(t *testing.T) {
	b := NewBoard()
	at := &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8302}
	end := func(n *Neighbor) net.Addr {
		in, err := b.Reserve(n)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := b.End(Hop{Neighbor: n, In: in, Out: 1})
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	who := func(a net.Addr) netip.Addr { one, _ := b.CountAs(a); return one }
	n, m := NewNeighbor(func() *net.UDPAddr { return at }, nil), NewNeighbor(func() *net.UDPAddr { return at }, nil)
	first, second, other := end(n), end(n), end(m)
	if who(first) != who(second) || who(first) == who(other) || who(first) == who(at) {
		t.Errorf("counted as %v, %v, %v and %v", who(first), who(second), who(other), who(at))
	}
	if one, worth := b.CountAs(first); worth != neighborWorth || Carried(net.UDPAddrFromAddrPort(netip.AddrPortFrom(one, carriedPort))) {
		t.Errorf("%v is worth %d", one, worth)
	}
	if one, worth := b.CountAs(at); one != netip.MustParseAddr("10.0.0.1") || worth != 1 {
		t.Errorf("what comes directly counts as %v, worth %d", one, worth)
	}
}

func TestLabels(t *testing.T) {
	l := newLabel(0xfffe, 1<<63|5)
	addr := l.addr()
	if got, ok := flowOf(addr); !ok || got != l {
		t.Errorf("%x became %s, and that %x", l, addr, got)
	}
	for _, text := range []string{"127.0.0.1:1", "[::1]:1", "[100::1]:1", "[100:0:0:1:2800::]:1", "[2001:db8::2800:0:0:0]:1", "[100::2800:0:0:0]:2"} {
		other, err := net.ResolveUDPAddr("udp", text)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := flowOf(other); ok {
			t.Errorf("%s stands for a flow", text)
		}
	}
	for _, b := range [][]byte{nil, {mark}, {mark, 0, 0, 0, 0, 0, 0, 0}, {0x40, 0, 0, 0, 0, 0, 0, 0, 1}, {0xc0, 0, 0, 0, 0, 0, 0, 0, 1}} {
		if _, ok := labelOf(b); ok {
			t.Errorf("%x is carried", b)
		}
	}
}

// Where the kernel does not cut what is sent into packets, as with IPsec and with drivers
// that leave checksums to it, packets are carried one by one.
func TestPacketsAreCarriedWhereTheKernelCutsNone(t *testing.T) {
	t.Parallel()
	a, m, b := listen(t), listen(t), listen(t)
	cutsNone(t, m.UDPConn)
	toB, _ := connect(t, nil, a, m, b)
	quicOn(t, m, certificate(t)) // reads
	done := make(chan struct{})
	const packets = 60
	for i := range packets {
		if _, err := a.WriteTo(bytes.Repeat([]byte{byte(i) | 0x40}, 1200), toB); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	go func() {
		defer close(done)
		ms := []ipv4.Message{{Buffers: [][]byte{make([]byte, packetSize)}, OOB: make([]byte, oobSize)}}
		for got < packets {
			n, err := b.ReadBatch(ms, 0)
			if err != nil {
				return
			}
			got += n
		}
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		_ = b.Close()
		<-done
	}
	if got < packets {
		t.Errorf("%d of %d packets came", got, packets)
	}
}

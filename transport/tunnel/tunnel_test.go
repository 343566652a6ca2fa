package tunnel

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/gateway"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/relay"
)

func valueOf(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatal("it did not come about: " + what)
}

func derived(t testing.TB, fill byte, p identity.Peer) *identity.Derived {
	t.Helper()
	d, err := identity.NewDerived(bytes.Repeat([]byte{fill}, 32), p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func peer(name string, server, gateway bool) identity.Peer {
	return identity.Peer{Federation: "f", Datacenter: "dc", NodeID: "id-" + name, Name: name, Server: server, Gateway: gateway}
}

// lossy is a socket of which UDP does not get through while it is deaf.
type lossy struct {
	*net.UDPConn
	deaf atomic.Bool
}

func (l *lossy) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := l.UDPConn.ReadFrom(b)
		if err != nil || !l.deaf.Load() {
			return n, addr, err
		}
	}
}

func (l *lossy) WriteTo(b []byte, addr net.Addr) (int, error) {
	if l.deaf.Load() {
		return len(b), nil
	}
	return l.UDPConn.WriteTo(b, addr)
}

// node is an endpoint on a socket with a board.
type node struct {
	*transport.Endpoint
	id    *identity.Derived
	conn  *lossy
	board *relay.Board
	route *gateway.Relay // how others are reached, and through whom; nil is directly
	via   string
}

const echo = "test-echo/1"

func newNode(t testing.TB, p identity.Peer, fast bool) *node {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{id: derived(t, 1, p), conn: &lossy{UDPConn: c}, board: relay.NewBoard()}
	under := relay.Wrap(n.conn, n.board)
	if fast {
		under = relay.Wrap(c, n.board)
	}
	answers := func(_ context.Context, _ transport.Remote, b []byte) []byte { return b }
	n.Endpoint, err = transport.New(transport.Config{Name: p.Name, Conn: under, Identity: n.id, HandshakeTimeout: 2 * time.Second, Route: n.dial,
		Protocols: map[string]transport.Protocol{echo: {Answer: answers, Gateways: true, PoolSize: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return n
}

// dial has servers reached through the gateway, if there is one.
func (n *node) dial(ctx context.Context, t transport.Target, protocol string, dial func(context.Context, *net.UDPAddr) error) error {
	if n.route == nil || protocol == gateway.Protocol || t.Name == "" {
		return dial(ctx, nil)
	}
	addr, err := n.route.Route(ctx, gateway.Way{Server: t.Name, Addr: t.Addr, Gateways: []string{n.via}})
	if err != nil {
		return err
	}
	return dial(ctx, addr)
}

func (n *node) call(g *node, size int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	sent := bytes.Repeat([]byte("x"), size)
	got, err := n.RoundTrip(ctx, transport.Target{Addr: g.Addr().String()}, echo, nil, sent)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d bytes came back of %d", len(got), size)
	}
	return err
}

// serve has a gateway take tunnels.
func (n *node) serve(t testing.TB) (*Server, int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve(ServerConfig{Listener: l, Identity: n.id, Board: n.board})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	addr, _ := l.Addr().(*net.TCPAddr)
	return s, addr.Port
}

// keep has a server find out when it needs a tunnel to port.
func (n *node) keep(t testing.TB, port int) *Keeper {
	t.Helper()
	k := NewKeeper(KeeperConfig{Identity: n.id, Board: n.board, Port: func(string) int { return port },
		probe: func(context.Context, *net.UDPAddr, net.IP) bool { return !n.conn.deaf.Load() }})
	t.Cleanup(func() { _ = k.Stop(context.Background()) })
	return k
}

// Where UDP does not get through, calls go over TCP: from the start, and in the middle of
// what goes on; and when the tunnel breaks they go on over the next one.
func TestCallsGoByATunnelWhereUDPFails(t *testing.T) {
	t.Parallel()
	a, g := newNode(t, peer("a", true, false), false), newNode(t, peer("g", false, true), false)
	s, port := g.serve(t)
	k := a.keep(t, port)
	if err := a.call(g, 100); err != nil {
		t.Fatal(err)
	}
	if n := valueOf(t, k.metrics.out); n > 0 {
		t.Errorf("%v bytes went over TCP although UDP works", n)
	}
	a.conn.deaf.Store(true)
	done := make(chan error, 1)
	go func() { done <- a.call(g, 500_000) }() // begins where nothing gets through
	k.Doubt(g.Addr().String())
	if err := <-done; err != nil {
		t.Fatalf("a call that was under way: %v", err)
	}
	until(t, "the gateway has a tunnel", func() bool { return valueOf(t, s.metrics.open) == 1 })
	if n := valueOf(t, k.metrics.out); n < 500_000 {
		t.Errorf("%v bytes went over TCP", n)
	}

	ended := make(chan struct{})
	go func() { done <- a.call(g, 900_000); close(ended) }()
	s.Renew() // breaks the tunnel, maybe in the middle of the call
	if err := <-done; err != nil {
		t.Errorf("a call while the tunnel breaks: %v", err)
	}
	if err := a.call(g, 1000); err != nil {
		t.Error(err)
	}
	if n := valueOf(t, s.metrics.open); n != 1 {
		t.Errorf("the gateway has %v tunnels", n)
	}
}

// Only servers of the federation have tunnels, and only to gateways of it.
func TestWhoHasATunnel(t *testing.T) {
	t.Parallel()
	g := newNode(t, peer("g", false, true), false)
	s, port := g.serve(t)
	s.cfg.Refuse = func(dc string) error {
		if dc == "gone" {
			return errors.New("it was removed")
		}
		return nil
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	removed := peer("r", true, false)
	removed.Datacenter = "gone"
	for name, id := range map[string]*identity.Derived{
		"a client": derived(t, 1, peer("c", false, false)), "a gateway": derived(t, 1, peer("h", false, true)),
		"another key": derived(t, 2, peer("a", true, false)), "a datacenter that is refused": derived(t, 1, removed),
	} {
		if _, _, err := dial(ctx, id, at, nil); err == nil {
			t.Errorf("%s has a tunnel", name)
		}
	}
	conn, _, err := dial(ctx, derived(t, 1, peer("a", true, false)), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	no := newNode(t, peer("s", true, false), false)
	_, port = no.serve(t)
	if _, _, err := dial(ctx, derived(t, 1, peer("a", true, false)), fmt.Sprintf("127.0.0.1:%d", port), nil); err == nil {
		t.Error("a tunnel leads to a server")
	}
}

// One server has so many tunnels; of more the oldest ends. Garbage ends a tunnel, and leaves the
// others.
func TestTunnelsAreBounded(t *testing.T) {
	t.Parallel()
	g := newNode(t, peer("g", false, true), false)
	s, port := g.serve(t)
	id, at := derived(t, 1, peer("a", true, false)), fmt.Sprintf("127.0.0.1:%d", port)
	var conns []net.Conn
	for i := range maxOfPeer + 1 {
		conn, _, err := dial(t.Context(), id, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		until(t, "the gateway has it", func() bool { return valueOf(t, s.metrics.open) == float64(min(i+1, maxOfPeer)) })
	}
	_ = conns[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conns[0].Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the oldest tunnel goes on: %v", err)
	}
	if _, err := conns[1].Write([]byte("\xff\xfftoo long")); err != nil {
		t.Fatal(err)
	}
	until(t, "who sends garbage is gone", func() bool { return valueOf(t, s.metrics.open) == maxOfPeer-1 })
	if c, ok := conns[2].(*tls.Conn); !ok || c.ConnectionState().NegotiatedProtocol != Protocol {
		t.Error("a tunnel speaks another protocol")
	}
	if _, err := conns[2].Write([]byte{0, 5, 'h', 'e', 'l', 'l', 'o'}); err != nil {
		t.Error(err)
	}
}

// BenchmarkCalls is what a call of 512 KiB there and back costs over UDP and over a tunnel.
func BenchmarkCalls(b *testing.B) {
	for _, name := range []string{"udp", "tunnel"} {
		b.Run(name, func(b *testing.B) {
			a, g := newNode(b, peer("a", true, false), true), newNode(b, peer("g", false, true), true)
			if name == "tunnel" {
				_, port := g.serve(b)
				a.conn.deaf.Store(true) // says the probe
				k := a.keep(b, port)
				k.Watch(g.Addr().String())
				until(b, "the tunnel is there", func() bool { return valueOf(b, k.metrics.open) == 1 })
			}
			const size = 512 << 10
			b.SetBytes(2 * size)
			for b.Loop() {
				if err := a.call(g, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

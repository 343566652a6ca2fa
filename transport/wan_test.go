package transport

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/wanem"
	"github.com/legate-project/legate/transport/entrance"
)

// pair opens two endpoints at two sites of an emulated WAN.
func pair(t testing.TB, l wanem.Link, change ...func(*Config)) (n *wanem.Network, a, b *Endpoint) {
	t.Helper()
	n, err := wanem.New(11)
	if err != nil {
		t.Fatal(err)
	}
	n.SetDefault(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	at := func(name, site string) *Endpoint {
		conn := n.Wrap(listenUDP(t, "127.0.0.1:0"), site)
		return endpoint(t, derived(t, testKey(1), server(name)), append(change, func(c *Config) { c.Conn = conn })...)
	}
	return n, at("a", "dc1"), at("b", "dc2")
}

func TestCallsSurviveLoss(t *testing.T) {
	_, a, b := pair(t, wanem.Link{RTT: 40 * time.Millisecond, Loss: 0.01})
	const workers, calls = 8, 50
	took := make(chan time.Duration, workers*calls)
	errs := make(chan error, workers)
	body := randomBytes(t, 200)
	for range workers {
		go func() {
			for range calls {
				start := time.Now()
				if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, body); err != nil {
					errs <- err
					return
				}
				took <- time.Since(start)
			}
			errs <- nil
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	close(took)
	var all []time.Duration
	for d := range took {
		all = append(all, d)
	}
	slices.Sort(all)
	t.Logf("p50 %v, p99 %v, worst %v", all[len(all)/2], all[len(all)*99/100], all[len(all)-1])
	if p50 := all[len(all)/2]; p50 < 40*time.Millisecond || p50 > 200*time.Millisecond {
		t.Errorf("p50 is %v over a round trip of 40 ms", p50)
	}
	s := a.Stats()[0]
	if s.RTT < 35*time.Millisecond || s.RTT > 200*time.Millisecond || s.MinRTT < 35*time.Millisecond || s.PacketsLost == 0 {
		t.Errorf("statistics: %+v", s)
	}
	if s.Peer.Name != "b" || s.Loss() <= 0 || s.Loss() > 0.1 {
		t.Errorf("peer %v, loss %v", s.Peer, s.Loss())
	}
}

func TestCutIsNoticedAndHealedWithoutHelp(t *testing.T) {
	n, a, b := pair(t, wanem.Link{RTT: 20 * time.Millisecond}, func(c *Config) {
		c.IdleTimeout, c.KeepAlive, c.HandshakeTimeout = time.Second, 200*time.Millisecond, 500*time.Millisecond
	})
	call := func(d time.Duration) error {
		_, err := a.RoundTrip(within(t, d), to(b), testProtocol, nil, nil)
		return err
	}
	if err := call(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	n.Cut("dc2")
	if err := call(300 * time.Millisecond); !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("right after the cut: %v", err)
	}
	eventually(t, 5*time.Second, "the connection is given up", func() bool {
		return len(a.snapshot()) == 0 && len(b.snapshot()) == 0
	})
	if err := call(5 * time.Second); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("while cut: %v", err)
	}
	n.Heal("dc2")
	start := time.Now()
	eventually(t, 5*time.Second, "a call gets through", func() bool { return call(time.Second) == nil })
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("healed, and the first call got through after %v", took)
	}
}

func TestGarbageOnTheSocketHarmsNobody(t *testing.T) {
	a := endpoint(t, derived(t, testKey(1), server("a")))
	b := endpoint(t, derived(t, testKey(1), server("b")))
	raw, err := net.Dial("udp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for i := range 500 {
		p := randomBytes(t, 1+i*2)
		p[0] |= byte(i) & 0xc0 // long and short headers too
		if _, err := raw.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// dialer connects to an endpoint as somebody who may, on a socket of its own, and returns
// the connection.
func dialer(t *testing.T, b *Endpoint, id Identity) (*quic.Conn, error) {
	t.Helper()
	conf, err := (&Endpoint{cfg: Config{Identity: id}}).clientTLS(testProtocol)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := quic.DialAddr(within(t, 5*time.Second), b.Addr().String(), conf, &quic.Config{})
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	}
	return conn, err
}

func TestConnectionsFromOneHostAreBounded(t *testing.T) {
	var refused []error
	var mu sync.Mutex
	gate := admission.New(entrance.Bounds(), func(err error) {
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, err)
	})
	gate.SetEach(3)
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) { c.Gate = gate })
	id := derived(t, testKey(1), server("c"))
	var first *quic.Conn
	for range 3 {
		conn, err := dialer(t, b, id)
		if err != nil {
			t.Fatal(err)
		}
		first = conn
	}
	eventually(t, 5*time.Second, "all are proven", func() bool { all, proving := gate.Open(); return all == 3 && proving == 0 })
	a := endpoint(t, derived(t, testKey(1), server("a")))
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	mu.Lock()
	if len(refused) == 0 || !errors.Is(refused[0], admission.ErrAddress) {
		t.Errorf("refused are %v", refused)
	}
	mu.Unlock()
	if err := first.CloseWithError(0, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "room again", func() bool {
		_, err := a.RoundTrip(within(t, time.Second), to(b), testProtocol, nil, nil)
		return err == nil
	})
	closeEndpoint(t, a)
	eventually(t, 5*time.Second, "the place is given back", func() bool { all, _ := gate.Open(); return all == 2 })
}

// Who begins handshakes and never ends them occupies a share of what may be under way, for
// the time that a handshake has, and others get in beside.
func TestHandshakesThatNeverEndAreGivenUp(t *testing.T) {
	bounds := entrance.Bounds()
	bounds.Proving = 2 * 8
	gate := admission.New(bounds, nil)
	const most = 2 * time.Second
	b := endpoint(t, derived(t, testKey(1), server("b")), func(c *Config) {
		c.Gate, c.AcceptTimeout = gate, func() time.Duration { return most }
	})
	for range 5 {
		// A client that hears nothing: its first packet is all that comes.
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = udp.Close() })
		mute := &quic.Transport{Conn: &deafSocket{PacketConn: udp}}
		t.Cleanup(func() { _ = mute.Close() })
		ctx := within(t, 100*time.Millisecond)
		conf, err := (&Endpoint{cfg: Config{Identity: derived(t, testKey(1), server("x"))}}).clientTLS(testProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mute.Dial(ctx, b.Addr(), conf, nil); err == nil {
			t.Fatal("a connection came about without an answer")
		}
	}
	if all, proving := gate.Open(); all != 2 || proving != 2 {
		t.Errorf("%d connections, %d being made: want the share of one address, 2", all, proving)
	}
	a := endpoint(t, derived(t, testKey(1), server("a")))
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); err != nil {
		t.Errorf("another address beside them: %v", err)
	}
	eventually(t, 3*most, "the others are given up", func() bool { _, proving := gate.Open(); return proving == 0 })
}

// deafSocket reads nothing, and sends no more than what a handshake begins with: two
// packets, of which the second is not always needed.
type deafSocket struct {
	net.PacketConn
	sent atomic.Int64
}

func (s *deafSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := s.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

func (s *deafSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.sent.Add(1) > 2 {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

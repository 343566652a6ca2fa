package transport

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/wanem"
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

func TestConnectionsFromOneHostAreBounded(t *testing.T) {
	b := endpoint(t, derived(t, testKey(1), server("b")))
	b.admission.mu.Lock()
	b.admission.hosts["127.0.0.1"] = maxConnectionsPerHost
	b.admission.mu.Unlock()
	a := endpoint(t, derived(t, testKey(1), server("a")))
	if _, err := a.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	b.admission.mu.Lock()
	delete(b.admission.hosts, "127.0.0.1")
	b.admission.mu.Unlock()
	eventually(t, 5*time.Second, "room again", func() bool {
		_, err := a.RoundTrip(within(t, time.Second), to(b), testProtocol, nil, nil)
		return err == nil
	})
	closeEndpoint(t, a)
	eventually(t, 5*time.Second, "the place is given back", func() bool {
		b.admission.mu.Lock()
		defer b.admission.mu.Unlock()
		return b.admission.total == 0 && len(b.admission.hosts) == 0
	})
}

package wanem

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
)

func network(t *testing.T) *Network {
	t.Helper()
	n, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

func wrapped(t *testing.T, n *Network, site string) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := n.Wrap(c, site)
	t.Cleanup(func() { w.Close() })
	return w
}

// send numbers the packet and returns when it was sent.
func send(t *testing.T, from, to net.PacketConn, number uint32) time.Time {
	t.Helper()
	at := time.Now()
	if _, err := from.WriteTo(binary.BigEndian.AppendUint32(nil, number), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	return at
}

// receive returns the number of the next packet; false if none comes in time.
func receive(t *testing.T, c net.PacketConn, wait time.Duration) (uint32, time.Time, bool) {
	t.Helper()
	buf := make([]byte, 64)
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	n, _, err := c.ReadFrom(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, time.Now(), false
	}
	if err != nil || n != 4 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return binary.BigEndian.Uint32(buf), time.Now(), true
}

func TestPacketsBetweenSitesTakeHalfTheRoundTrip(t *testing.T) {
	n := network(t)
	a, b, near := wrapped(t, n, "dc1"), wrapped(t, n, "dc2"), wrapped(t, n, "dc1")
	n.Set("dc1", "dc2", Link{RTT: 80 * time.Millisecond})
	var all []time.Duration
	for i := range uint32(20) {
		sent := send(t, a, b, i)
		got, at, ok := receive(t, b, time.Second)
		if !ok || got != i {
			t.Fatalf("packet %d: %d, %v", i, got, ok)
		}
		took := at.Sub(sent)
		if took < 40*time.Millisecond {
			t.Fatalf("a packet took %v", took)
		}
		all = append(all, took)
	}
	slices.Sort(all)
	if median := all[len(all)/2]; median > 50*time.Millisecond { // usual are 40 to 41 ms
		t.Errorf("the median packet took %v, 40 ms are right", median)
	}
	sent := send(t, a, near, 7)
	if _, at, ok := receive(t, near, time.Second); !ok || at.Sub(sent) > 20*time.Millisecond {
		t.Errorf("within the site a packet took %v", at.Sub(sent))
	}
}

func TestOrderIsKeptWithoutJitterEvenWhenTheLinkBecomesFaster(t *testing.T) {
	n := network(t)
	a, b := wrapped(t, n, "dc1"), wrapped(t, n, "dc2")
	for i := range uint32(200) {
		n.Set("dc1", "dc2", Link{RTT: time.Duration(200-i) * 100 * time.Microsecond})
		send(t, a, b, i)
	}
	for i := range uint32(200) {
		if got, _, ok := receive(t, b, time.Second); !ok || got != i {
			t.Fatalf("packet %d: %d, %v", i, got, ok)
		}
	}
}

func TestLossIsWhatTheLinkSaysAndFollowsTheSeed(t *testing.T) {
	lost := func() uint64 {
		n := network(t)
		a, b := wrapped(t, n, "dc1"), wrapped(t, n, "dc2")
		n.SetDefault(Link{Loss: 0.1})
		for i := range uint32(5000) {
			send(t, a, b, i)
		}
		return n.Counts().Lost
	}
	first := lost()
	if first < 400 || first > 600 {
		t.Errorf("%d of 5,000 packets lost, 10 %% are right", first)
	}
	if second := lost(); second != first {
		t.Errorf("the same seed lost %d, then %d", first, second)
	}
}

func TestCutStopsPacketsUnderWayAndHealLetsNewOnesThrough(t *testing.T) {
	n := network(t)
	a, b, c := wrapped(t, n, "dc1"), wrapped(t, n, "dc2"), wrapped(t, n, "dc3")
	n.SetDefault(Link{RTT: 100 * time.Millisecond})
	send(t, a, b, 1)
	n.Cut("dc2")
	send(t, a, b, 2)
	send(t, a, c, 3)
	if got, _, ok := receive(t, c, time.Second); !ok || got != 3 {
		t.Fatal("a cut of dc2 reaches dc3")
	}
	if got, _, ok := receive(t, b, 100*time.Millisecond); ok {
		t.Fatalf("packet %d came through the cut", got)
	}
	n.Heal("dc2")
	send(t, a, b, 4)
	if got, _, ok := receive(t, b, time.Second); !ok || got != 4 {
		t.Fatal("healed, and nothing comes")
	}
	n.Set("dc1", "dc2", Link{Cut: true})
	send(t, b, a, 5)
	if _, _, ok := receive(t, a, 50*time.Millisecond); ok {
		t.Fatal("a packet came through a cut link")
	}
	if got := n.Counts().Cut; got != 3 {
		t.Errorf("%d packets counted as cut, want 3", got)
	}
}

func TestPacketsUnderWayAreBounded(t *testing.T) {
	n := network(t)
	a, b := wrapped(t, n, "dc1"), wrapped(t, n, "dc2")
	n.SetDefault(Link{RTT: time.Minute})
	for i := range uint32(linkQueue + 10) {
		send(t, a, b, i)
	}
	if got := n.Counts().Overflow; got != 10 {
		t.Fatalf("%d packets above the bound, want 10", got)
	}
}

func TestWholeHostsAndUnknownAddresses(t *testing.T) {
	n := network(t)
	a, b := wrapped(t, n, "dc1"), wrapped(t, n, "dc2")
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	n.Cut("dc2")
	send(t, a, stranger, 1)
	if _, _, ok := receive(t, stranger, time.Second); !ok {
		t.Fatal("a packet to an unknown address is lost")
	}
	n.Register(netip.MustParseAddrPort("127.0.0.1:0"), "dc2")
	send(t, a, stranger, 2)
	if _, _, ok := receive(t, stranger, 50*time.Millisecond); ok {
		t.Fatal("the whole host is dc2 and cut, and a packet came")
	}
	_ = b
}

func TestLinksAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]Link{
		"":                             {},
		"rtt=120ms loss=1% jitter=5ms": {RTT: 120 * time.Millisecond, Loss: 0.01, Jitter: 5 * time.Millisecond},
		"loss=0.5,cut":                 {Loss: 0.5, Cut: true},
		"cut=false rtt=1s":             {RTT: time.Second},
	} {
		got, err := ParseLink(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseLink(got.String()); err != nil || again != want {
			t.Errorf("%q written as %q: %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"rtt", "rtt=5", "rtt=-1ms", "rtt=2h", "loss=101%", "loss=-1", "loss=NaN", "speed=1", "cut=maybe"} {
		if l, err := ParseLink(text); err == nil {
			t.Errorf("%q was read as %+v", text, l)
		}
	}
}

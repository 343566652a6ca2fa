package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func at(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }

// entering has connections come to a gate, and says if it does not do with them what is wanted.
func entering(t *testing.T, g *Gate) func(ip string, want error) *Place {
	return func(ip string, want error) *Place {
		t.Helper()
		p, err := g.Enter(at(ip, 1))
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", ip, err, want)
		}
		return p
	}
}

func TestBounds(t *testing.T) {
	var told []error
	g := New(Bounds{Total: 40, Each: 5, Proving: 32}, func(err error) { told = append(told, err) })
	enter := entering(t, g)
	var first *Place
	for range 4 { // an eighth of those that may be proving
		first = enter("10.0.0.1", nil)
	}
	enter("10.0.0.1", ErrProving)
	enter("::ffff:10.0.0.1", ErrProving) // the same address
	enter("10.0.0.2", nil)
	first.Proven()
	first.Proven()
	enter("10.0.0.1", nil)
	enter("10.0.0.1", ErrAddress)
	if all, proving := g.Open(); all != 6 || proving != 5 {
		t.Errorf("%d connections, %d proving", all, proving)
	}
	g.SetEach(6)
	enter("10.0.0.1", ErrProving)
	if len(told) != 4 {
		t.Errorf("told of %v", told)
	}
}

func TestPlacesAreGivenBack(t *testing.T) {
	g := New(Bounds{Total: 2}, nil)
	a, err := g.Enter(at("10.0.0.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.Enter(at("10.0.0.2", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(at("10.0.0.3", 1)); !errors.Is(err, ErrFull) {
		t.Fatalf("the third: %v", err)
	}
	a.Proven()
	a.Leave()
	a.Leave()
	a.Proven()
	b.Leave()
	b.Proven()
	if b.IsProven() || !a.IsProven() {
		t.Error("who was proven is not remembered")
	}
	if all, proving := g.Open(); all != 0 || proving != 0 || len(g.by) != 0 {
		t.Errorf("%d connections, %d proving, %d addresses are left", all, proving, len(g.by))
	}
}

// Addresses that stand for one are counted as that one, which may have what several have.
func TestAddressesThatCountTogether(t *testing.T) {
	g := New(Bounds{Total: 100, Each: 3, Proving: 80}, nil)
	one := netip.MustParseAddr("100::1")
	g.CountAs(func(a net.Addr) (netip.Addr, int) {
		if ip := AddrOf(a); ip.Is4() {
			return ip, 1
		}
		return one, 4
	})
	enter := entering(t, g)
	var last *Place
	for i := range 12 {
		last = enter(fmt.Sprintf("100::2:%x", i), nil)
	}
	enter("100::3", ErrAddress)
	for range 3 {
		enter("10.0.0.1", nil)
	}
	enter("10.0.0.1", ErrAddress)
	last.Leave()
	enter("100::3", nil)
	enter("100::4", ErrAddress)
}

func TestRefusalsAreCounted(t *testing.T) {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	count := m.Refused("raft")
	count(ErrAddress)
	count(ErrFull)
	count(ErrFull)
	for bound, want := range map[string]float64{"address": 1, "being_made": 0, "all": 2} {
		if got := testutil.ToFloat64(m.refused.WithLabelValues("raft", bound)); got != want {
			t.Errorf("%s: %v, want %v", bound, got, want)
		}
	}
}

// certificate is one that is self-signed.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve reads a byte from each connection of a listener and says when one has ended, with
// its error.
func serve(t *testing.T, l net.Listener) <-chan error {
	t.Helper()
	ended := make(chan error, 16)
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, err := io.ReadFull(c, make([]byte, 1))
				ended <- err
				_ = c.Close()
			})
		}
	})
	return ended
}

func TestWhoEndsNoHandshakeIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const most = 300 * time.Millisecond
	g := New(Bounds{Proving: 16}, nil) // two of one address
	ended := serve(t, ListenTLS(l, g, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}, func() time.Duration { return most }))

	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	began := time.Now()
	silent, slow := dial(), dial()
	_, _ = slow.Write([]byte{22, 3, 1}) // a record that never comes whole
	if _, err := io.ReadAll(dial()); err != nil && !errors.Is(err, io.EOF) {
		t.Logf("the third of an address is refused: %v", err)
	}
	if took := time.Since(began); took > most {
		t.Errorf("the third of an address was refused after %s: it has waited for the others", took)
	}
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("what was no handshake was read")
		}
	}
	if took := time.Since(began); took < most || took > 10*most {
		t.Errorf("given up after %s, want %s", took, most)
	}
	_ = silent
	c := tls.Client(dial(), &tls.Config{InsecureSkipVerify: true})
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("who proves itself: %v", err)
	}
}

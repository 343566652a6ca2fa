package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport/identity"
)

const testProtocol = "legate-test/1"

func testKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

func server(name string) identity.Peer {
	return identity.Peer{Federation: "fed", Datacenter: "dc1", NodeID: "id-" + name, Name: name, Server: true}
}

func derived(t testing.TB, key []byte, p identity.Peer, others ...[]byte) *identity.Derived {
	t.Helper()
	id, err := identity.NewDerived(key, p, others...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func listenUDP(t testing.TB, addr string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// endpoint opens an endpoint on loopback that is closed with the test.
func endpoint(t testing.TB, id Identity, change ...func(*Config)) *Endpoint {
	t.Helper()
	cfg := Config{Identity: id, Protocols: map[string]Protocol{testProtocol: {Serve: echo}}}
	for _, f := range change {
		f(&cfg)
	}
	if cfg.Conn == nil {
		cfg.Conn = listenUDP(t, "127.0.0.1:0")
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeEndpoint(t, e) })
	return e
}

func closeEndpoint(t testing.TB, e *Endpoint) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("close endpoint: %v", err)
	}
}

func to(e *Endpoint) Target { return Target{Addr: e.Addr().String()} }

// echo answers a request with itself.
func echo(_ context.Context, _ Remote, s Stream) {
	b, err := ReadFrame(s, MaxRequest)
	if err != nil {
		s.Cancel()
		return
	}
	if err := WriteFrame(s, b); err != nil {
		s.Cancel()
	}
}

// within is a context that ends after d or with the test.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok, or fails the test after d.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(d)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

func randomBytes(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func logTo(l *lines) func(*Config) {
	return func(c *Config) { c.Log = logging.New(l, new(slog.LevelVar), false) }
}

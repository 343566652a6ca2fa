package relay_test

import (
	"bytes"
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// narrow is a socket of a path that carries packets of so many bytes of UDP, and drops larger ones
// without a word.
type narrow struct {
	net.PacketConn
	raw     syscall.Conn
	largest int
}

// SyscallConn lets QUIC look for larger packets that arrive.
func (n *narrow) SyscallConn() (syscall.RawConn, error) { return n.raw.SyscallConn() }

func (n *narrow) WriteTo(b []byte, addr net.Addr) (int, error) {
	if len(b) > n.largest {
		return len(b), nil
	}
	return n.PacketConn.WriteTo(b, addr)
}

// Connections come about and carry much over paths of 1,280 bytes, of which UDP over IPv6 has
// 1,232, and a label 8 of those.
func TestConnectionsOverPathsOf1280Bytes(t *testing.T) {
	t.Parallel()
	open := func(name string) *transport.Endpoint {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		id, err := identity.NewDerived(bytes.Repeat([]byte{1}, 32), identity.Peer{Federation: "f", Datacenter: "dc", NodeID: name, Name: name, Server: true})
		if err != nil {
			t.Fatal(err)
		}
		e, err := transport.New(transport.Config{Name: name, Conn: &narrow{c, c, 1280 - 40 - 8 - 8}, Identity: id, Protocols: map[string]transport.Protocol{
			"test/1": {Answer: func(_ context.Context, _ transport.Remote, b []byte) []byte { return b }}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close(context.Background()) })
		return e
	}
	a, b := open("a"), open("b")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sent := bytes.Repeat([]byte("x"), 500_000)
	got, err := a.RoundTrip(ctx, transport.Target{Addr: b.Addr().String()}, "test/1", nil, sent)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came back: %v", len(got), err)
	}
}

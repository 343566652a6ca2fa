//go:build linux

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

const (
	// connections is how many connections each port gets with each kind of
	// garbage.
	connections = 8
	// allowance is how much memory garbage may cost at its worst moment.
	allowance = 128 << 20
	// peerDeadline is how long a sender of garbage stays.
	peerDeadline = 500 * time.Millisecond
)

// garbage is what nobody should send.
func garbage() map[string][]byte {
	seeded := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 60_000)
	for i := range noise {
		noise[i] = byte(seeded.Uint32())
	}
	huge := map[string][]byte{
		"noise":       noise,
		"zeros":       make([]byte, 60_000),
		"ones":        bytes.Repeat([]byte{0xFF}, 60_000),
		"nothing":     {},
		"one byte":    {0x06},
		"an HTTP put": []byte("PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\nabc"),
		"HTTP chunks": append([]byte("PUT /v1/kv/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n"), noise...),
		"long header": append([]byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 60_000)...),
		// memberlist's push/pull and user message, with sizes beyond all reason
		"push/pull of 2^31 nodes": append([]byte{6, 0x83, 0xA5}, append([]byte("Nodes"), append([]byte{0xCE, 0x7F, 0xFF, 0xFF, 0xFF, 0xAC}, append([]byte("UserStateLen"), append([]byte{0xCE, 0x7F, 0xFF, 0xFF, 0xFF, 0xA4}, append([]byte("Join"), 0xC3)...)...)...)...)...),
		"user message of 2 GiB":   append([]byte{8, 0x81, 0xAA}, append([]byte("UserMsgLen"), 0xCE, 0x7F, 0xFF, 0xFF, 0xFF)...),
		"encrypted, 4 GiB":        {10, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3},
		"label of nothing":        {244, 255},
	}
	for name, n := range map[string]uint64{"2^31": 1 << 31, "2^32-1": 1<<32 - 1, "2^63": 1 << 63} {
		huge["big endian prefix "+name] = append(binary.BigEndian.AppendUint64(nil, n), noise[:100]...)
		huge["32 bit prefix "+name] = append(binary.BigEndian.AppendUint32(nil, uint32(min(n, 1<<32-1))), noise[:100]...)
		huge["varint prefix "+name] = append(binary.AppendUvarint(nil, n), noise[:100]...)
	}
	for name, code := range map[string]byte{"bin": 0xC6, "str": 0xDB, "array": 0xDD, "map": 0xDF} {
		huge["msgpack "+name+" of 4 GiB"] = []byte{code, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}
		huge["raft rpc with msgpack "+name] = []byte{0, code, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}
	}
	// The header of a DNS message over TCP that promises 65535 questions.
	huge["DNS of 65535 questions"] = []byte{0x00, 0x20, 1, 2, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 3, 'w', 'e', 'b', 0xC0, 0x0C}
	// A QUIC initial packet with a token longer than the packet.
	quic := append([]byte{0xC3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0xBF, 0xFF, 0xFF, 0xFF}, noise[:1200]...)
	huge["QUIC with a long token"] = quic
	// A TLS record that promises more than it may.
	huge["TLS of 64 KiB"] = append([]byte{22, 3, 1, 0xFF, 0xFF, 1, 0xFF, 0xFF, 0xFF}, noise[:1000]...)
	return huge
}

// throw sends garbage to a port over many connections and stays for a while.
func throw(t testing.TB, h *proctest.Host, network, addr string, b []byte) {
	t.Helper()
	var conns []net.Conn
	for range connections {
		c, err := h.DialContext(t.Context(), network, addr)
		if err != nil {
			t.Errorf("%s %s: %v", network, addr, err)
			return
		}
		defer c.Close()
		conns = append(conns, c)
		_ = c.SetDeadline(time.Now().Add(peerDeadline)) // the other end may hang up: that is fine
		if network == "udp" {
			b = b[:min(len(b), 60_000)]
		}
		_, _ = c.Write(b)
	}
	if network == "tcp" { // one of them waits for an answer
		_, _ = conns[0].Read(make([]byte, 1))
	}
}

func TestGarbageOnEveryPort(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	server := start(t, spec{host: h, name: "server", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip}})
	locked := start(t, spec{host: h, name: "locked", dc: "dc3", ip: h.Addr(3, 1), expect: 1, key: keygen(t)})
	proctest.Until(t, patience, "the agents work", func() error { return client.put("k", "v", "") })
	awaitLeader(t, patience, locked)
	ports := map[string][]string{
		"tcp": {"8300", "8301", "8500", "8600"},
		"udp": {"8300", "8301", "8302", "8600"},
	}
	before := map[*node]uint64{}
	nodes := []*node{server, client, locked}
	for _, n := range nodes {
		now, _, err := n.Memory()
		if err != nil {
			t.Fatal(err)
		}
		before[n] = now
	}
	for name, b := range garbage() {
		var senders sync.WaitGroup
		for network, list := range ports {
			for _, port := range list {
				for _, n := range nodes {
					if n == client && (port == "8300" || port == "8302") {
						continue // a client listens there with nothing
					}
					senders.Go(func() { throw(t, h, network, net.JoinHostPort(n.ip, port), b) })
				}
			}
		}
		senders.Wait()
		for _, n := range nodes {
			if n.Exited() {
				t.Fatalf("%s died of %s", n.name, name)
			}
		}
	}
	for _, n := range nodes {
		proctest.Until(t, patience, n.name+" still serves", func() error {
			if err := n.put("after", "v", ""); err != nil {
				return err
			}
			if got := n.dig(t, n.name+".node.consul"); got != n.ip {
				return fmt.Errorf("dig answers %q", got)
			}
			return n.get("after", "v", "")
		})
		now, peak, err := n.Memory()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d MiB before, %d MiB after, %d MiB at most", n.name, before[n]>>20, now>>20, peak>>20)
		if peak > before[n]+allowance {
			t.Errorf("garbage costs %s %d MiB of memory", n.name, (peak-before[n])>>20)
		}
		calm(t, n.name, n.String())
	}
}

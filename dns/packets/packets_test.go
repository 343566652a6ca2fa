package packets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T, network, addr string) *net.UDPConn {
	t.Helper()
	pc, err := new(net.ListenConfig).ListenPacket(t.Context(), network, addr)
	if err != nil && strings.Contains(addr, "::") {
		t.Skip("no IPv6 here:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	return pc.(*net.UDPConn)
}

// echo answers what comes until the socket is closed.
func echo(t *testing.T, conn *net.UDPConn) {
	t.Helper()
	c, err := New(conn)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, one := c.Batch(8, 512), c.Batch(1, 512)
		for {
			n, err := b.Read()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			for i := range b.Packets[:n] {
				p := &b.Packets[i]
				if p.In[0] == 'l' { // late, from a packet of its own
					one.Packets[0].Take(p)
					one.Packets[0].Out = one.Packets[0].In
					one.Write(1)
				} else if p.In[0] != 'n' {
					p.Out = fmt.Appendf(nil, "%s from %s", p.In, p.From())
				}
			}
			if failed := b.Write(n); failed > 0 {
				t.Errorf("%d answers did not leave", failed)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

// An answer comes from the address that was asked, to each client its own.
func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	for _, c := range []struct{ network, listen, ask, from string }{
		{"udp", "127.0.0.1:0", "127.0.0.1", "127.0.0.1"}, {"udp4", "0.0.0.0:0", "127.0.0.7", "127.0.0.1"}, {"udp", "[::]:0", "127.0.0.8", "127.0.0.1"},
		{"udp", "[::]:0", "::1", "::1"}, {"udp", "[::1]:0", "::1", "::1"},
	} {
		t.Run(c.listen+" "+c.ask, func(t *testing.T) {
			conn := listen(t, c.network, c.listen)
			echo(t, conn)
			_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
			for i := range 3 {
				local := ""
				if c.from == "127.0.0.1" {
					local = "127.0.0.1:0"
				}
				var d net.Dialer
				if local != "" {
					d.LocalAddr, _ = net.ResolveUDPAddr("udp", local)
				}
				asker, err := d.DialContext(t.Context(), "udp", net.JoinHostPort(c.ask, port)) // connected: an answer from elsewhere is not taken
				if err != nil {
					t.Fatal(err)
				}
				defer asker.Close()
				if err := asker.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
					t.Fatal(err)
				}
				for _, say := range []string{"n", "l", fmt.Sprint(i)} {
					if _, err := asker.Write([]byte(say)); err != nil {
						t.Fatal(err)
					}
				}
				got := map[string]bool{}
				for range 2 {
					buf := make([]byte, 512)
					n, err := asker.Read(buf)
					if err != nil {
						t.Fatal(err)
					}
					got[string(buf[:n])] = true
				}
				if !got["l"] || !got[fmt.Sprintf("%d from %s", i, c.from)] {
					t.Errorf("answers %v", got)
				}
			}
		})
	}
}

// Siblings share what comes by who sends it, and nobody else can bind beside them.
func TestSiblingsShareAPort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are none")
	}
	first := listen(t, "udp", "127.0.0.1:0")
	more := Siblings(t.Context(), first, 3)
	if len(more) != 3 {
		t.Fatalf("%d siblings", len(more))
	}
	counts := make([]int, 4)
	const askers = 64
	for range askers {
		c, err := net.Dial("udp", first.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for i, conn := range append([]*net.UDPConn{first}, more...) {
		defer conn.Close()
		c, err := New(conn)
		if err != nil {
			t.Fatal(err)
		}
		b := c.Batch(askers, 64)
		for counts[0]+counts[1]+counts[2]+counts[3] < askers {
			if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, err := b.Read()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			counts[i] += n
		}
	}
	if counts[0]+counts[1]+counts[2]+counts[3] != askers || counts[0] == askers {
		t.Errorf("%v packets came of %d", counts, askers)
	}
	if _, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", first.LocalAddr().String()); err == nil {
		t.Error("another socket took the same address")
	}
}

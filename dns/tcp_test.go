package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/op"
)

// gated is a catalog in which names of the datacenter slow are answered when the
// test says so.
func gated(f *fake) (caller op.Caller, entered, open chan struct{}) {
	entered, open = make(chan struct{}, 1000), make(chan struct{})
	return op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
		if c.Header.Datacenter == "slow" {
			entered <- struct{}{}
			select {
			case <-open:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return op.NewReply(op.Meta{}, f.nodes["n1"]), nil
	}), entered, open
}

func dialTCP(t *testing.T, at string) *mdns.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", at, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &mdns.Conn{Conn: conn}
}

func send(t *testing.T, c *mdns.Conn, id int, qname string) {
	t.Helper()
	m := new(mdns.Msg).SetQuestion(qname, mdns.TypeA)
	m.Id = uint16(id)
	if err := c.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *mdns.Conn) *mdns.Msg {
	t.Helper()
	m, err := c.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestQueriesOfOneConnectionAreAnsweredInAnyOrder(t *testing.T) {
	caller, entered, open := gated(newFake())
	s, _ := start(t, caller)
	at, _ := serving(t, s, "127.0.0.1:0")
	c := dialTCP(t, at)
	const slow = 20
	for id := range slow {
		send(t, c, id, "n1.node.slow.consul.")
	}
	for range slow {
		<-entered // all at once
	}
	for id := slow; id < 300; id++ {
		send(t, c, id, "n1.node.consul.")
		if m := receive(t, c); int(m.Id) != id || len(m.Answer) != 1 {
			t.Fatalf("while others are slow, query %d is answered %s", id, m)
		}
	}
	close(open)
	seen := map[uint16]bool{}
	for range slow {
		m := receive(t, c)
		if m.Id >= slow || seen[m.Id] || len(m.Answer) != 1 {
			t.Errorf("answer %s", m)
		}
		seen[m.Id] = true
	}
}

// One connection does not take all there is, and goes on when there is room again.
func TestQueriesOfOneConnectionAreBounded(t *testing.T) {
	caller, entered, open := gated(newFake())
	s, _ := start(t, caller)
	at, _ := serving(t, s, "127.0.0.1:0")
	c := dialTCP(t, at)
	for id := range maxPipelined + 8 {
		send(t, c, id, "n1.node.slow.consul.")
	}
	for range maxPipelined {
		<-entered
	}
	other := dialTCP(t, at)
	send(t, other, 7, "n1.node.consul.")
	if m := receive(t, other); m.Id != 7 {
		t.Errorf("another connection is answered %s", m)
	}
	if n := len(entered); n > 0 {
		t.Errorf("%d queries too many are answered at a time", n)
	}
	close(open)
	for range maxPipelined + 8 {
		receive(t, c)
	}
}

// A client that says that it has no more questions still gets its answers.
func TestAnswersFollowTheLastQuestion(t *testing.T) {
	caller, entered, open := gated(newFake())
	s, _ := start(t, caller)
	at, _ := serving(t, s, "127.0.0.1:0")
	c := dialTCP(t, at)
	for id := range 3 {
		send(t, c, id, "n1.node.slow.consul.")
		<-entered
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(open)
	for range 3 {
		if m := receive(t, c); len(m.Answer) != 1 {
			t.Errorf("answer %s", m)
		}
	}
	if _, err := c.ReadMsg(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestConnectionsThatSpeakNoDNSAreClosed(t *testing.T) {
	s, _ := start(t, newFake())
	at, _ := serving(t, s, "127.0.0.1:0")
	for name, said := range map[string][]byte{
		"HTTP":              []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a long query":      binary.BigEndian.AppendUint16(nil, maxQuery+1),
		"an empty query":    {0, 0},
		"an answer":         append([]byte{0, 12}, 1, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"three bytes of 20": {0, 20, 1, 2, 3},
	} {
		c := dialTCP(t, at)
		if _, err := c.Conn.Write(said); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := c.Conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s is answered", name)
		}
		if took := time.Since(begin); took > 2*tcpTimeout {
			t.Errorf("after %s the connection is open for %s", name, took)
		}
	}
}

// reluctant is a connection that takes a few bytes of an answer and then no more.
type reluctant struct {
	net.Conn
	took []byte
}

func (r *reluctant) Write(b []byte) (int, error) {
	n := min(len(b), 3)
	r.took = append(r.took, b[:n]...)
	return n, os.ErrDeadlineExceeded
}

// After an answer that has left in part nothing is sent: it would be read as the
// rest of that, and each of the others would wait for its time again.
func TestNothingFollowsHalfAnAnswer(t *testing.T) {
	s, _ := start(t, newFake())
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	conn := &reluctant{Conn: ours}
	c := &stream{s: s, conn: conn}
	for range 3 {
		c.send([]byte("an answer"))
	}
	if len(conn.took) != 2 && len(conn.took) != 3 || !c.ended.Load() {
		t.Errorf("after an answer that did not leave, %d bytes were sent, questions are read: %t", len(conn.took), !c.ended.Load())
	}
}

func TestStopEndsConnections(t *testing.T) {
	caller, entered, _ := gated(newFake())
	s, _ := start(t, caller)
	at, stop := serving(t, s, "127.0.0.1:0")
	idle, waiting := dialTCP(t, at), dialTCP(t, at)
	send(t, idle, 1, "n1.node.consul.")
	receive(t, idle)
	send(t, waiting, 1, "n1.node.slow.consul.")
	<-entered
	begin := time.Now()
	if err := stop(); err != nil || time.Since(begin) > stopTimeout {
		t.Errorf("stop: %v after %s", err, time.Since(begin))
	}
	for name, c := range map[string]*mdns.Conn{"idle": idle, "waiting": waiting} {
		for {
			if _, err := c.ReadMsg(); err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: still open", name)
				}
				break
			}
		}
	}
}

func BenchmarkTCP(b *testing.B) {
	s, _ := start(b, newFake())
	at, _ := serving(b, s, "127.0.0.1:0")
	conn, err := net.Dial("tcp", at)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	c := &mdns.Conn{Conn: conn}
	q := new(mdns.Msg).SetQuestion("web.service.consul.", mdns.TypeA)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.WriteMsg(q); err != nil {
			b.Fatal(fmt.Errorf("send: %w", err))
		}
		if _, err := c.ReadMsg(); err != nil {
			b.Fatal(fmt.Errorf("receive: %w", err))
		}
	}
}

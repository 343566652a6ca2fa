package gossip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/internal/logging"
)

// What streams of others bring is bounded together, and given back when they end.
func TestIncomingStreamsShareABudget(t *testing.T) {
	c := &counted{budget: admission.NewBudget(100), m: &poolMetrics{
		streamSent: prometheus.NewCounter(prometheus.CounterOpts{Name: "sent"}), streamReceived: prometheus.NewCounter(prometheus.CounterOpts{Name: "received"})}}
	open := func(size int) net.Conn {
		here, there := net.Pipe()
		s := c.incoming(here)
		t.Cleanup(func() { _, _ = s.Close(), there.Close() })
		go func() { _, _ = there.Write(bytes.Repeat([]byte("x"), size)) }() // ends with the pipe
		return s
	}
	read := func(s net.Conn, size int) error {
		_, err := io.ReadFull(s, make([]byte, size))
		return err
	}
	first, second := open(freeIncoming+80), open(freeIncoming+80)
	if err := read(first, freeIncoming+80); err != nil {
		t.Fatal(err)
	}
	if err := read(second, freeIncoming); err != nil {
		t.Errorf("what is free: %v", err)
	}
	if err := read(second, 80); !errors.Is(err, admission.ErrBudget) {
		t.Errorf("more than the budget: %v", err)
	}
	if _, _ = first.Close(), first.Close(); c.budget.Left() != 100 {
		t.Errorf("%d of 100 are left", c.budget.Left())
	}
	if err := read(open(freeIncoming+80), freeIncoming+80); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

// Strangers who hold connections do not keep members out: there are few of one address.
func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	const each = 4
	gate := admission.New(admission.Bounds{Total: 64, Each: each}, nil)
	pool := func(name, ip string, g *admission.Gate) *Pool {
		p, err := Start(Config{Pool: "lan", NodeName: name, BindAddr: ip, Profile: Local, Gate: g, Log: logging.Discard()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return p
	}
	held := pool("held", "127.0.0.1", gate)
	addr := held.LocalMember().HostPort()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	for i := range 2 * each {
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if i < each {
			continue
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("connection %d of a stranger is open", i)
		}
	}
	if all, _ := gate.Open(); all != each {
		t.Errorf("a stranger holds %d connections, want %d", all, each)
	}
	if n, err := pool("member", "127.0.0.2", nil).Join([]string{addr}); n != 1 || err != nil {
		t.Errorf("a member joins %d: %v", n, err)
	}
}

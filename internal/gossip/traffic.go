package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-metrics"
	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/admission"
)

// counted is a transport that counts the bytes of packets and streams in both
// directions: memberlist counts what it sends, and what one transport of several
// receives. Streams that others open it bounds.
type counted struct {
	memberlist.NodeAwareTransport
	m       *poolMetrics
	gate    *admission.Gate // nil for no bounds
	budget  *admission.Budget
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{} // closed by Shutdown: nobody reads what comes any more
	once    sync.Once
}

var _ memberlist.NodeAwareTransport = (*counted)(nil)

func newCounted(t memberlist.Transport, m *poolMetrics, g *admission.Gate) *counted {
	aware, ok := t.(memberlist.NodeAwareTransport)
	if !ok {
		aware = unaware{t}
	}
	return &counted{NodeAwareTransport: aware, m: m, gate: g, budget: admission.NewBudget(maxIncoming),
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{})}
}

// relay hands on what comes until ctx ends. After Shutdown it drops it, since
// transports wait for what they have taken.
func (c *counted) relay(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-c.NodeAwareTransport.PacketCh():
			c.m.packetReceived.Add(float64(len(p.Buf)))
			select {
			case c.packets <- p:
			case <-c.done:
			}
		case s := <-c.NodeAwareTransport.StreamCh():
			if s = c.incoming(s); s == nil {
				continue
			}
			select {
			case c.streams <- s:
			case <-c.done:
				_ = s.Close() // nobody has used it
			}
		}
	}
}

// PacketCh implements memberlist.Transport.
func (c *counted) PacketCh() <-chan *memberlist.Packet { return c.packets }

// StreamCh implements memberlist.Transport.
func (c *counted) StreamCh() <-chan net.Conn { return c.streams }

// WriteTo implements memberlist.Transport.
func (c *counted) WriteTo(b []byte, addr string) (time.Time, error) {
	return c.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (c *counted) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	at, err := c.NodeAwareTransport.WriteToAddress(b, a)
	if err == nil {
		c.m.packetSent.Add(float64(len(b)))
	}
	return at, err
}

// DialTimeout implements memberlist.Transport.
func (c *counted) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return c.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (c *counted) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	s, err := c.NodeAwareTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return c.stream(s), nil
}

// Shutdown implements memberlist.Transport.
func (c *counted) Shutdown() (err error) {
	c.once.Do(func() {
		close(c.done)
		err = c.NodeAwareTransport.Shutdown()
	})
	return err
}

func (c *counted) stream(s net.Conn) net.Conn {
	return &countedStream{Conn: s, sent: c.m.streamSent, received: c.m.streamReceived}
}

type countedStream struct {
	net.Conn
	sent, received prometheus.Counter
}

// Read implements net.Conn.
func (s *countedStream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.received.Add(float64(n))
	return n, err
}

// Write implements net.Conn.
func (s *countedStream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.sent.Add(float64(n))
	return n, err
}

// unaware is a transport that goes by addresses alone.
type unaware struct{ memberlist.Transport }

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t unaware) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t unaware) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// bindTries is how often any port is looked for that is free for UDP and TCP.
const bindTries = 10

// sockets opens the usual transport on the address of a configuration, and puts
// the port there if any would do.
func sockets(ml *memberlist.Config, labels []metrics.Label) (memberlist.Transport, error) {
	conf := &memberlist.NetTransportConfig{BindAddrs: []string{ml.BindAddr}, BindPort: ml.BindPort, Logger: ml.Logger, MetricLabels: labels}
	tries := 1
	if conf.BindPort == 0 {
		tries = bindTries
	}
	for {
		t, err := memberlist.NewNetTransport(conf)
		if err == nil {
			if ml.BindPort == 0 {
				ml.BindPort = t.GetAutoBindPort()
				ml.AdvertisePort = ml.BindPort
			}
			return t, nil
		}
		if tries--; tries == 0 {
			return nil, fmt.Errorf("open sockets: %w", err)
		}
	}
}

// doubts hears memberlist's log: it tells nobody else when it suspects another
// member, or must tell the others that it lives itself.
type doubts struct {
	log     *log.Logger
	m       *poolMetrics
	reasons *reasons
}

// Write implements io.Writer; each line comes in one call.
func (d doubts) Write(line []byte) (int, error) {
	switch {
	case bytes.HasPrefix(line, []byte("[INFO] memberlist: Suspect ")):
		d.m.suspicions.Inc()
		d.reasons.note(line, "[INFO] memberlist: Suspect ", " has failed, ", "it answered no probe of this node, directly or through others")
	case bytes.HasPrefix(line, []byte("[INFO] memberlist: Marking ")):
		d.reasons.note(line, "[INFO] memberlist: Marking ", " as failed, ", "it was suspected and did not say in time that it lives")
	case bytes.HasPrefix(line, []byte("[WARN] memberlist: Refuting a suspect ")), bytes.HasPrefix(line, []byte("[WARN] memberlist: Refuting a dead ")):
		d.m.refutations.Inc()
	}
	return d.log.Writer().Write(line)
}

func (d doubts) logger() *log.Logger { return log.New(d, d.log.Prefix(), d.log.Flags()) }

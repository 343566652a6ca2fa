package wan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

const (
	// packetQueue is how many packets memberlist may be behind; above it
	// they are dropped, as a socket's buffer does.
	packetQueue = 1024
	// streamQueue is how many streams wait for memberlist; above it they are
	// refused.
	streamQueue = 64
	// idleDrop is long: in a pool that is not large a connection is soon used again, see sparse.go.
	idleDrop = time.Hour
)

// quicTransport is memberlist's transport on a QUIC endpoint.
type quicTransport struct {
	endpoint *transport.Endpoint
	judge    func([]byte) // sees each packet that comes in
	refused  func()       // is told of exchanges that claim too much
	refuse   func(datacenter string) error
	idle     func() time.Duration
	behind   func(ctx context.Context, addr string) ([]string, error) // nil without gateways
	packets  chan *memberlist.Packet
	streams  chan net.Conn

	once sync.Once
	done chan struct{}

	dials    context.Context // of all dials
	endDials context.CancelFunc
}

var _ memberlist.NodeAwareTransport = (*quicTransport)(nil)

func newQUICTransport(e *transport.Endpoint, judge func([]byte), refused func()) *quicTransport {
	c := &quicTransport{
		endpoint: e,
		judge:    judge,
		refused:  refused,
		refuse:   func(string) error { return nil },
		idle:     func() time.Duration { return idleDrop },
		packets:  make(chan *memberlist.Packet, packetQueue),
		streams:  make(chan net.Conn, streamQueue),
		done:     make(chan struct{}),
	}
	c.dials, c.endDials = context.WithCancel(context.Background())
	return c
}

func (c *quicTransport) protocol() transport.Protocol {
	return transport.Protocol{
		Serve:    c.serve,
		Datagram: c.receive,
		Admit: func(p identity.Peer) error {
			if !p.Server {
				return ErrNotServer
			}
			return c.refuse(p.Datacenter)
		},
		PoolSize: 1,
		IdleDrop: c.idle,
	}
}

// serve hands a stream to memberlist and waits until it is closed there.
func (c *quicTransport) serve(_ context.Context, _ transport.Remote, s transport.Stream) {
	t := &served{Stream: s, closed: make(chan struct{})}
	select {
	case c.streams <- newBounded(t, c.refused):
	default:
		s.Cancel()
		return
	}
	select {
	case <-t.closed:
	case <-c.done:
	}
}

func (c *quicTransport) receive(from transport.Remote, b []byte, received time.Time) {
	if len(b) == 0 {
		return // it only asked for an acknowledgement
	}
	c.judge(b)
	select {
	case c.packets <- &memberlist.Packet{Buf: b, From: from.Addr, Timestamp: received}:
	default:
	}
}

// served is a stream that tells when memberlist is done with it.
type served struct {
	transport.Stream
	once   sync.Once
	closed chan struct{}
}

// Close implements net.Conn.
func (s *served) Close() error {
	err := s.Stream.Close()
	s.once.Do(func() { close(s.closed) })
	return err
}

func target(a memberlist.Address) transport.Target {
	return transport.Target{Addr: a.Addr, Name: a.Name}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (c *quicTransport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	local, ok := c.endpoint.Addr().(*net.UDPAddr)
	if !ok {
		return nil, 0, fmt.Errorf("advertise in the WAN: %s is no UDP address", c.endpoint.Addr())
	}
	addr := local.IP
	if ip != "" {
		if addr = net.ParseIP(ip); addr == nil {
			return nil, 0, fmt.Errorf("advertise in the WAN: %q is no IP address", ip)
		}
	}
	if addr.IsUnspecified() {
		return nil, 0, errors.New("advertise in the WAN: an address is needed, the socket is bound to all of them")
	}
	if v4 := addr.To4(); v4 != nil {
		addr = v4
	}
	if port == 0 {
		port = local.Port
	}
	return addr, port, nil
}

// WriteTo implements memberlist.Transport.
func (c *quicTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	return c.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport. It never blocks.
func (c *quicTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if c.ended() || c.refuse(datacenterOf(a.Name)) != nil {
		return time.Now(), nil // as if lost: memberlist would write an error for each packet
	}
	// memberlist may use b again.
	err := c.endpoint.SendDatagram(target(a), Protocol, append([]byte(nil), b...))
	return time.Now(), err
}

var _ Connections = (*quicTransport)(nil)

// Connected implements Connections.
func (c *quicTransport) Connected(a memberlist.Address) bool {
	return c.endpoint.Path(target(a), Protocol).Connections > 0
}

// Open implements Connections.
func (c *quicTransport) Open() int { return len(c.endpoint.Remotes(Protocol)) }

// Anyone implements Connections.
func (c *quicTransport) Anyone(but []string) (memberlist.Address, bool) {
	list := slices.DeleteFunc(c.endpoint.Remotes(Protocol), func(r transport.Remote) bool { return c.refuse(r.Peer.Datacenter) != nil })
	if len(list) == 0 {
		return memberlist.Address{}, false
	}
	others := slices.DeleteFunc(slices.Clone(list), func(r transport.Remote) bool { return slices.Contains(but, r.Addr.String()) })
	if len(others) > 0 {
		list = others
	}
	r := list[rand.IntN(len(list))]
	return memberlist.Address{Addr: r.Addr.String(), Name: r.Peer.FullName()}, true
}

// Dial implements Connections.
func (c *quicTransport) Dial(ctx context.Context, a memberlist.Address) error {
	if err := c.refuse(datacenterOf(a.Name)); err != nil {
		return err
	}
	_, err := c.endpoint.Reach(ctx, target(a), Protocol)
	return err
}

func (c *quicTransport) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// PacketCh implements memberlist.Transport.
func (c *quicTransport) PacketCh() <-chan *memberlist.Packet { return c.packets }

// DialTimeout implements memberlist.Transport.
func (c *quicTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return c.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (c *quicTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if err := c.refuse(datacenterOf(a.Name)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.dials, timeout)
	defer cancel()
	s, err := c.endpoint.Open(ctx, target(a), Protocol)
	if errors.Is(err, transport.ErrNoProtocol) && c.behind != nil {
		s, err = c.openBehind(ctx, a.Addr)
	}
	if err != nil {
		return nil, err
	}
	return newBounded(s, c.refused), nil
}

// behindTried is how many servers behind a gateway are tried.
const behindTried = 3

// openBehind opens a stream to one of the servers that are reached through a gateway.
func (c *quicTransport) openBehind(ctx context.Context, gateway string) (transport.Stream, error) {
	names, err := c.behind(ctx, gateway)
	if err != nil {
		return nil, err
	}
	errs := []error{fmt.Errorf("gateway %s reaches %d servers", gateway, len(names))}
	for _, name := range names[:min(len(names), behindTried)] {
		if err := c.refuse(datacenterOf(name)); err != nil {
			errs = append(errs, err)
			continue
		}
		s, err := c.endpoint.Open(ctx, transport.Target{Addr: gateway, Name: name}, Protocol)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// StreamCh implements memberlist.Transport.
func (c *quicTransport) StreamCh() <-chan net.Conn { return c.streams }

// Shutdown implements memberlist.Transport.
func (c *quicTransport) Shutdown() error {
	c.once.Do(func() {
		close(c.done)
		c.endDials()
		c.endpoint.Remove(Protocol)
	})
	return nil
}

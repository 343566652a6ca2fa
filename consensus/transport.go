package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/internal/logging"
)

// Bounds of the transport.
const (
	maxConnections   = 3 // kept open to a peer while idle
	maxRPCsInFlight  = 2 // more hurts the latency of commits
	transportTimeout = 10 * time.Second
)

// TCPConfig describes a transport over streams.
type TCPConfig struct {
	Listener  net.Listener // accepts peers, closed with the transport. Required
	Advertise net.Addr     // what peers dial; nil is the listener's address
	// Dial connects to a peer and is where identities are checked. Required.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// AddressOf returns where a server is now; when it does not know, the
	// address of the configuration is used. nil never knows.
	AddressOf func(id string) (address string, ok bool)
	Logger    *slog.Logger // nil discards
}

// NewTCPTransport returns Raft's transport over such streams. It takes the
// listener over.
func NewTCPTransport(cfg TCPConfig) (*TCPTransport, error) {
	if cfg.Listener == nil || cfg.Dial == nil {
		return nil, errors.New("consensus: a transport needs a listener and a dial function")
	}
	if cfg.Advertise == nil {
		cfg.Advertise = cfg.Listener.Addr()
	}
	if cfg.Logger == nil {
		cfg.Logger = logging.Discard()
	}
	conns := &openConns{began: map[net.Conn]time.Time{}}
	tc := &raft.NetworkTransportConfig{
		Stream: streams{cfg.Listener, cfg, conns}, MaxPool: maxConnections, MaxRPCsInFlight: maxRPCsInFlight,
		Timeout: transportTimeout, Logger: logging.HCLog(cfg.Logger.With("component", "raft")),
	}
	if cfg.AddressOf != nil {
		tc.ServerAddressProvider = addresses(cfg.AddressOf)
	}
	return &TCPTransport{raft.NewNetworkTransportWithConfig(tc), conns}, nil
}

// TCPTransport is Raft's transport over TCP.
type TCPTransport struct {
	*raft.NetworkTransport
	conns *openConns
}

// renewGrace is how long a connection that is to be replaced has for what it carries:
// many heartbeats, after each of which one that is in use ends by itself.
const renewGrace = 2 * time.Second

// Renew has all connections replaced, those with the longest in use within 2 s: for when
// who is at their other ends has to be proven again. It returns then, or when ctx ends.
func (t *TCPTransport) Renew(ctx context.Context) {
	before := time.Now()
	t.CloseStreams()
	select {
	case <-ctx.Done():
	case <-time.After(renewGrace):
		t.conns.close(before)
	}
}

// openConns are the connections that are open, with when they were made. It is safe for
// concurrent use.
type openConns struct {
	mu    sync.Mutex
	began map[net.Conn]time.Time
}

// openConn takes itself out when it is closed.
type openConn struct {
	net.Conn
	of *openConns
}

func (o *openConns) add(c net.Conn) net.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.began[c] = time.Now()
	return &openConn{c, o}
}

// Close implements net.Conn.
func (c *openConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.began, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// close closes those that were made before a time. Raft makes others.
func (o *openConns) close(before time.Time) {
	o.mu.Lock()
	var old []net.Conn
	for c, began := range o.began {
		if began.Before(before) {
			old = append(old, c)
			delete(o.began, c)
		}
	}
	o.mu.Unlock()
	for _, c := range old {
		_ = c.Close() // it is given up either way
	}
}

// streams is Raft's view of listener and dial.
type streams struct {
	net.Listener
	cfg   TCPConfig
	conns *openConns
}

// Accept implements net.Listener.
func (s streams) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.conns.add(c), nil
}

var _ raft.StreamLayer = streams{}

// Addr implements net.Listener: the address that peers are told.
func (s streams) Addr() net.Addr { return s.cfg.Advertise }

// Dial implements raft.StreamLayer.
func (s streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.cfg.Dial(ctx, string(address))
	if err != nil {
		return nil, fmt.Errorf("dial the server at %s: %w", address, err)
	}
	return s.conns.add(conn), nil
}

// errNoAddress makes Raft use the address of its configuration.
var errNoAddress = errors.New("consensus: the address of the server is not known")

// addresses resolves a server's ID.
type addresses func(id string) (string, bool)

var _ raft.ServerAddressProvider = addresses(nil)

// ServerAddr implements raft.ServerAddressProvider.
func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if address, ok := a(string(id)); ok {
		return raft.ServerAddress(address), nil
	}
	return "", errNoAddress
}

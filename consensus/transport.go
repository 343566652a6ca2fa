package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
func NewTCPTransport(cfg TCPConfig) (raft.Transport, error) {
	if cfg.Listener == nil || cfg.Dial == nil {
		return nil, errors.New("consensus: a transport needs a listener and a dial function")
	}
	if cfg.Advertise == nil {
		cfg.Advertise = cfg.Listener.Addr()
	}
	if cfg.Logger == nil {
		cfg.Logger = logging.Discard()
	}
	tc := &raft.NetworkTransportConfig{
		Stream: streams{cfg.Listener, cfg}, MaxPool: maxConnections, MaxRPCsInFlight: maxRPCsInFlight,
		Timeout: transportTimeout, Logger: logging.HCLog(cfg.Logger.With("component", "raft")),
	}
	if cfg.AddressOf != nil {
		tc.ServerAddressProvider = addresses(cfg.AddressOf)
	}
	return raft.NewNetworkTransportWithConfig(tc), nil
}

// streams is Raft's view of listener and dial.
type streams struct {
	net.Listener
	cfg TCPConfig
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
	return conn, nil
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

package transport

import (
	"context"
	"errors"
	"net"

	"github.com/quic-go/quic-go"
)

// accept takes connections until the endpoint stops.
func (e *Endpoint) accept(ctx context.Context) {
	for {
		qc, err := e.listener.Accept(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, quic.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				e.log.Error("Stopped accepting connections", "error", err)
			}
			return
		}
		e.welcome(qc)
	}
}

// welcome verifies one accepted connection and starts it.
func (e *Endpoint) welcome(qc *quic.Conn) {
	protocol := qc.ConnectionState().TLS.NegotiatedProtocol
	peer, err := e.admit(qc, protocol, nil)
	if err != nil {
		e.warnRefused("Refused a peer", qc.RemoteAddr(), protocol, err)
		return
	}
	proto, _ := e.protocol(protocol)
	c := &conn{e: e, qc: qc, protocol: protocol, serve: proto,
		remote: Remote{Peer: peer, Addr: qc.RemoteAddr()}, out: make(chan []byte, datagramQueue)}
	if err := e.start(c); err != nil {
		return
	}
	e.heard(qc.RemoteAddr().String(), protocol)
}

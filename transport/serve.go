package transport

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/legate-project/legate/transport/entrance"
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
	entrance.Accepted(qc)
	protocol := qc.ConnectionState().TLS.NegotiatedProtocol
	peer, err := e.admit(qc, protocol, nil)
	if err != nil {
		e.warnRefused("Refused a peer", qc.RemoteAddr(), protocol, err)
		return
	}
	entrance.Proven(qc)
	c := e.verified(qc, protocol, peer)
	if err := e.start(c); err != nil {
		return
	}
	e.heard(c)
}

// handshakeFailed is told of connections from outside that ended before they
// were accepted: mostly the peer did not accept this end.
func (e *Endpoint) handshakeFailed(from net.Addr, cause error) {
	err := connError(cause, false)
	var tr *quic.TransportError
	crypto := errors.As(err, &tr) && tr.ErrorCode.IsCryptoError()
	if tr != nil && tr.Remote && tr.ErrorCode == quic.ApplicationErrorErrorCode {
		// Before the end of the handshake the peer may not give its reason
		// (RFC 9000 section 10.2.3); there is only one that it can have.
		err = fmt.Errorf("%w: the peer does not accept this node's identity", ErrRefused)
	}
	e.metrics.handshakeFailed(dialFailure(err))
	if errors.Is(err, ErrRefused) || crypto && !errors.Is(err, entrance.ErrNobody) { // whoever is to give it an identity says why not
		e.warnRefused("Handshake failed", from, "", err)
	}
}

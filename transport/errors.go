package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/quic-go/quic-go"

	"github.com/legate-project/legate/transport/identity"
)

// What a caller can tell about a call that failed. An error of RoundTrip or
// Open is exactly one of ErrUnreachable, ErrRefused, ErrLost, ErrTooLarge or
// ErrClosed; if the caller's context ended, it is that context's error too.
var (
	// ErrUnreachable: the peer could not be reached, or was too busy to
	// begin. The request was surely not executed: try another peer.
	ErrUnreachable = errors.New("peer is unreachable")
	// ErrRefused: one side does not accept the other's identity. The request
	// was surely not executed and trying again soon is in vain. The error is
	// also one of the reasons below.
	ErrRefused = errors.New("connection refused")
	// ErrLost: the connection or the caller's patience ended after the
	// request was written. It may have been executed.
	ErrLost = errors.New("answer lost, the request may have been executed")
	// ErrTooLarge: a frame or datagram is longer than allowed.
	ErrTooLarge = errors.New("message is too large")
	// ErrClosed: the endpoint is closed.
	ErrClosed = errors.New("transport endpoint is closed")
)

// Why a peer is refused whose identity is a valid one; those of package identity
// say what else is wrong.
var (
	ErrWrongNode   = errors.New("another node answers at this address")
	ErrNotAdmitted = errors.New("not admitted to this protocol")
	ErrNoProtocol  = errors.New("protocol is not served")
)

// Application error codes of Legate's QUIC connections and streams. They
// are part of the protocol: append only.
const (
	codeNone            = 0x00
	codeShutdown        = 0x01
	codeIdle            = 0x02 // closed because nothing used it; nothing was in flight
	codeCancelled       = 0x03 // stream: who asked gave up
	codeBusy            = 0x04 // stream: not begun, too many already
	codeDuplicate       = 0x06 // stream: the same request is answered on another connection
	codeDeaf            = 0x05 // the peer acknowledges nothing: it will hardly read this
	codeEnded           = 0x07 // the endpoint is closed: nobody answers there
	codeRefused         = 0x10 // and the reasons that follow
	codeBadCertificate  = 0x11
	codeWrongAuthority  = 0x12
	codeWrongFederation = 0x13
	codeWrongNode       = 0x14
	codeNotAdmitted     = 0x15
	codeNoProtocol      = 0x16
	codeWrongServerName = 0x17
)

// maxReason bounds the text of a refusal, ours and the peer's, in bytes.
const maxReason = 256

// alertNoApplicationProtocol is TLS alert 120 (RFC 7301) as a QUIC error.
const alertNoApplicationProtocol = 0x100 + 120

// alertInternalError is TLS alert 80, which a peer sends that has no certificate (entrance.ErrNobody).
const alertInternalError = 0x100 + 80

var errNoIdentity = errors.New("the peer has no identity yet, or not any more; if it is a gateway, its log says why")

// reason pairs a code with its error and its value of the metric's label.
type reason struct {
	code  quic.ApplicationErrorCode
	err   error
	label string
}

func reasons() []reason {
	return []reason{
		{codeBadCertificate, identity.ErrBadCertificate, "bad_certificate"},
		{codeWrongAuthority, identity.ErrWrongAuthority, "wrong_authority"},
		{codeWrongFederation, identity.ErrWrongFederation, "wrong_federation"},
		{codeWrongServerName, identity.ErrWrongServerName, "wrong_server_name"},
		{codeWrongNode, ErrWrongNode, "wrong_node"},
		{codeNotAdmitted, ErrNotAdmitted, "not_admitted"},
		{codeNoProtocol, ErrNoProtocol, "no_protocol"},
	}
}

// refusalOf returns code, label for the error of a Verify or Admit.
func refusalOf(err error) reason {
	for _, r := range reasons() {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return reason{codeRefused, ErrRefused, "other"}
}

// connError translates why a connection ended into one of the errors above.
// written says whether a request may have reached the peer.
func connError(err error, written bool) error {
	for _, kind := range []error{ErrUnreachable, ErrRefused, ErrLost, ErrTooLarge, ErrClosed} {
		if errors.Is(err, kind) {
			return err
		}
	}
	var app *quic.ApplicationError
	if errors.As(err, &app) {
		return appError(app, written)
	}
	var tr *quic.TransportError
	if errors.As(err, &tr) {
		switch {
		case tr.ErrorCode == alertNoApplicationProtocol:
			return fmt.Errorf("%w: %w", ErrRefused, ErrNoProtocol)
		case tr.Remote && tr.ErrorCode == alertInternalError:
			return fmt.Errorf("%w: %w", ErrUnreachable, errNoIdentity)
		case tr.ErrorCode == quic.ConnectionRefused:
			return fmt.Errorf("%w: peer accepts no more connections", ErrUnreachable)
		}
	}
	var se *quic.StreamError
	if errors.As(err, &se) && se.Remote && se.ErrorCode == codeBusy {
		return fmt.Errorf("%w: peer serves too many requests", ErrUnreachable)
	}
	if se != nil && se.Remote && se.ErrorCode == codeDuplicate {
		return fmt.Errorf("%w: %w", ErrLost, errDuplicateTaken)
	}
	if written {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// closedHere reports whether this side closed the connection that ended so.
func closedHere(cause error) bool {
	var app *quic.ApplicationError
	return errors.As(cause, &app) && !app.Remote
}

// gone reports whether a connection ended because its peer was given up here, or says
// that it ends.
func gone(cause error) bool {
	app, ok := errors.AsType[*quic.ApplicationError](cause)
	return ok && (!app.Remote && app.ErrorCode == codeDeaf || app.Remote && app.ErrorCode == codeEnded)
}

func appError(app *quic.ApplicationError, written bool) error {
	if app.ErrorCode >= codeRefused {
		text := app.ErrorMessage
		if len(text) > maxReason {
			text = text[:maxReason]
		}
		for _, r := range reasons() {
			if r.code == app.ErrorCode {
				return fmt.Errorf("%w: %w: %q", ErrRefused, r.err, text)
			}
		}
		return fmt.Errorf("%w: %q", ErrRefused, text)
	}
	// The peer closes an idle connection only with nothing in flight: a
	// request that crossed the closing was never seen.
	if !written || app.Remote && app.ErrorCode == codeIdle {
		return fmt.Errorf("%w: %w", ErrUnreachable, app)
	}
	return fmt.Errorf("%w: %w", ErrLost, app)
}

// ended returns the context's error joined with kind.
func ended(ctx context.Context, kind error) error {
	return fmt.Errorf("%w: %w", kind, ctx.Err())
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/relay"
)

// Protocol is the ALPN of sessions.
const Protocol = version.Relay

// maxMessage bounds what a peer may ask with, in bytes.
const maxMessage = 4096

// What one end of a session asks the other.
const (
	// doRegister has a gateway carry packets to who asks; repeated while it should.
	doRegister = "register"
	// doOpen asks a gateway for a flow to a server.
	doOpen = "open"
	// doOffer tells a server of a flow to it.
	doOffer = "offer"
	// doClose says that a flow has ended, by the label that who is told has chosen.
	doClose = "close"
	// doList asks a gateway who is registered.
	doList = "list"
	// doPaths asks a server how it reaches datacenters.
	doPaths = "paths"
	// doPing asks for nothing, or how far a server is.
	doPing = "ping"
)

// request is a message of a session, in JSON: fields may be added.
type request struct {
	Do string
	// Server is whom a flow leads to, or who opened it: node.datacenter.
	Server string `json:",omitempty"`
	// Addr is where a server can be dialled that is not registered, host and port, and Via are
	// gateways that it is registered with.
	Addr string   `json:",omitempty"`
	Via  []string `json:",omitempty"`
	// Through are the servers, node.datacenter, that carry the flow after who is asked, in order.
	Through []string `json:",omitempty"`
	// Datacenters are those that paths are asked for.
	Datacenters []string `json:",omitempty"`
	// Hops is how many gateways the flow goes through already.
	Hops int `json:",omitempty"`
	// Label is what packets to who asks are to have.
	Label relay.Label `json:",omitempty,string"`
}

// answer is that to a request.
type answer struct {
	Code string `json:",omitempty"` // empty if it was done
	Text string `json:",omitempty"` // why it was not
	// Label is what packets to who answers are to have.
	Label relay.Label `json:",omitempty,string"`
	// Observed is where who asks was seen.
	Observed string `json:",omitempty"`
	// RTT is the round trip to the server that a ping names, if it is registered, in nanoseconds.
	RTT time.Duration `json:",omitempty"`
	// Servers are those that are registered.
	Servers []string `json:",omitempty"`
	// Links are how datacenters are reached, and Carries says whether flows of others are carried
	// there.
	Links   []Link `json:",omitempty"`
	Carries bool   `json:",omitempty"`
}

// Why a request is refused.
var (
	ErrNotCarried   = errors.New("it carries nothing for others")
	ErrNotHere      = errors.New("no such server is registered")
	ErrTooMany      = errors.New("too many flows, sessions or questions")
	ErrNotAdmitted  = errors.New("the federation refuses it")
	ErrNotConnected = errors.New("the server behind it does not answer")
	errBadRequest   = errors.New("the request is not understood")
)

// codes are the refusals as they travel.
func codes() map[string]error {
	return map[string]error{"not-carried": ErrNotCarried, "not-here": ErrNotHere, "too-many": ErrTooMany, "not-admitted": ErrNotAdmitted,
		"not-connected": ErrNotConnected, "bad-request": errBadRequest}
}

// refusal is an answer that says why nothing was done.
func refusal(err error) answer {
	for code, kind := range codes() {
		if errors.Is(err, kind) {
			return answer{Code: code, Text: err.Error()}
		}
	}
	return answer{Code: "failed", Text: err.Error()}
}

// err is the error that an answer stands for. Its text comes from a peer.
func (a answer) err() error {
	if a.Code == "" {
		return nil
	}
	return &refused{codes()[a.Code], a.Text}
}

// refused is the error of a request that the other end refused.
type refused struct {
	kind error  // nil for one that is not known here
	text string // the peer's
}

// Error implements error.
func (e *refused) Error() string { return fmt.Sprintf("it answers %.200q", e.text) }

// Unwrap is the kind.
func (e *refused) Unwrap() error { return e.kind }

// ask sends a request to who is at an address, whatever the connection.
func (r *Relay) ask(ctx context.Context, to transport.Target, q request) (answer, error) {
	return asked(to.String(), q, func(b []byte) ([]byte, error) { return r.cfg.Endpoint.RoundTrip(ctx, to, Protocol, nil, b) })
}

// ask sends a request to the other end of a session, over its connection: there is what the
// other end knows of the session.
func (s *session) ask(ctx context.Context, q request) (answer, error) {
	return asked(s.remote.Peer.FullName(), q, func(b []byte) ([]byte, error) { return s.remote.Link.RoundTrip(ctx, b) })
}

// asked sends a request and reads the answer.
func asked(whom string, q request, send func([]byte) ([]byte, error)) (answer, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	if b, err = send(b); err != nil {
		return answer{}, err
	}
	var a answer
	if len(b) > 64*maxMessage {
		return answer{}, fmt.Errorf("ask %s: an answer of %d bytes", whom, len(b))
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", whom, err)
	}
	return a, a.err()
}

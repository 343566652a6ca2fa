package certificates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// EnrollProtocol is the ALPN by which client agents ask servers for a certificate.
const EnrollProtocol = version.Enroll

// Times of asking for a certificate.
const (
	enrollTimeout = 10 * time.Second
	firstPause    = 250 * time.Millisecond // after a failure, doubled after each further one
	lastPause     = time.Minute
	// quietFailures are those in a row that only mean that the agent, or its server, has
	// just started.
	quietFailures = 4
)

// granted is the answer to a request.
type granted struct {
	Certificates [][]byte `json:"certificates,omitempty"` // DER, the client's first
	Error        string   `json:"error,omitempty"`
}

// Grants has this server answer client agents that admit lets in and that ask for a
// certificate.
func (c *Certificates) Grants(admit func(identity.Peer) error) transport.Protocol {
	return transport.Protocol{Admit: admit, From: identity.Newcomer, Answer: func(_ context.Context, from transport.Remote, request []byte) []byte {
		var answer granted
		var err error
		if answer.Certificates, err = c.identity.Grant(request, from.Peer); err != nil {
			answer.Error = err.Error()
			c.log.Warn("a client agent gets no certificate", "peer", from.Peer.String(), "error", err)
		}
		b, err := json.Marshal(answer)
		if err != nil {
			return nil // its fields are text and bytes
		}
		return b
	}}
}

// Caller calls other agents; transport.Endpoint is one.
type Caller interface {
	RoundTrip(ctx context.Context, t transport.Target, protocol string, head, body []byte) ([]byte, error)
}

// Enrollment is whom a client agent asks for its certificate.
type Enrollment struct {
	Calls   Caller
	Servers func() []transport.Target // those that are known now
	// Granted is called after each certificate that came.
	Granted func()
}

// Enroll asks servers for a certificate, and again when two thirds of its time are
// over, until ctx ends.
func (c *Certificates) Enroll(ctx context.Context, e Enrollment) {
	for failures := 0; ; {
		pause, err := c.enroll(ctx, e)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			e.Granted()
		default:
			pause = min(lastPause, firstPause<<min(failures, 10))
			pause += time.Duration(rand.Int64N(int64(pause/4) + 1)) // all agents may have lost the same server
			if failures++; failures > quietFailures {
				c.log.Warn("no server has given this agent a certificate (auto_encrypt)", "error", err, "again_in", pause.Round(time.Millisecond).String())
			}
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// enroll asks one server after another, and returns how long to wait before it asks
// again.
func (c *Certificates) enroll(ctx context.Context, e Enrollment) (time.Duration, error) {
	servers := e.Servers()
	if len(servers) == 0 {
		return 0, errors.New("no server is known")
	}
	request, key, err := identity.NewRequest()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, i := range rand.Perm(len(servers)) {
		until, err := c.ask(ctx, e.Calls, servers[i], func(certs [][]byte) (time.Time, error) { return c.identity.Take(certs, key) }, request)
		if err == nil {
			c.log.Info("a server has given this agent a certificate", "server", servers[i].Name, "until", until.UTC().Format(time.RFC3339))
			return max(until.Sub(c.now())*2/3, firstPause), nil
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

func (c *Certificates) ask(ctx context.Context, calls Caller, t transport.Target, take func([][]byte) (time.Time, error), request []byte) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	b, err := calls.RoundTrip(ctx, t, EnrollProtocol, nil, request)
	if err != nil {
		if errors.Is(err, transport.ErrNoProtocol) {
			return time.Time{}, fmt.Errorf("%s gives no certificates: auto_encrypt.allow_tls is not set there", t)
		}
		return time.Time{}, err
	}
	var answer granted
	if err := json.Unmarshal(b, &answer); err != nil {
		return time.Time{}, fmt.Errorf("the answer of %s cannot be read: %w", t, err)
	}
	if answer.Error != "" {
		return time.Time{}, fmt.Errorf("%s gives no certificate: %q", t, answer.Error)
	}
	until, err := take(answer.Certificates)
	if err != nil {
		return time.Time{}, fmt.Errorf("the certificate of %s: %w", t, err)
	}
	return until, nil
}

// Package gateways is how a gateway gets what it is between datacenters: a client agent that
// is one has only the key of its LAN pool, so it asks a server of its datacenter for
// certificates of the role gateway, and for the authorities that it knows others by.
//
// It promises that a server gives them to nobody who could make a server of himself with the
// keys that he has, and that a gateway learns within some seconds of keys that change. What
// a gateway may do with them says package transport (Protocol.Gateways).
package gateways

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/identity"
)

// Protocol is the ALPN by which gateways ask servers of their datacenter.
const Protocol = version.Gateway

const (
	// maxQuestion bounds what a gateway may ask with, in bytes.
	maxQuestion = 8 << 10
	// warnEvery is the mean time between lines about gateways that are given nothing, which
	// ask again soon; warnBurst is how many may come at once.
	warnEvery = time.Minute
	warnBurst = 4
	// maxRemoved bounds the removed datacenters that a gateway is told of, maxName the name of one, in bytes.
	maxRemoved = 256
	maxName    = 63
)

// question is what a gateway asks, in JSON: fields may be added.
type question struct {
	// Token shows that the gateway may write its node.
	Token string `json:",omitempty"`
	// Request (PKCS #10) proves that it has the key that it asks for.
	Request []byte
	// Holds is the State of the answer that it has; empty asks for a new one.
	Holds string `json:",omitempty"`
}

// answer is that to a question. Either Error is set, or State and, unless the gateway holds
// that already, what it stands for.
type answer struct {
	Error string `json:",omitempty"`
	State string `json:",omitempty"`
	// Certificates are the gateway's, one under each of the Authorities; DER, the authority
	// of the key in use first.
	Certificates [][]byte `json:",omitempty"`
	Authorities  [][]byte `json:",omitempty"`
	// Delegation is the gateway's certificate under the server's from files, with what is
	// above that.
	Delegation [][]byte `json:",omitempty"`
	// Removed are the datacenters that the federation refuses, in each answer: those that were removed last,
	// 256 at most. Servers of versions before this do not say.
	Removed *[]string `json:",omitempty"`
}

// Errors of servers that give nothing; they say what to do.
var (
	errOneKey = errors.New("the WAN pool and the LAN pool of this datacenter have a gossip key in common, so with what a gateway knows anybody could be a server of any datacenter: " +
		"give the WAN pool a key of its own (encrypt_wan, legate keyring -wan; docs/reach.md), or have certificates from files alone say who is a server")
	errNotWAN = errors.New("this server takes no part in the federation (ports.serf_wan)")
)

// Desk is the server's side.
type Desk struct {
	// LAN and WAN are the keys that this server has, WAN nil if it takes no part in the
	// federation.
	LAN, WAN *gossip.Keyring
	// Keys are the authorities of WAN, nil with it.
	Keys *identity.Derived
	// Files is the identity under certificates from files.
	Files *identity.Delegated
	// Caller says what a token may do: this server.
	Caller op.Caller
	// Removed are the datacenters that the federation refuses, the last one first; nil for none.
	Removed func() []string
	Log     *slog.Logger
}

// Protocol serves gateways that admit lets in.
func (d Desk) Protocol(admit func(identity.Peer) error) transport.Protocol {
	warn := rate.NewLimiter(rate.Every(warnEvery), warnBurst)
	return transport.Protocol{Admit: admit, PoolSize: 1, Answer: func(ctx context.Context, from transport.Remote, b []byte) []byte {
		a, err := d.answer(ctx, from.Peer, b)
		if err != nil {
			a = answer{Error: err.Error()}
			if warn.Allow() {
				d.Log.Warn("a gateway gets no identity between datacenters", "peer", from.Peer.String(), "error", err)
			}
		}
		out, err := json.Marshal(a)
		if err != nil {
			return nil // its fields are text and bytes
		}
		return out
	}}
}

func (d Desk) answer(ctx context.Context, from identity.Peer, b []byte) (answer, error) {
	var q question
	if len(b) > maxQuestion || json.Unmarshal(b, &q) != nil {
		return answer{}, errors.New("the question is not understood")
	}
	h := op.Header{Token: q.Token, Consistency: op.Stale}
	if _, _, err := status.Gateway.Call(ctx, d.Caller, h, &status.GatewayRequest{Node: from.Name}); err != nil {
		return answer{}, fmt.Errorf("a gateway has to have node:write on %q, by its agent token: %w", from.Name, err)
	}
	keys, files, err := d.gives()
	if err != nil {
		return answer{}, err
	}
	a := answer{State: d.state(keys, files), Removed: &[]string{}}
	if d.Removed != nil {
		all := d.Removed()
		*a.Removed = append(*a.Removed, all[:min(len(all), maxRemoved)]...) // never null
	}
	if q.Holds == a.State {
		return a, nil
	}
	from.Gateway = true
	if keys {
		if a.Certificates, a.Authorities, err = d.Keys.Bestow(q.Request, from); err != nil {
			return answer{}, err
		}
	}
	if files {
		if a.Delegation, err = d.Files.Grant(q.Request, from); err != nil {
			return answer{}, err
		}
	}
	return a, nil
}

// gives says which kinds of certificates are given. Those of the WAN pool's keys are only if
// the gateway, which has those of the LAN pool, could not make others; where a server is
// believed by files alone, such keys make none.
func (d Desk) gives() (keys, files bool, err error) {
	files = d.Files.Issues()
	switch {
	case d.WAN == nil:
		return false, false, errNotWAN
	case !d.WAN.Shares(d.LAN):
		return true, files, nil
	case files && d.Files.FilesAlone():
		return false, true, nil
	}
	return false, false, errOneKey
}

// state stands for what is given: all servers with the same keys and kinds have the same.
func (d Desk) state(keys, files bool) string {
	h := sha256.New()
	fmt.Fprintf(h, "%t %t", keys, files)
	if keys {
		for _, a := range d.Keys.Authorities() {
			h.Write(a)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}

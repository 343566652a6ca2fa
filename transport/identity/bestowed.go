package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Bestow makes certificates of a gateway of this server's datacenter, one under each
// authority, and returns them with the authorities, which are public, the one in use
// first in both. They are valid for 72 h at most.
func (d *Derived) Bestow(request []byte, p Peer) (certificates, authorities [][]byte, err error) {
	pub, err := requested(d.self, request, p)
	if err != nil {
		return nil, nil, err
	}
	if !p.Gateway {
		return nil, nil, fmt.Errorf("the authorities of the gossip key certify gateways, which %s is not", p)
	}
	now := time.Now()
	for _, a := range d.state.Load().by {
		raw, err := certify(p, pub, issuer{cert: a.cert, key: a.key, from: now.Add(-clockSkew), to: now.Add(grantLife)})
		if err != nil {
			return nil, nil, err
		}
		certificates, authorities = append(certificates, raw), append(authorities, a.cert.Raw)
	}
	return certificates, authorities, nil
}

// Authorities are the certificates of the authorities, of the key in use first.
func (d *Derived) Authorities() (list [][]byte) {
	for _, a := range d.state.Load().by {
		list = append(list, a.cert.Raw)
	}
	return list
}

// Bestowed is an identity without a key that others are made with: a server gave it
// (Derived.Bestow), for a while. It is none before that, and after its end. It is safe for
// concurrent use.
type Bestowed struct {
	self  Peer
	now   func() time.Time
	state atomic.Pointer[bestowed]
}

type bestowed struct {
	cert      *tls.Certificate
	authority *x509.Certificate // the one in use
	roots     *x509.CertPool
	until     time.Time
}

// NewBestowed makes an identity that is none before Take.
func NewBestowed(self Peer) *Bestowed { return &Bestowed{self: self, now: time.Now} }

// Certificate is what this end shows; nil while it is nobody.
func (b *Bestowed) Certificate() *tls.Certificate {
	if s := b.state.Load(); s != nil && b.now().Before(s.until) {
		return s.cert
	}
	return nil
}

// Until is when it ends, zero before Take.
func (b *Bestowed) Until() time.Time {
	if s := b.state.Load(); s != nil {
		return s.until
	}
	return time.Time{}
}

// Authority returns the certificate of the authority in use, nil before Take.
func (b *Bestowed) Authority() *x509.Certificate {
	if s := b.state.Load(); s != nil {
		return s.authority
	}
	return nil
}

// Verify says who the certificates belong to, or why they are refused.
func (b *Bestowed) Verify(rawCerts [][]byte, _ Direction) (Peer, error) {
	s := b.state.Load()
	if s == nil {
		return Peer{}, fmt.Errorf("%w: no server has told this gateway by which others are known", ErrWrongAuthority)
	}
	return under(s.roots, rawCerts, b.self)
}

// Take has this end be what a server gave for the key, and returns until when. It refuses
// what others would.
func (b *Bestowed) Take(certificates, authorities [][]byte, key ed25519.PrivateKey) (until time.Time, err error) {
	if n := len(authorities); n == 0 || n > maxKeys || len(certificates) != n {
		return time.Time{}, fmt.Errorf("%w: %d certificates under %d authorities were given", ErrBadCertificate, len(certificates), n)
	}
	above, err := parseAll(authorities)
	if err != nil {
		return time.Time{}, err
	}
	next := &bestowed{authority: above[0], roots: x509.NewCertPool(), cert: &tls.Certificate{Certificate: certificates, PrivateKey: key}}
	for _, a := range above {
		if !a.IsCA {
			return time.Time{}, fmt.Errorf("%w: %s is no authority", ErrBadCertificate, a.Subject)
		}
		next.roots.AddCert(a)
	}
	leaves, err := parseAll(certificates)
	if err != nil {
		return time.Time{}, err
	}
	for i, leaf := range leaves {
		p, err := under(next.roots, certificates[i:i+1], b.self)
		switch {
		case err != nil:
			return time.Time{}, err
		case p != b.self || !key.Public().(ed25519.PublicKey).Equal(leaf.PublicKey):
			return time.Time{}, fmt.Errorf("%w: it was given to %s, or for another key", ErrBadCertificate, p)
		case leaf.NotAfter.Sub(leaf.NotBefore) > grantLife+2*clockSkew:
			return time.Time{}, errors.New("it is valid for longer than a gateway's may be")
		}
		if until = leaf.NotAfter; next.until.IsZero() || until.Before(next.until) {
			next.until = until
		}
	}
	b.state.Store(next)
	return next.until, nil
}

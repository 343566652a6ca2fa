// Package identity says who stands at an end of a connection: a Peer, written as
// a URI into an X.509 certificate, and how each end shows its own and judges the
// other's.
//
// It promises that Derived lets in only who holds one of its keys, and that two of
// them accept each other as long as they have a key in common, whichever each
// uses; that Delegated lets in only who holds the key of a certificate of one of
// its authorities; and that all kinds refuse another federation. SelfSigned proves
// nothing. It keeps no certificate on disk, knows no revocation, and does not say
// what a Peer may do.
package identity

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Peer is who stands at an end of a connection, as its certificate says.
type Peer struct {
	Federation string // name of the federation; may be empty
	Datacenter string
	NodeID     string
	Name       string // node name without the datacenter
	Server     bool   // false: a client agent
	// Gateway is what a client agent that is a gateway is between datacenters: it agrees on
	// which packets it carries, and nothing else (transport.Protocol.Gateways).
	Gateway bool
}

// FullName is the name in the WAN pool: node.datacenter.
func (p Peer) FullName() string { return p.Name + "." + p.Datacenter }

func (p Peer) role() string {
	switch {
	case p.Server:
		return roleServer
	case p.Gateway:
		return roleGateway
	}
	return roleClient
}

// String is for log lines and errors.
func (p Peer) String() string {
	return fmt.Sprintf("%s %q (id %q) of datacenter %q, federation %q",
		p.role(), p.Name, p.NodeID, p.Datacenter, p.Federation)
}

// Why an identity is refused.
var (
	ErrBadCertificate  = errors.New("certificate carries no valid identity")
	ErrWrongAuthority  = errors.New("certificate is not signed with a key of this federation")
	ErrWrongFederation = errors.New("certificate is of another federation")
	ErrWrongServerName = errors.New("certificate is not that of a server")
)

const (
	scheme      = "legate"
	form        = "v1"
	roleServer  = "server"
	roleClient  = "client"
	roleGateway = "gateway"
	// maxURI bounds the URI that carries a Peer, in bytes.
	maxURI = 1024
	// clockSkew is how far the clocks of two nodes may be apart where certificates are
	// an operator's.
	clockSkew = time.Hour
)

// uriOf is the form in which a Peer stands in its certificate.
func uriOf(p Peer) (*url.URL, error) {
	parts := []string{form, p.Federation, p.Datacenter, p.NodeID, p.Name, p.role()}
	for i, s := range parts {
		parts[i] = url.PathEscape(s)
	}
	text := scheme + ":///" + strings.Join(parts, "/")
	if len(text) > maxURI {
		return nil, fmt.Errorf("make identity of %q: names are longer than %d bytes together", p.Name, maxURI)
	}
	return url.Parse(text)
}

// parseURI is the reverse of uriOf.
func parseURI(u *url.URL) (Peer, error) {
	if u.Scheme != scheme || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Peer{}, ErrBadCertificate
	}
	path := u.EscapedPath()
	if len(path) > maxURI {
		return Peer{}, ErrBadCertificate
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) != 6 || parts[0] != form {
		return Peer{}, ErrBadCertificate
	}
	for i, s := range parts {
		text, err := url.PathUnescape(s)
		if err != nil {
			return Peer{}, fmt.Errorf("%w: %w", ErrBadCertificate, err)
		}
		parts[i] = text
	}
	p := Peer{Federation: parts[1], Datacenter: parts[2], NodeID: parts[3], Name: parts[4], Server: parts[5] == roleServer, Gateway: parts[5] == roleGateway}
	if p.role() != parts[5] || p.Datacenter == "" || p.Name == "" {
		return Peer{}, ErrBadCertificate
	}
	return p, nil
}

// readLeaf parses the leaf and the Peer it claims to be; it proves nothing.
func readLeaf(rawCerts [][]byte) (*x509.Certificate, Peer, error) {
	if len(rawCerts) == 0 {
		return nil, Peer{}, fmt.Errorf("%w: none was sent", ErrBadCertificate)
	}
	leaf, err := x509.ParseCertificate(rawCerts[0])
	if err != nil {
		return nil, Peer{}, fmt.Errorf("%w: %w", ErrBadCertificate, err)
	}
	if len(leaf.URIs) != 1 {
		return nil, Peer{}, fmt.Errorf("%w: %d URIs in it", ErrBadCertificate, len(leaf.URIs))
	}
	p, err := parseURI(leaf.URIs[0])
	return leaf, p, err
}

func sameFederation(self, other Peer) error {
	if self.Federation == other.Federation {
		return nil
	}
	return fmt.Errorf("%w: %s, but this is federation %q", ErrWrongFederation, other, self.Federation)
}

// Derived is an identity whose authorities are derived from gossip keys: who
// knows a key can make an identity, nobody else. It shows a certificate under each
// of its keys, all of the same private key, so that who has only one of them, an
// old or a new one, can judge it.
type Derived struct {
	self  Peer
	state atomic.Pointer[derivedState]
}

type derivedState struct {
	cert  *tls.Certificate
	by    []authority // of each key, the one in use first
	roots *x509.CertPool
}

// authority is one that is derived from a key.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// NewDerived makes self's identity under the authority of key.
// Identities made with one of the other keys are accepted too, so that keys
// can be rotated.
func NewDerived(key []byte, self Peer, others ...[]byte) (*Derived, error) {
	d := &Derived{self: self}
	if err := d.SetKeys(key, others...); err != nil {
		return nil, err
	}
	return d, nil
}

// maxKeys bounds how many keys an identity has, and how many certificates of a peer
// are looked at.
const maxKeys = 16

// SetKeys replaces the keys: handshakes from now on show a certificate under
// primary first, then one under each of the others, and accept certificates
// under any of them.
func (d *Derived) SetKeys(primary []byte, others ...[]byte) error {
	if len(others) >= maxKeys {
		return fmt.Errorf("derive the federation's authorities: %d gossip keys are more than %d", len(others)+1, maxKeys)
	}
	next := &derivedState{roots: x509.NewCertPool()}
	for _, key := range append([][]byte{primary}, others...) {
		ca, caKey, err := deriveAuthority(key)
		if err != nil {
			return err
		}
		next.roots.AddCert(ca)
		next.by = append(next.by, authority{ca, caKey})
		if next.cert == nil {
			if next.cert, err = issue(d.self, lasting(ca, caKey)); err != nil {
				return err
			}
			continue
		}
		again, err := reissue(next.cert, ca, caKey)
		if err != nil {
			return err
		}
		next.cert.Certificate = append(next.cert.Certificate, again)
	}
	d.state.Store(next)
	return nil
}

// reissue makes a certificate that says of the same private key the same as cert,
// under another authority.
func reissue(cert *tls.Certificate, ca *x509.Certificate, caKey ed25519.PrivateKey) ([]byte, error) {
	like, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("make a certificate under another key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: like.SerialNumber, Subject: like.Subject, NotBefore: like.NotBefore, NotAfter: like.NotAfter,
		KeyUsage: like.KeyUsage, ExtKeyUsage: like.ExtKeyUsage, URIs: like.URIs}
	raw, err := x509.CreateCertificate(rand.Reader, template, ca, like.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("make a certificate under another key: %w", err)
	}
	return raw, nil
}

// Certificate is what this end shows; asked for each handshake.
func (d *Derived) Certificate() *tls.Certificate { return d.state.Load().cert }

// Authority returns the certificate of the authority that signed what this end
// shows first.
func (d *Derived) Authority() *x509.Certificate { return d.state.Load().by[0].cert }

// Verify says who the certificates belong to, or why they are refused. The first is
// the one of whose private key the handshake has proof; one of the others counts
// if it says the same of the same key.
func (d *Derived) Verify(rawCerts [][]byte, _ Direction) (Peer, error) {
	return under(d.state.Load().roots, rawCerts, d.self)
}

// under says who shows certificates of which one is under one of the authorities.
func under(roots *x509.CertPool, rawCerts [][]byte, self Peer) (Peer, error) {
	leaf, p, err := readLeaf(rawCerts)
	if err != nil {
		return Peer{}, err
	}
	options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	_, err = leaf.Verify(options)
	for _, raw := range rawCerts[1:min(len(rawCerts), maxKeys)] {
		if err == nil {
			break
		}
		if other, q, e := readLeaf([][]byte{raw}); e == nil && q == p && bytes.Equal(other.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
			if _, e := other.Verify(options); e == nil {
				err = nil
			}
		}
	}
	if err != nil {
		return Peer{}, fmt.Errorf("%w: it claims to be %s: %w", ErrWrongAuthority, p, err)
	}
	return p, sameFederation(self, p)
}

// lasting is an issuer of certificates that are made anew at each start and never stored.
// No clock takes part: whoever has the gossip key can make others, so their end would
// protect nobody, and a clock that is wrong would keep an agent out.
func lasting(ca *x509.Certificate, key crypto.Signer) issuer {
	from, to := always()
	return issuer{cert: ca, key: key, from: from, to: to}
}

// always is the time in which certificates are valid that need no end.
func always() (from, to time.Time) {
	return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
}

// minKey is the shortest gossip key, in bytes: AES-128.
const minKey = 16

// deriveAuthority makes the certificate authority of a gossip key. All nodes
// make the same one: Ed25519 signatures are deterministic (RFC 8032).
func deriveAuthority(key []byte) (*x509.Certificate, ed25519.PrivateKey, error) {
	if len(key) < minKey {
		return nil, nil, fmt.Errorf("derive the federation's authority: gossip key has %d bytes, %d needed", len(key), minKey)
	}
	seed, err := hkdf.Key(sha256.New, key, nil, "legate federation authority v1", ed25519.SeedSize)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the federation's authority: %w", err)
	}
	priv := ed25519.NewKeyFromSeed(seed)
	pub, ok := priv.Public().(ed25519.PublicKey)
	if !ok {
		return nil, nil, errors.New("derive the federation's authority: no public key")
	}
	id := sha256.Sum256(pub)
	from, to := always()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Legate federation authority"},
		SubjectKeyId:          id[:20],
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, pub, priv)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the federation's authority: %w", err)
	}
	ca, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the federation's authority: %w", err)
	}
	return ca, priv, nil
}

// SelfSigned is an identity that nobody vouches for: it keeps apart
// federations that meet by mistake and proves nothing.
type SelfSigned struct {
	self Peer
	cert *tls.Certificate
	leaf *x509.Certificate
}

// NewSelfSigned makes an identity without an authority.
func NewSelfSigned(self Peer) (*SelfSigned, error) {
	cert, err := issue(self, lasting(nil, nil))
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", self, err)
	}
	return &SelfSigned{self: self, cert: cert, leaf: leaf}, nil
}

// Certificate is what this end shows; asked for each handshake.
func (s *SelfSigned) Certificate() *tls.Certificate { return s.cert }

// Authority returns what this end shows: it is signed by itself.
func (s *SelfSigned) Authority() *x509.Certificate { return s.leaf }

// Verify says who the certificates belong to, or why they are refused.
func (s *SelfSigned) Verify(rawCerts [][]byte, _ Direction) (Peer, error) {
	_, p, err := readLeaf(rawCerts)
	if err != nil {
		return Peer{}, err
	}
	return p, sameFederation(s.self, p)
}

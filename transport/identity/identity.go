// Package identity says who stands at an end of a connection: a Peer, written as
// a URI into an X.509 certificate, and how each end shows its own and judges the
// other's.
//
// It promises that Derived lets in only who holds one of its keys, and that both
// kinds refuse another federation. SelfSigned proves nothing. It keeps no
// certificate on disk, knows no revocation, and does not say what a Peer may do.
package identity

import (
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
}

// FullName is the name in the WAN pool: node.datacenter.
func (p Peer) FullName() string { return p.Name + "." + p.Datacenter }

func (p Peer) role() string {
	if p.Server {
		return roleServer
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
)

const (
	scheme     = "legate"
	form       = "v1"
	roleServer = "server"
	roleClient = "client"
	// maxURI bounds the URI that carries a Peer, in bytes.
	maxURI = 1024
	// certLife is how long a certificate is valid. It is made anew at each
	// start and never stored, so it need not expire soon.
	certLife = 10 * 365 * 24 * time.Hour
	// clockSkew is how far the clocks of two nodes may be apart.
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
	p := Peer{Federation: parts[1], Datacenter: parts[2], NodeID: parts[3], Name: parts[4], Server: parts[5] == roleServer}
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

// Derived is an identity whose authority is derived from a gossip key: who
// knows the key can make an identity, nobody else.
type Derived struct {
	self  Peer
	state atomic.Pointer[derivedState]
}

type derivedState struct {
	cert  *tls.Certificate
	ca    *x509.Certificate
	roots *x509.CertPool
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

// SetKeys replaces the keys: handshakes from now on show a certificate under
// primary and accept certificates under any of them.
func (d *Derived) SetKeys(primary []byte, others ...[]byte) error {
	roots := x509.NewCertPool()
	for _, k := range others {
		ca, _, err := deriveAuthority(k)
		if err != nil {
			return err
		}
		roots.AddCert(ca)
	}
	ca, caKey, err := deriveAuthority(primary)
	if err != nil {
		return err
	}
	roots.AddCert(ca)
	cert, err := issue(d.self, ca, caKey)
	if err != nil {
		return err
	}
	d.state.Store(&derivedState{cert: cert, ca: ca, roots: roots})
	return nil
}

// Certificate is what this end shows; asked for each handshake.
func (d *Derived) Certificate() *tls.Certificate { return d.state.Load().cert }

// Authority returns the certificate of the authority that signed what this end
// shows.
func (d *Derived) Authority() *x509.Certificate { return d.state.Load().ca }

// Verify says who the certificates belong to, or why they are refused.
func (d *Derived) Verify(rawCerts [][]byte) (Peer, error) {
	leaf, p, err := readLeaf(rawCerts)
	if err != nil {
		return Peer{}, err
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots:     d.state.Load().roots,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		return Peer{}, fmt.Errorf("%w: it claims to be %s: %w", ErrWrongAuthority, p, err)
	}
	return p, sameFederation(d.self, p)
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
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Legate federation authority"},
		SubjectKeyId:          id[:20],
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
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
	cert, err := issue(self, nil, nil)
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
func (s *SelfSigned) Verify(rawCerts [][]byte) (Peer, error) {
	_, p, err := readLeaf(rawCerts)
	if err != nil {
		return Peer{}, err
	}
	return p, sameFederation(s.self, p)
}

// issue makes a key and its certificate for self, signed by ca or by itself.
func issue(self Peer, ca *x509.Certificate, caKey ed25519.PrivateKey) (*tls.Certificate, error) {
	uri, err := uriOf(self)
	if err != nil {
		return nil, err
	}
	if _, err := parseURI(uri); err != nil {
		return nil, fmt.Errorf("make identity of %s: name and datacenter are needed", self)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", self, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number for %s: %w", self, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Legate node"},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(certLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{uri},
	}
	if ca == nil {
		ca, caKey = template, priv
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, ca, pub, caKey)
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", self, err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: priv}, nil
}

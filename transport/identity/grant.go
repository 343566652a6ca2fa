package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// grantLife is how long a certificate is valid that a server gives a client agent,
// unless the server's own ends before.
const grantLife = 72 * time.Hour

// maxRequest bounds what a client agent may ask with, in bytes.
const maxRequest = 4096

// grant is a certificate that a server gave.
type grant struct {
	cert      *tls.Certificate
	authority *x509.Certificate
	until     time.Time
}

// NewRequest makes a key and a request (PKCS #10) for a certificate of it. Whose it
// is to be does not stand there: the server knows it from the connection.
func NewRequest() (request []byte, key ed25519.PrivateKey, err error) {
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err == nil {
		request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	return request, key, nil
}

// Grant makes a certificate for a client agent of this server's datacenter, with the
// key of this server's own certificate from files: a delegation, as this server shows
// one itself. It returns what the client is to show.
func (d *Delegated) Grant(request []byte, p Peer) ([][]byte, error) {
	s := d.state.Load()
	if s.Policy.Certificate == nil {
		return nil, errors.New("this server has no certificate from files to give others with")
	}
	pub, err := requested(d.self, request, p)
	if err != nil {
		return nil, err
	}
	chain, err := parseAll(s.Policy.Certificate.Certificate)
	if err != nil {
		return nil, err
	}
	now := d.now()
	if _, err := s.vouched(chain, p, now); err != nil {
		return nil, fmt.Errorf("this server's certificate cannot stand behind client agents: %w", err)
	}
	key, ok := s.Policy.Certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: its key cannot sign", ErrBadCertificate)
	}
	raw, err := certify(p, pub, issuer{cert: chain[0], key: key, from: later(now.Add(-clockSkew), chain[0].NotBefore), to: earlier(now.Add(grantLife), chain[0].NotAfter)})
	if err != nil {
		return nil, err
	}
	return append([][]byte{raw}, s.Policy.Certificate.Certificate...), nil
}

// requested is the key of a request that a client agent of the datacenter of a server may
// have a certificate for.
func requested(by Peer, request []byte, p Peer) (ed25519.PublicKey, error) {
	switch {
	case len(request) > maxRequest:
		return nil, fmt.Errorf("a request of %d bytes, %d are allowed", len(request), maxRequest)
	case p.Server || p.Datacenter != by.Datacenter || p.Federation != by.Federation:
		return nil, fmt.Errorf("certificates are given to client agents of datacenter %s alone, not to %s", by.Datacenter, p)
	}
	asked, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("the request cannot be read: %w", err)
	}
	if err := asked.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request is not signed with its key: %w", err)
	}
	pub, ok := asked.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the request is not for a key of Ed25519")
	}
	return pub, nil
}

// Take has this client agent show what a server granted for the key, where it has no
// certificate from files; and until when that is valid. It refuses what others would.
func (d *Delegated) Take(rawCerts [][]byte, key ed25519.PrivateKey) (until time.Time, err error) {
	s := d.state.Load()
	if s.Roots == nil {
		return time.Time{}, errors.New("there is no ca_file to check the certificate with")
	}
	if len(rawCerts) < 2 {
		return time.Time{}, fmt.Errorf("%w: %d certificates were granted", ErrBadCertificate, len(rawCerts))
	}
	p, err := s.verify(rawCerts, d.self, d.now())
	if err != nil {
		return time.Time{}, err
	}
	chain, err := parseAll(rawCerts)
	if err != nil {
		return time.Time{}, err
	}
	if !key.Public().(ed25519.PublicKey).Equal(chain[0].PublicKey) || p != d.self {
		return time.Time{}, fmt.Errorf("%w: it was granted to %s, or for another key", ErrBadCertificate, p)
	}
	authority, err := s.vouched(chain[1:], p, d.now())
	if err != nil {
		return time.Time{}, err
	}
	d.granted.Store(&grant{cert: &tls.Certificate{Certificate: rawCerts, PrivateKey: key}, authority: authority, until: chain[0].NotAfter})
	return chain[0].NotAfter, nil
}

// grantNow is the grant that is valid, nil if there is none.
func (d *Delegated) grantNow() *grant {
	if g := d.granted.Load(); g != nil && d.now().Before(g.until) {
		return g
	}
	return nil
}

// Granted reports whether what is shown is what a server gave.
func (d *Delegated) Granted() bool { return d.state.Load().shown == nil && d.grantNow() != nil }

// withoutFiles is what this end shows that has no certificate from files.
func (d *Delegated) withoutFiles() *tls.Certificate {
	if g := d.grantNow(); g != nil {
		return g.cert
	}
	return d.fallback.Certificate()
}

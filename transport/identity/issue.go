package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// issuer is who signs a certificate, and for how long it is valid. Without a
// certificate of its own the new one is signed by itself.
type issuer struct {
	cert     *x509.Certificate
	key      crypto.Signer
	from, to time.Time
}

// issue makes a key and its certificate for self.
func issue(self Peer, by issuer) (*tls.Certificate, error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", self, err)
	}
	if by.cert == nil {
		by.key = priv
	}
	raw, err := certify(self, pub, by)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: priv}, nil
}

// certify makes the certificate of a peer's key.
func certify(p Peer, pub ed25519.PublicKey, by issuer) ([]byte, error) {
	uri, err := uriOf(p)
	if err != nil {
		return nil, err
	}
	if _, err := parseURI(uri); err != nil {
		return nil, fmt.Errorf("make identity of %s: name and datacenter are needed", p)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number for %s: %w", p, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Legate node"},
		NotBefore:    by.from,
		NotAfter:     by.to,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{uri},
	}
	if by.cert == nil {
		by.cert = template
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, by.cert, pub, by.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of %s: %w", p, err)
	}
	return raw, nil
}

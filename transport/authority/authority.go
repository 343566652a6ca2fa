// Package authority makes certificates: that of an authority of one's own, and
// those of agents and their clients under it, with ECDSA keys over P-256.
//
// It promises that each has the names and usages that agents ask for, and no more.
// It keeps no files and no list of what it issued, and revokes nothing.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/legate-project/legate/transport/identity"
)

// clockSkew is how far the clocks of who issues and who checks may be apart.
const clockSkew = time.Minute

// Pair is a certificate and its private key, in PEM.
type Pair struct{ Certificate, Key []byte }

// Authority issues certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Settings make an authority.
type Settings struct {
	CommonName string // empty makes one of the serial number
	Domain     string // of the agents' names, such as consul
	// ClusterID is part of the authority's URI, spiffe://<ClusterID>.<Domain>; empty
	// leaves the URI out.
	ClusterID string
	// Permitted are the DNS domains that certificates under it may have names in;
	// empty permits all.
	Permitted []string
	Life      time.Duration
}

// New makes an authority.
func New(s Settings, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return Pair{}, err
	}
	id, err := keyID(key.Public())
	if err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.CommonName},
		SubjectKeyId: id, AuthorityKeyId: id,
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(s.Life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, IsCA: true,
		PermittedDNSDomains: s.Permitted, PermittedDNSDomainsCritical: len(s.Permitted) > 0,
	}
	if s.CommonName == "" {
		template.Subject.CommonName = fmt.Sprintf("Agent CA %s", serial)
	}
	if s.ClusterID != "" {
		template.URIs = []*url.URL{{Scheme: "spiffe", Host: s.ClusterID + "." + strings.Trim(s.Domain, ".")}}
	}
	return sign(template, template, key, key)
}

// Open returns the authority of a certificate and its key.
func Open(cert *x509.Certificate, key crypto.Signer) (*Authority, error) {
	if !cert.IsCA || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("%s is not the certificate of an authority", cert.Subject)
	}
	return &Authority{cert, key}, nil
}

// Role is what a certificate is for.
type Role int

// Roles.
const (
	Server Role = iota // agents in server mode: QUIC, Raft and HTTPS
	Client             // client agents: the same
	CLI                // who asks agents over HTTPS
)

// Ends is when certificates of the authority end at the latest.
func (a *Authority) Ends() time.Time { return a.cert.NotAfter }

// Request is what a certificate is to say.
type Request struct {
	Role       Role
	Datacenter string
	Domain     string
	Node       string // with Server: one more name, <Node>.server.<Datacenter>.<Domain>
	DNSNames   []string
	IPs        []net.IP
	Life       time.Duration // ends with the authority's at the latest
}

// Issue makes a key and its certificate.
func (a *Authority) Issue(r Request, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key: %w", err)
	}
	template, err := a.template(r, key.Public(), now)
	if err != nil {
		return Pair{}, err
	}
	return sign(template, a.cert, key, a.key)
}

// template is what a certificate for a key says.
func (a *Authority) template(r Request, public crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	end := strings.Trim(r.Domain, ".")
	t := &x509.Certificate{
		SerialNumber: serial, SubjectKeyId: id,
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(r.Life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: both, BasicConstraintsValid: true,
		IPAddresses: r.IPs,
	}
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	name := identity.ServerName(r.Datacenter, end)
	switch r.Role {
	case Server:
		t.DNSNames = []string{name}
		if r.Node != "" {
			t.DNSNames = append(t.DNSNames, r.Node+"."+name)
		}
	case Client:
		name = "client." + r.Datacenter + "." + end
		t.DNSNames = []string{name}
	case CLI:
		name = "cli." + r.Datacenter + "." + end
		t.DNSNames, t.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	t.Subject.CommonName = name
	t.DNSNames = append(t.DNSNames, "localhost")
	for _, n := range r.DNSNames {
		if !slices.Contains(t.DNSNames, n) {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	if loopback := net.IPv4(127, 0, 0, 1); r.Role != CLI && !slices.ContainsFunc(r.IPs, loopback.Equal) {
		t.IPAddresses = append([]net.IP{loopback}, r.IPs...)
	}
	return t, a.permits(t.DNSNames)
}

// permits says which name nobody would accept under this authority.
func (a *Authority) permits(names []string) error {
	if len(a.cert.PermittedDNSDomains) == 0 {
		return nil
	}
	var errs []error
	for _, name := range names {
		within := func(domain string) bool {
			domain = strings.ToLower(strings.TrimPrefix(domain, "."))
			n := strings.ToLower(name)
			return n == domain || strings.HasSuffix(n, "."+domain)
		}
		if !slices.ContainsFunc(a.cert.PermittedDNSDomains, within) {
			errs = append(errs, fmt.Errorf("the authority may not certify %q: its name constraints are %s", name, strings.Join(a.cert.PermittedDNSDomains, ", ")))
		}
	}
	return errors.Join(errs...)
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n, nil
}

// keyID is a subject key identifier by RFC 7093, section 2, method 1.
func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("write the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:20], nil
}

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, by crypto.Signer) (Pair, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return Pair{}, fmt.Errorf("make the certificate: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("write the key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
	}, nil
}

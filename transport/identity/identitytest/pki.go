// Package identitytest makes certificates as an attacker would show them, which no agent
// makes for itself: its checks are left out.
package identitytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/legate-project/legate/transport/identity"
)

// Issuer is an authority of a test.
type Issuer struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Agents are the purposes of certificates of agents.
var agents = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewIssuer makes an authority.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	return &Issuer{Cert: sign(t, template, template, key, key), Key: key}
}

func sign(t testing.TB, template, by *x509.Certificate, key, byKey crypto.Signer) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Roots is the pool that has the authority alone.
func (i *Issuer) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.Cert)
	return pool
}

// Issue makes a certificate for servers of dc1, and its key, after a change.
func (i *Issuer) Issue(t testing.TB, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "agent"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: agents,
		DNSNames: []string{"server.dc1.consul", "localhost"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(500 * time.Hour), BasicConstraintsValid: true}
	if change != nil {
		change(template)
	}
	cert := sign(t, template, i.Cert, key, i.Key)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// Forge is what a peer shows that stands behind a certificate of files without asking
// whether others accept that.
func Forge(t testing.TB, p identity.Peer, operator *tls.Certificate) *tls.Certificate {
	t.Helper()
	honest, err := identity.NewSelfSigned(p)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := x509.ParseCertificate(honest.Certificate().Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	leaf := sign(t, &x509.Certificate{SerialNumber: big.NewInt(3), Subject: claim.Subject, URIs: claim.URIs, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: agents,
		NotBefore: latest(time.Now().Add(-time.Hour), operator.Leaf.NotBefore), NotAfter: time.Now().Add(time.Hour)}, operator.Leaf, key, operator.PrivateKey.(crypto.Signer))
	return &tls.Certificate{Certificate: append([][]byte{leaf.Raw}, operator.Certificate...), PrivateKey: key}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Stranger shows what it likes and accepts everybody.
type Stranger struct {
	Shows *tls.Certificate
	// Peer is who it takes everybody for.
	Peer identity.Peer
}

// Certificate implements transport.Identity.
func (s *Stranger) Certificate() *tls.Certificate { return s.Shows }

// Verify implements transport.Identity.
func (s *Stranger) Verify([][]byte, identity.Direction) (identity.Peer, error) { return s.Peer, nil }

// Setting is one way to verify, of the matrix.
type Setting struct{ Incoming, Outgoing, Hostname bool }

// Settings are all ways.
func Settings() []Setting {
	var all []Setting
	for i := range 8 {
		all = append(all, Setting{Incoming: i&1 != 0, Outgoing: i&2 != 0, Hostname: i&4 != 0})
	}
	return all
}

// Policy is what an agent with the setting does, with a certificate of the issuer.
func (s Setting) Policy(t testing.TB, by *Issuer) identity.Policy {
	p := identity.Policy{Certificate: by.Issue(t, nil), Roots: by.Roots(), VerifyIncoming: s.Incoming, VerifyOutgoing: s.Outgoing}
	if s.Hostname {
		p.ServerDomain = "consul"
	}
	return p
}

// Attack is what somebody shows who wants to be taken for a server of dc1, or a client
// agent there.
type Attack struct {
	Name   string
	Claims identity.Peer
	Shows  *tls.Certificate
	// Refused says by whom, for who dials and for who answers.
	Refused func(s Setting, dials bool) bool
}

// Attacks are those with certificates of files, and one with a gossip key.
func Attacks(t testing.TB, by *Issuer, server, client identity.Peer, gossip *tls.Certificate) []Attack {
	t.Helper()
	always := func(Setting, bool) bool { return true }
	never := func(Setting, bool) bool { return false }
	byName := func(s Setting, _ bool) bool { return s.Hostname }
	only := func(usage x509.ExtKeyUsage, name string) *tls.Certificate {
		return by.Issue(t, func(c *x509.Certificate) { c.ExtKeyUsage, c.DNSNames = []x509.ExtKeyUsage{usage}, []string{name} })
	}
	named := func(name string) *tls.Certificate {
		return by.Issue(t, func(c *x509.Certificate) { c.DNSNames = []string{name} })
	}
	expired := by.Issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	future := by.Issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })
	list := []struct {
		name    string
		claims  identity.Peer
		cert    *tls.Certificate
		refused func(Setting, bool) bool
	}{
		{"a server", server, by.Issue(t, nil), never},
		{"a client agent", client, named("client.dc1.consul"), never},
		{"expired", server, expired, always},
		{"a client agent, expired", client, expired, always},
		{"not valid yet", server, future, always},
		{"of another authority", server, NewIssuer(t).Issue(t, nil), always},
		{"a server, for clients only", server, only(x509.ExtKeyUsageClientAuth, "server.dc1.consul"), always},
		{"a client agent, for servers only", client, only(x509.ExtKeyUsageServerAuth, "client.dc1.consul"), always},
		{"a client agent's as a server", server, named("client.dc1.consul"), byName},
		{"of a server of dc2 in dc1", server, named("server.dc2.consul"), byName},
		{"of a server of another domain", server, named("server.dc1.example"), byName},
	}
	out := make([]Attack, 0, len(list)+1)
	for _, a := range list {
		out = append(out, Attack{a.name, a.claims, Forge(t, a.claims, a.cert), a.refused})
	}
	return append(out, Attack{"a server with the gossip key alone", server, gossip, func(s Setting, dials bool) bool {
		return s.Hostname || dials && s.Incoming || !dials && s.Outgoing
	}})
}

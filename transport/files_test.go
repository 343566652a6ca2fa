package transport

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/legate-project/legate/transport/identity"
)

// rsaChain is a certificate of RSA under an authority that is under the roots: about as
// long as what operators have.
func rsaChain(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	out := &tls.Certificate{}
	roots := x509.NewCertPool()
	var above *x509.Certificate
	var by crypto.Signer
	for i, name := range []string{"root", "between", "leaf"} {
		key, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name, Organization: []string{"An organization with a name of usual length"}},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: name != "leaf", KeyUsage: x509.KeyUsageCertSign}
		if name == "leaf" {
			c.KeyUsage, c.ExtKeyUsage, c.DNSNames = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, []string{"server.dc1.consul"}
		}
		if above == nil {
			above, by = c, key
		}
		raw, err := x509.CreateCertificate(rand.Reader, c, above, key.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		if above, err = x509.ParseCertificate(raw); err != nil {
			t.Fatal(err)
		}
		by = key
		if i == 0 {
			roots.AddCert(above)
		} else {
			out.Certificate = append([][]byte{raw}, out.Certificate...)
		}
	}
	out.PrivateKey, out.Leaf = by, above
	return out, roots
}

func delegated(t *testing.T, p identity.Peer, policy identity.Policy) *identity.Delegated {
	t.Helper()
	d := identity.NewDelegated(p, derived(t, testKey(1), p))
	if err := d.SetPolicy(policy); err != nil {
		t.Fatal(err)
	}
	return d
}

// Long chains go through QUIC's handshake, with both ends' certificates from files; who
// has none is let in by protocols for newcomers alone, and only as a client agent.
func TestCertificatesFromFilesOverQUIC(t *testing.T) {
	cert, roots := rsaChain(t)
	strict := identity.Policy{Certificate: cert, Roots: roots, VerifyIncoming: true, VerifyOutgoing: true, ServerDomain: "consul"}
	const newcomers = "legate-newcomers/1"
	came := make(chan identity.Peer, 1)
	b := endpoint(t, delegated(t, server("b"), strict), func(c *Config) {
		c.Protocols[newcomers] = Protocol{From: identity.Newcomer, Answer: func(_ context.Context, from Remote, request []byte) []byte { came <- from.Peer; return request }}
	})
	dials := func(c *Config) { c.Protocols[newcomers] = Protocol{} }
	a := endpoint(t, delegated(t, server("a"), strict), dials)
	if answer, err := a.RoundTrip(within(t, 5*time.Second), Target{Addr: b.Addr().String(), NodeID: "id-b"}, testProtocol, nil, []byte("x")); err != nil || string(answer) != "x" {
		t.Errorf("with certificates from files: %q, %v", answer, err)
	}
	client := identity.Peer{Federation: "fed", Datacenter: "dc1", NodeID: "id-c", Name: "c"}
	knows := identity.Policy{Roots: roots, VerifyOutgoing: true}
	c := endpoint(t, delegated(t, client, knows), dials)
	if _, err := c.RoundTrip(within(t, 5*time.Second), to(b), testProtocol, nil, []byte("x")); !errors.Is(err, ErrRefused) || !errors.Is(err, identity.ErrWrongAuthority) {
		t.Errorf("with the gossip key alone: %v", err)
	}
	if answer, err := c.RoundTrip(within(t, 5*time.Second), to(b), newcomers, nil, []byte("x")); err != nil || string(answer) != "x" {
		t.Fatalf("as a newcomer: %q, %v", answer, err)
	}
	if p := <-came; p != client {
		t.Errorf("the newcomer is %s", p)
	}
	pretender := endpoint(t, delegated(t, server("p"), knows), dials)
	if _, err := pretender.RoundTrip(within(t, 5*time.Second), to(b), newcomers, nil, []byte("x")); !errors.Is(err, ErrRefused) {
		t.Errorf("a server as a newcomer: %v", err)
	}
	// Who asks for files of those that it dials does not talk to one without.
	bare := endpoint(t, derived(t, testKey(1), server("bare")))
	if _, err := c.RoundTrip(within(t, 5*time.Second), to(bare), testProtocol, nil, []byte("x")); !errors.Is(err, ErrRefused) || !errors.Is(err, identity.ErrWrongAuthority) {
		t.Errorf("a server with the gossip key alone: %v", err)
	}
}

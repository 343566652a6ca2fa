package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

// A client agent with the gossip key gets a certificate, which servers that ask for
// files accept, for as long as it is valid.
func TestServersGrantClientsACertificate(t *testing.T) {
	root := newAuthority(t, nil)
	policy := Policy{Roots: root.roots(), VerifyIncoming: true, VerifyOutgoing: true, ServerDomain: "consul"}
	named := root.make(t, newKey(t), func(c *x509.Certificate) { c.DNSNames = []string{"server.dc1.consul"} })
	serving := policy
	serving.Certificate = named.tls()
	s := delegatedBy(t, testKey(1), server("s"), serving)
	client := Peer{Federation: "fed", Datacenter: "dc1", NodeID: "id", Name: "c"}
	c := delegatedBy(t, testKey(1), client, policy)
	clock := time.Now()
	c.now = func() time.Time { return clock }
	s.now = c.now
	own := c.Certificate().Certificate
	if _, err := s.Verify(own, Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("before it has one: %v", err)
	}
	p, err := s.Verify(own, Newcomer)
	if err != nil || p != client {
		t.Fatalf("it may not even ask: %+v, %v", p, err)
	}
	request, key, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := s.Grant(request, p)
	if err != nil {
		t.Fatal(err)
	}
	until, err := c.Take(chain, key)
	if err != nil || until.Sub(clock).Round(time.Minute) != grantLife {
		t.Errorf("until %s, %v", until, err)
	}
	if p, err := s.Verify(c.Certificate().Certificate, Incoming); err != nil || p != client || !c.Authority().Equal(root.cert) {
		t.Errorf("with one: %+v, %v", p, err)
	}
	clock = until.Add(time.Second)
	if _, err := s.Verify(chain, Incoming); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("after its time: %v", err)
	}
	if len(c.Certificate().Certificate) != len(own) {
		t.Error("it is shown after its time")
	}
}

// Who may not have a certificate gets none, and what was not asked for is not taken.
func TestGrantsAreForClientsThatAsk(t *testing.T) {
	root := newAuthority(t, nil)
	policy := Policy{Roots: root.roots(), Certificate: root.make(t, newKey(t), nil).tls(), VerifyIncoming: true}
	s := delegatedBy(t, testKey(1), server("s"), policy)
	client := Peer{Federation: "fed", Datacenter: "dc1", NodeID: "id", Name: "c"}
	request, key, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherKind, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), request...)
	forged[len(forged)-1] ^= 1
	far, mars, promoted := client, client, client
	far.Datacenter, mars.Federation, promoted.Server = "dc2", "mars", true
	for name, c := range map[string]struct {
		by      *Delegated
		request []byte
		p       Peer
		want    string
	}{
		"a server":            {s, request, promoted, "client agents of datacenter dc1 alone"},
		"another datacenter":  {s, request, far, "client agents of datacenter dc1 alone"},
		"another federation":  {s, request, mars, "client agents of datacenter dc1 alone"},
		"no files":            {delegatedBy(t, testKey(1), server("s"), Policy{}), request, client, "no certificate from files"},
		"nonsense":            {s, []byte("nonsense"), client, "cannot be read"},
		"a forged request":    {s, forged, client, "not signed with its key"},
		"another kind of key": {s, otherKind, client, "Ed25519"},
		"too long":            {s, make([]byte, maxRequest+1), client, "bytes"},
		"a certificate for servers only": {delegatedBy(t, testKey(1), server("s"), Policy{Roots: root.roots(), Certificate: root.make(t, newKey(t), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}).tls()}), request, client, "cannot stand behind client agents"},
	} {
		if chain, err := c.by.Grant(c.request, c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d certificates, %v", name, len(chain), err)
		}
	}
	for _, p := range []Peer{server("x"), promoted} {
		if _, err := s.Verify(derived(t, testKey(1), p).Certificate().Certificate, Newcomer); !errors.Is(err, ErrWrongAuthority) {
			t.Errorf("%s comes as a newcomer: %v", p, err)
		}
	}
	if _, err := s.Verify(derived(t, testKey(2), client).Certificate().Certificate, Newcomer); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("a newcomer with another gossip key: %v", err)
	}

	taker := delegatedBy(t, testKey(1), client, Policy{Roots: root.roots()})
	good, err := s.Grant(request, client)
	if err != nil {
		t.Fatal(err)
	}
	other := client
	other.Name = "other"
	anothers, err := s.Grant(request, other)
	if err != nil {
		t.Fatal(err)
	}
	_, wrongKey, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	before := taker.Certificate()
	if _, err := taker.Take(good, wrongKey); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("for another key: %v", err)
	}
	if _, err := taker.Take(anothers, key); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("for another agent: %v", err)
	}
	if _, err := taker.Take(good[:1], key); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("without the server's: %v", err)
	}
	if _, err := delegatedBy(t, testKey(1), client, Policy{Roots: newAuthority(t, nil).roots()}).Take(good, key); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("of another authority: %v", err)
	}
	if taker.Certificate() != before {
		t.Error("something that was refused is shown")
	}
}

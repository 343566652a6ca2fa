package authority

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, s Settings) (*Authority, *x509.Certificate) {
	t.Helper()
	pair, err := New(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert := parsed(t, pair)
	a, err := Open(cert.Leaf, cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return a, cert.Leaf
}

func parsed(t *testing.T, p Pair) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is issued verifies under the authority, for what it is for and no more.
func TestCertificatesSayWhatTheyAreFor(t *testing.T) {
	a, ca := open(t, Settings{Domain: "consul.", ClusterID: "11111111-2222", Life: time.Hour})
	if !ca.IsCA || ca.KeyUsage&x509.KeyUsageCertSign == 0 || ca.URIs[0].String() != "spiffe://11111111-2222.consul" || !strings.HasPrefix(ca.Subject.CommonName, "Agent CA ") {
		t.Errorf("the authority is %+v", ca)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, c := range []struct {
		r     Request
		names []string
		ips   int
		asTLS []x509.ExtKeyUsage
	}{
		{Request{Role: Server, Datacenter: "dc2", Domain: "consul", Node: "n1", DNSNames: []string{"x.example", "localhost"}, IPs: []net.IP{net.IPv4(10, 0, 0, 1)}},
			[]string{"server.dc2.consul", "n1.server.dc2.consul", "localhost", "x.example"}, 2, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}},
		{Request{Role: Client, Datacenter: "dc2", Domain: "consul"}, []string{"client.dc2.consul", "localhost"}, 1, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}},
		{Request{Role: CLI, Datacenter: "dc2", Domain: "consul"}, []string{"cli.dc2.consul", "localhost"}, 0, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
	} {
		c.r.Life = 48 * time.Hour
		pair, err := a.Issue(c.r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		leaf := parsed(t, pair).Leaf
		if !slices.Equal(leaf.DNSNames, c.names) || len(leaf.IPAddresses) != c.ips || leaf.Subject.CommonName != c.names[0] || leaf.IsCA || !leaf.NotAfter.Equal(ca.NotAfter) {
			t.Errorf("%v: names %q, addresses %v, %+v", c.r.Role, leaf.DNSNames, leaf.IPAddresses, leaf.Subject)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != slices.Contains(c.asTLS, usage) {
				t.Errorf("role %v for usage %v: %v", c.r.Role, usage, err)
			}
		}
	}
}

// Name constraints are in the authority, nobody accepts a certificate beyond them,
// and none is made.
func TestNameConstraints(t *testing.T) {
	a, ca := open(t, Settings{Domain: "consul", Permitted: []string{"consul", "localhost"}, Life: time.Hour})
	if !ca.PermittedDNSDomainsCritical || !slices.Equal(ca.PermittedDNSDomains, []string{"consul", "localhost"}) {
		t.Errorf("constraints are %v", ca.PermittedDNSDomains)
	}
	pair, err := a.Issue(Request{Datacenter: "dc1", Domain: "consul", Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := parsed(t, pair).Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "server.dc1.consul"}); err != nil {
		t.Error(err)
	}
	if _, err := a.Issue(Request{Datacenter: "dc1", Domain: "consul", DNSNames: []string{"evil.example"}, Life: time.Hour}, time.Now()); err == nil || !strings.Contains(err.Error(), "evil.example") {
		t.Errorf("a name beyond: %v", err)
	}
	leaf := parsed(t, pair)
	if _, err := Open(leaf.Leaf, leaf.PrivateKey.(*ecdsa.PrivateKey)); err == nil {
		t.Error("a certificate that is no authority's issues others")
	}
}

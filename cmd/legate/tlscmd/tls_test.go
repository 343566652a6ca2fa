package tlscmd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{command.Group("tls", "x"), command.Group("tls ca", "x"), CACreate(), command.Group("tls cert", "x"), CertCreate()}
}

func run(t *testing.T, code int, args ...string) commandtest.Result {
	t.Helper()
	r := commandtest.Run(t, commands(), nil, "", args...)
	if r.Code != code {
		t.Errorf("%q ended with %d: %s%s", args, r.Code, r.Out, r.Err)
	}
	return r
}

func leaf(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(name+".pem", name+"-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key of %s is no ECDSA P-256", name)
	}
	info, err := os.Stat(name + "-key.pem")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of %s: %v, %v", name, info.Mode(), err)
	}
	return pair.Leaf
}

// Files have Consul's names and are never overwritten, and what is in them verifies.
func TestCertificatesAreMadeUnderConsulsNames(t *testing.T) {
	t.Chdir(t.TempDir())
	if r := run(t, 1, "tls", "cert", "create", "-server"); !strings.Contains(r.Err, "consul-agent-ca.pem") || !strings.Contains(r.Err, "legate tls ca create") {
		t.Errorf("without an authority: %q", r.Err)
	}
	run(t, 0, "tls", "ca", "create", "-name-constraint", "-additional-name-constraint=example.org", "-cluster-id=abc", "-common-name=Ours", "-days=10")
	before, err := os.ReadFile("consul-agent-ca-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	if r := run(t, 1, "tls", "ca", "create"); !strings.Contains(r.Err, "not overwritten") {
		t.Errorf("a second authority: %q", r.Err)
	}
	if after, err := os.ReadFile("consul-agent-ca-key.pem"); err != nil || string(after) != string(before) {
		t.Errorf("the authority's key is another: %v", err)
	}
	ca := leaf(t, "consul-agent-ca")
	if ca.Subject.CommonName != "Ours" || ca.URIs[0].String() != "spiffe://abc.consul" || !slices.Equal(ca.PermittedDNSDomains, []string{"example.org", "consul", "localhost"}) || !ca.IsCA {
		t.Errorf("the authority is %+v", ca)
	}
	run(t, 0, "tls", "cert", "create", "-server", "-node=n1", "-dc=dc2", "-additional-dnsname=a.example.org", "-additional-ipaddress=10.1.2.3", "-days=5")
	run(t, 0, "tls", "cert", "create", "-server", "-dc=dc2")
	run(t, 0, "tls", "cert", "create", "-client")
	run(t, 0, "tls", "cert", "create", "-cli", "-ca=consul-agent-ca.pem", "-key=consul-agent-ca-key.pem")
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for name, names := range map[string][]string{
		"dc2-server-consul-0": {"server.dc2.consul", "n1.server.dc2.consul", "localhost", "a.example.org"}, "dc2-server-consul-1": {"server.dc2.consul", "localhost"},
		"dc1-client-consul-0": {"client.dc1.consul", "localhost"}, "dc1-cli-consul-0": {"cli.dc1.consul", "localhost"},
	} {
		c := leaf(t, name)
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || !slices.Equal(c.DNSNames, names) {
			t.Errorf("%s has the names %q: %v", name, c.DNSNames, err)
		}
	}
	if r := run(t, 1, "tls", "cert", "create", "-server", "-additional-dnsname=evil.example"); !strings.Contains(r.Err, "evil.example") {
		t.Errorf("a name beyond the constraints: %q", r.Err)
	}
	if r := run(t, 1, "tls", "cert", "create", "-client", "-key=dc1-client-consul-0-key.pem"); !strings.Contains(r.Err, "does not fit") {
		t.Errorf("the key of another: %q", r.Err)
	}
	if r := run(t, 1, "tls", "cert", "create", "-client", "-ca=dc1-client-consul-0.pem", "-key=dc1-client-consul-0-key.pem"); !strings.Contains(r.Err, "not the certificate of an authority") {
		t.Errorf("an authority that is none: %q", r.Err)
	}
	if _, err := os.Stat("dc1-client-consul-1.pem"); err == nil {
		t.Error("what failed left a file")
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "tls ca create -days=0", Code: 1, Err: "-days"},
		{Args: "tls ca create -days=400000", Code: 1, Err: "-days"},
		{Args: "tls ca create -domain=a/b", Code: 1, Err: "-domain"},
		{Args: "tls ca create x", Code: 1, Err: "too many"},
		{Args: "tls cert create", Code: 1, Err: "one of -server"},
		{Args: "tls cert create -server -client", Code: 1, Err: "one of -server"},
		{Args: "tls cert create -client -node=n", Code: 1, Err: "-node goes with -server"},
		{Args: "tls cert create -client -dc=../x", Code: 1, Err: "-dc"},
		{Args: "tls cert create -client -additional-ipaddress=x", Code: 1, Err: "-additional-ipaddress"},
		{Args: "tls xx", Code: 1, Err: "unknown subcommand"},
	})
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
}

// What makes more of a certificate than one would think, or less, is said.
func TestWarningsAboutCertificates(t *testing.T) {
	t.Chdir(t.TempDir())
	run(t, 0, "tls", "ca", "create", "-days=10")
	for _, c := range []struct {
		args []string
		want string // in a warning; "" for none
	}{
		{[]string{"-client", "-days=5"}, ""},
		{[]string{"-client", "-days=5", "-additional-dnsname=web.example", "-additional-dnsname=server.dc1.example"}, ""},
		{[]string{"-client", "-days=5", "-additional-dnsname=Server.dc1.consul"}, "is the name of servers"},
		{[]string{"-cli", "-days=5", "-additional-dnsname=server.dc1.consul"}, ""}, // for clients alone
		{[]string{"-client", "-days=11"}, "the authority ends on"},
		{[]string{"-cli", "-days=30"}, "the authority ends on"},
	} {
		r := run(t, 0, append([]string{"tls", "cert", "create"}, c.args...)...)
		if got := strings.Contains(r.Err, "Warning"); got != (c.want != "") || !strings.Contains(r.Err, c.want) {
			t.Errorf("%v: %q, want %q", c.args, r.Err, c.want)
		}
	}
}

package certificates

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/transport/identity/identitytest"
)

func pemOf(t *testing.T, c *tls.Certificate) (cert, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// files has an authority and a certificate of it in files.
func files(t *testing.T, by *identitytest.Issuer, c *tls.Certificate) *pki {
	t.Helper()
	p := &pki{t: t, dir: t.TempDir()}
	p.write("ca.pem", authorityPEM(by))
	cert, key := pemOf(t, c)
	p.write("cert.pem", cert)
	p.write("key.pem", key)
	return p
}

func authorityPEM(by *identitytest.Issuer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: by.Cert.Raw})
}

// serveHTTPS accepts connections over TLS and answers each with one byte.
func serveHTTPS(t *testing.T, conf *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if conn.SetDeadline(time.Now().Add(30*time.Second)) == nil && conn.(*tls.Conn).Handshake() == nil {
				_, _ = conn.Write([]byte("x"))
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// ask connects and waits for the byte: a server that does not like the certificate says
// so after the client's handshake.
func ask(t *testing.T, addr string, conf *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: conf}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, 1)) // what comes may come together with its end
	return conn.(*tls.Conn).ConnectionState(), err
}

// Which certificates of clients HTTPS accepts.
func TestAttackersWithCertificatesOverHTTPS(t *testing.T) {
	root := identitytest.NewIssuer(t)
	p := files(t, root, root.Issue(t, nil))
	of := func(change func(*x509.Certificate)) *tls.Certificate { return root.Issue(t, change) }
	purpose := func(u x509.ExtKeyUsage) *tls.Certificate {
		return of(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{u} })
	}
	for _, verify := range []bool{false, true} {
		c := p.config()
		c.HTTPS.VerifyIncoming = verify
		var log bytes.Buffer
		certificates, err := open(t, c, &log)
		if err != nil {
			t.Fatal(err)
		}
		addr := serveHTTPS(t, certificates.HTTPS())
		for name, a := range map[string]struct {
			shows *tls.Certificate
			good  bool
		}{
			"none":                 {nil, false},
			"a client's":           {purpose(x509.ExtKeyUsageClientAuth), true},
			"an agent's":           {of(nil), true},
			"for servers only":     {purpose(x509.ExtKeyUsageServerAuth), false},
			"expired":              {of(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), false},
			"not valid yet":        {of(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), false},
			"of another authority": {identitytest.NewIssuer(t).Issue(t, nil), false},
		} {
			conf := &tls.Config{RootCAs: root.Roots(), ServerName: "localhost", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if a.shows == nil {
					return &tls.Certificate{}, nil
				}
				return a.shows, nil // also what the server does not ask for
			}}
			if _, err := ask(t, addr, conf); (err == nil) != (a.good || !verify) {
				t.Errorf("verify_incoming %t, %s: %v", verify, name, err)
			}
		}
	}
}

// Who was let in by an authority that is not accepted any more is not let in by what is
// left of that connection.
func TestHTTPSForgetsWhoWasLetIn(t *testing.T) {
	first, second := identitytest.NewIssuer(t), identitytest.NewIssuer(t)
	p := files(t, first, first.Issue(t, nil))
	c := p.config()
	c.HTTPS.VerifyIncoming = true
	c.InternalRPC = config.TLSListener{}
	var log bytes.Buffer
	certificates, err := open(t, c, &log)
	if err != nil {
		t.Fatal(err)
	}
	addr := serveHTTPS(t, certificates.HTTPS())
	roots := first.Roots()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p.write("ca.pem", authorityPEM(first))
		reload(t, certificates, c)
		client := &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: version, Certificates: []tls.Certificate{*first.Issue(t, nil)}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		for range 2 {
			if _, err := ask(t, addr, client); err != nil {
				t.Fatal(err)
			}
		}
		p.write("ca.pem", authorityPEM(second))
		reload(t, certificates, c)
		if state, err := ask(t, addr, client); err == nil {
			t.Errorf("version %x: a client of the authority before is let in, resumed %t", version, state.DidResume)
		}
	}
}

func reload(t *testing.T, c *Certificates, conf config.TLS) {
	t.Helper()
	apply, err := c.Prepare(conf)
	if err != nil {
		t.Fatal(err)
	}
	apply()
}

// Files that are broken, in whatever way, change nothing for a process that runs, whether
// it is told to reload or looks by itself; what is wrong is named with the file.
func TestBrokenFilesChangeNothing(t *testing.T) {
	root := identitytest.NewIssuer(t)
	first := root.Issue(t, nil)
	good, goodKey := pemOf(t, first)
	_, otherKey := pemOf(t, root.Issue(t, nil))
	half := func(b []byte) []byte { return b[:len(b)/2] }
	made := func(change func(*x509.Certificate)) func(p *pki) {
		return func(p *pki) {
			cert, key := pemOf(t, root.Issue(t, change))
			p.write("cert.pem", cert)
			p.write("key.pem", key)
		}
	}
	for name, b := range map[string]struct {
		damage func(p *pki)
		want   []string
	}{
		"half a certificate":            {func(p *pki) { p.write("cert.pem", half(good)) }, []string{"cert.pem"}},
		"half a key":                    {func(p *pki) { p.write("key.pem", half(goodKey)) }, []string{"key.pem"}},
		"half an authority":             {func(p *pki) { p.write("ca.pem", half(authorityPEM(root))) }, []string{"ca.pem"}},
		"an empty certificate":          {func(p *pki) { p.write("cert.pem", nil) }, []string{"cert.pem"}},
		"an empty authority":            {func(p *pki) { p.write("ca.pem", nil) }, []string{"ca.pem"}},
		"the key of another":            {func(p *pki) { p.write("key.pem", otherKey) }, []string{"does not fit", "key.pem"}},
		"another authority alone":       {func(p *pki) { p.write("ca.pem", authorityPEM(identitytest.NewIssuer(t))) }, []string{"cert.pem", "refuse"}},
		"a certificate that is over":    {made(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), []string{"cert.pem", "expired"}},
		"a certificate of the future":   {made(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), []string{"cert.pem", "is valid from"}},
		"a certificate for clients":     {made(func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), []string{"cert.pem", "refuse"}},
		"a server's of dc2":             {made(func(c *x509.Certificate) { c.DNSNames = []string{"server.dc2.consul"} }), []string{"cert.pem", "server.dc1.consul"}},
		"a client agent's":              {made(func(c *x509.Certificate) { c.DNSNames = []string{"client.dc1.consul"} }), []string{"cert.pem", "server.dc1.consul"}},
		"an authority's as certificate": {func(p *pki) { p.write("cert.pem", authorityPEM(root)) }, []string{"cert.pem"}},
	} {
		p := files(t, root, first)
		c := p.config()
		c.InternalRPC.VerifyIncoming, c.InternalRPC.VerifyOutgoing, c.InternalRPC.VerifyServerHostname = true, true, true
		var log bytes.Buffer
		certificates, err := open(t, c, &log)
		if err != nil {
			t.Fatal(name, err)
		}
		addr := serveHTTPS(t, certificates.HTTPS())
		b.damage(p)
		_, err = certificates.Prepare(c)
		if err == nil {
			t.Errorf("%s: a reload takes it", name)
			continue
		}
		seen := ""
		for range 3 {
			seen = certificates.look(seen)
		}
		for _, want := range b.want {
			if !strings.Contains(err.Error(), want) || !strings.Contains(log.String(), want) {
				t.Errorf("%s: %q is not in the error %q, or not in the log %q", name, want, err, log.String())
			}
		}
		if strings.Count(log.String(), "NOT RENEWED") != 1 {
			t.Errorf("%s: the log: %s", name, log.String())
		}
		if shown := certificates.Identity().Certificate().Certificate[1]; !bytes.Equal(shown, first.Certificate[0]) {
			t.Errorf("%s: agents are shown another certificate", name)
		}
		if state, err := ask(t, addr, &tls.Config{RootCAs: root.Roots(), ServerName: "localhost"}); err != nil || !bytes.Equal(state.PeerCertificates[0].Raw, first.Certificate[0]) {
			t.Errorf("%s: HTTPS does not go on as before: %v", name, err)
		}
		if _, err := open(t, c, &log); err == nil {
			t.Errorf("%s: an agent starts with it", name)
		}
	}
}

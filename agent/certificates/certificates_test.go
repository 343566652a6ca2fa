package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/transport/authority"
	"github.com/legate-project/legate/transport/identity"
)

// pki is an authority of a test and the files of its certificates.
type pki struct {
	t   *testing.T
	dir string
	by  *authority.Authority
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{t: t, dir: t.TempDir()}
	made, err := authority.New(authority.Settings{Domain: "consul", Life: 1000 * time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.write("ca.pem", made.Certificate)
	pair, err := tls.X509KeyPair(made.Certificate, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	if p.by, err = authority.Open(pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pki) write(name string, b []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// issue writes a certificate for a server, and its key unless that is to be missing.
func (p *pki) issue(life time.Duration, withKey bool) {
	p.t.Helper()
	pair, err := p.by.Issue(authority.Request{Datacenter: "dc1", Domain: "consul", Life: life}, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("cert.pem", pair.Certificate)
	if withKey {
		p.write("key.pem", pair.Key)
	}
}

func (p *pki) config() config.TLS {
	l := config.TLSListener{CAFile: filepath.Join(p.dir, "ca.pem"), CertFile: filepath.Join(p.dir, "cert.pem"), KeyFile: filepath.Join(p.dir, "key.pem")}
	return config.TLS{InternalRPC: l, HTTPS: l}
}

func open(t *testing.T, c config.TLS, log *bytes.Buffer) (*Certificates, error) {
	t.Helper()
	self := identity.Peer{Federation: "f", Datacenter: "dc1", NodeID: "id", Name: "n", Server: true}
	fallback, err := identity.NewDerived(make([]byte, 32), self)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Config: &config.Config{TLS: c, Domain: "consul.", ClientAddrs: []string{"127.0.0.1"}, Ports: config.Ports{HTTPS: 8501}},
		Self: self, Fallback: fallback, Log: logging.New(log, &slog.LevelVar{}, false), Registerer: prometheus.NewRegistry()})
}

// Files are read once they have been left alone for a look; a pair that does not fit is
// told of once and changes nothing.
func TestFilesThatChangeAreRead(t *testing.T) {
	p := newPKI(t)
	p.issue(900*time.Hour, true)
	var log bytes.Buffer
	c, err := open(t, p.config(), &log)
	if err != nil {
		t.Fatal(err)
	}
	first := c.https.Load().leaf
	seen := c.look("")
	if seen = c.look(seen); c.https.Load().leaf != first {
		t.Error("files that have not changed are read again")
	}
	p.issue(800*time.Hour, true)
	if seen = c.look(seen); c.https.Load().leaf != first {
		t.Error("files are read before they were left alone")
	}
	seen = c.look(seen)
	second := c.https.Load().leaf
	if second == first || !strings.Contains(log.String(), "read again") {
		t.Fatalf("files that have changed are not read: %s", log.String())
	}
	log.Reset()
	p.issue(700*time.Hour, false)
	for range 4 {
		seen = c.look(seen)
	}
	if c.https.Load().leaf != second || strings.Count(log.String(), "NOT RENEWED") != 1 || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("a key that does not fit: %s", log.String())
	}
	if shown := c.Identity().Certificate().Certificate[1]; !bytes.Equal(shown, second.Certificate[0]) {
		t.Error("agents are shown another certificate than clients")
	}
	p.issue(600*time.Hour, true)
	for range 2 {
		seen = c.look(seen)
	}
	if c.https.Load().leaf == second {
		t.Error("after a fault good files are not read")
	}
}

// From 30 days before the end of a certificate on the log says so, once a day.
func TestExpiryIsToldOnceADay(t *testing.T) {
	p := newPKI(t)
	p.issue(40*24*time.Hour, true)
	var log bytes.Buffer
	c, err := open(t, p.config(), &log)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for hours := range 42 * 24 {
		c.now = func() time.Time { return start.Add(time.Duration(hours) * time.Hour) }
		c.warnOfExpiry()
		lines := strings.Count(log.String(), "listener=")
		if days := hours / 24; hours%24 == 23 {
			want := 0
			if days >= 10 {
				want = 2 // one for each listener
			}
			if lines != want {
				t.Errorf("on day %d there are %d lines: %s", days, lines, log.String())
			}
			if expired := strings.Contains(log.String(), "HAS EXPIRED"); expired != (days > 40) && days != 40 {
				t.Errorf("on day %d: %s", days, log.String())
			}
			log.Reset()
		}
	}
}

// A fault that two listeners have is told once, with both.
func TestFaultsOfBothListenersAreToldOnce(t *testing.T) {
	p := newPKI(t)
	p.issue(-time.Hour, true)
	_, err := open(t, p.config(), &bytes.Buffer{})
	if err == nil || strings.Count(err.Error(), "expired on") != 1 || !strings.Contains(err.Error(), "tls.internal_rpc, tls.https: cert_file") {
		t.Errorf("%v", err)
	}
	p.issue(time.Hour, true)
	conf := p.config()
	conf.InternalRPC.VerifyServerHostname = true
	conf.InternalRPC.CAFile = filepath.Join(newPKI(t).dir, "ca.pem")
	if _, err := open(t, conf, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "other agents would refuse it") {
		t.Errorf("a certificate of another authority: %v", err)
	}
}

// HTTP/2 is offered where a suite can be agreed on that it allows.
func TestHTTP2NeedsASuite(t *testing.T) {
	for _, c := range []struct {
		suites []uint16
		want   bool
	}{
		{nil, true}, {[]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}, false},
		{[]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}, true},
	} {
		if forHTTP2(c.suites) != c.want {
			t.Errorf("%v: %v", c.suites, !c.want)
		}
	}
}

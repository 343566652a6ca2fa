package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// issued is a certificate of a test and its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// make makes a certificate under by, or under itself.
func (by *issued) make(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) *issued {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true}
	if change != nil {
		change(template)
	}
	parent := &issued{template, key}
	if by != nil {
		parent = by
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key}
}

func newAuthority(t testing.TB, change func(*x509.Certificate)) *issued {
	t.Helper()
	return (*issued)(nil).make(t, newKey(t), func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage, c.ExtKeyUsage = "authority", true, x509.KeyUsageCertSign, nil
		if change != nil {
			change(c)
		}
	})
}

func (i *issued) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	return pool
}

func (i *issued) tls(above ...*issued) *tls.Certificate {
	c := &tls.Certificate{Certificate: [][]byte{i.cert.Raw}, PrivateKey: i.key, Leaf: i.cert}
	for _, a := range above {
		c.Certificate = append(c.Certificate, a.cert.Raw)
	}
	return c
}

// delegatedBy is an identity that shows a certificate of files, fallen back from a
// gossip key.
func delegatedBy(t testing.TB, key []byte, p Peer, policy Policy) *Delegated {
	t.Helper()
	fallback, err := NewDerived(key, p)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDelegated(p, fallback)
	if err := d.SetPolicy(policy); err != nil {
		t.Fatal(err)
	}
	return d
}

// Agents with certificates of one authority know each other, whatever kind of key
// they have and whether there is an authority between.
func TestCertificatesFromFilesCarryAPeer(t *testing.T) {
	root := newAuthority(t, nil)
	between := root.make(t, newKey(t), func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, "between"
	})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	judge := delegatedBy(t, testKey(1), server("judge"), Policy{Roots: root.roots(), VerifyIncoming: true, VerifyOutgoing: true})
	for name, c := range map[string]*tls.Certificate{
		"ECDSA": root.make(t, newKey(t), nil).tls(), "RSA": root.make(t, rsaKey, nil).tls(), "Ed25519": root.make(t, edKey, nil).tls(),
		"an authority between": between.make(t, newKey(t), nil).tls(between),
	} {
		d := delegatedBy(t, testKey(2), server("a"), Policy{Certificate: c, Roots: root.roots()})
		for _, dir := range []Direction{Incoming, Outgoing} {
			if p, err := judge.Verify(d.Certificate().Certificate, dir); err != nil || p != server("a") {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		}
		if !d.Authority().Equal(root.cert) {
			t.Errorf("%s: the authority is %s", name, d.Authority().Subject)
		}
	}
}

// Every way in which what a peer shows can be wrong.
func TestWrongCertificatesFromFilesAreRefused(t *testing.T) {
	root, stranger := newAuthority(t, nil), newAuthority(t, nil)
	good := root.make(t, newKey(t), nil)
	judge := delegatedBy(t, testKey(1), server("judge"), Policy{Roots: root.roots(), ServerDomain: "consul."})
	lax := delegatedBy(t, testKey(1), server("judge"), Policy{Roots: root.roots()})
	named := root.make(t, newKey(t), func(c *x509.Certificate) { c.DNSNames = []string{"SERVER.dc1.consul"} })
	// delegate makes what a peer would show who does not check it first.
	delegate := func(by *issued, p Peer, change func(*x509.Certificate)) [][]byte {
		uri, err := uriOf(p)
		if err != nil {
			t.Fatal(err)
		}
		leaf := by.make(t, newKey(t), func(c *x509.Certificate) {
			c.URIs, c.NotBefore, c.NotAfter, c.BasicConstraintsValid = []*url.URL{uri}, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), false
			if change != nil {
				change(c)
			}
		})
		return [][]byte{leaf.cert.Raw, by.cert.Raw}
	}
	of := func(change func(*x509.Certificate)) *issued { return root.make(t, newKey(t), change) }
	if _, err := lax.Verify(delegate(good, server("a"), nil), Incoming); err != nil {
		t.Fatalf("a good one is refused: %v", err)
	}
	if _, err := judge.Verify(delegate(named, server("a"), nil), Incoming); err != nil {
		t.Fatalf("a server with its name is refused: %v", err)
	}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	long := append(delegate(good, server("a"), nil), make([][]byte, maxChain)...)
	for name, c := range map[string]struct {
		raw  [][]byte
		want error
	}{
		"another authority":                {delegate(stranger.make(t, newKey(t), nil), server("a"), nil), ErrWrongAuthority},
		"expired":                          {delegate(of(expired), server("a"), func(c *x509.Certificate) { expired(c) }), ErrWrongAuthority},
		"not valid yet":                    {delegate(of(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), server("a"), nil), ErrWrongAuthority},
		"a server, for clients only":       {delegate(of(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), server("a"), nil), ErrWrongAuthority},
		"a client, for servers only":       {delegate(of(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), Peer{Federation: "fed", Datacenter: "dc1", Name: "a"}, nil), ErrWrongAuthority},
		"not for signatures":               {delegate(of(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), server("a"), nil), ErrBadCertificate},
		"the authority itself":             {delegate(root, server("a"), nil), ErrBadCertificate},
		"no delegation":                    {[][]byte{good.cert.Raw, root.cert.Raw}, ErrBadCertificate},
		"signed by another key":            {[][]byte{delegate(named, server("a"), nil)[0], good.cert.Raw}, ErrBadCertificate},
		"delegated for months":             {delegate(good, server("a"), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(20 * 24 * time.Hour) }), ErrBadCertificate},
		"delegated beyond the certificate": {delegate(of(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }), server("a"), nil), ErrBadCertificate},
		"delegated before the certificate": {delegate(of(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-time.Minute) }), server("a"), nil), ErrBadCertificate},
		"the delegation has expired":       {delegate(good, server("a"), expired), ErrBadCertificate},
		"the delegation is an authority":   {delegate(good, server("a"), func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), ErrBadCertificate},
		"the delegation cannot sign":       {delegate(good, server("a"), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), ErrBadCertificate},
		"something critical in it": {delegate(good, server("a"), func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), ErrBadCertificate},
		"no peer in it":          {delegate(good, server("a"), func(c *x509.Certificate) { c.URIs = nil }), ErrBadCertificate},
		"too many":               {long, ErrBadCertificate},
		"garbage":                {[][]byte{delegate(good, server("a"), nil)[0], good.cert.Raw, []byte("garbage")}, ErrBadCertificate},
		"another federation":     {delegate(good, Peer{Federation: "mars", Datacenter: "dc1", Name: "a", Server: true}, nil), ErrWrongFederation},
		"another gossip key":     {derived(t, testKey(9), server("a")).Certificate().Certificate, ErrWrongAuthority},
		"no certificate at all":  {nil, ErrBadCertificate},
		"signature that is torn": {torn(delegate(good, server("a"), nil)), ErrBadCertificate},
	} {
		if p, err := lax.Verify(c.raw, Incoming); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, p, err, c.want)
		}
	}
	for name, raw := range map[string][][]byte{
		"no name":              delegate(good, server("a"), nil),
		"another datacenter's": delegate(named, Peer{Federation: "fed", Datacenter: "dc2", Name: "a", Server: true}, nil),
		"a wildcard":           delegate(of(func(c *x509.Certificate) { c.DNSNames = []string{"*.dc1.consul"} }), server("a"), nil),
		"a gossip key":         derived(t, testKey(1), server("a")).Certificate().Certificate,
	} {
		for _, dir := range []Direction{Incoming, Outgoing} {
			if p, err := judge.Verify(raw, dir); !errors.Is(err, ErrWrongServerName) {
				t.Errorf("a server with %s: %+v, %v", name, p, err)
			}
		}
	}
	client := Peer{Federation: "fed", Datacenter: "dc1", Name: "c"}
	if p, err := judge.Verify(delegate(good, client, nil), Incoming); err != nil || p != client {
		t.Errorf("a client needs no name: %+v, %v", p, err)
	}
}

// torn changes the last byte of the first certificate, which is in its signature.
func torn(raw [][]byte) [][]byte {
	first := append([]byte(nil), raw[0]...)
	first[len(first)-1] ^= 1
	return [][]byte{first, raw[1]}
}

// The way from gossip keys to files: who knows the authority accepts both kinds, who
// asks for files only those, each in the direction that it asks in.
func TestBothKindsAreAcceptedUntilOneIsAskedFor(t *testing.T) {
	root := newAuthority(t, nil)
	cert := root.make(t, newKey(t), nil).tls()
	kinds := map[string]Policy{
		"gossip key": {}, "knows the authority": {Roots: root.roots()}, "shows files": {Roots: root.roots(), Certificate: cert},
		"asks who answers": {Roots: root.roots(), VerifyOutgoing: true},
		"asks all":         {Roots: root.roots(), Certificate: cert, VerifyIncoming: true, VerifyOutgoing: true},
	}
	refuses := func(judge, shown string, dir Direction) bool {
		files := shown == "shows files" || shown == "asks all"
		switch judge {
		case "gossip key":
			return files
		case "asks who answers":
			return !files && dir == Outgoing
		case "asks all":
			return !files
		}
		return false
	}
	for judge, policy := range kinds {
		j := delegatedBy(t, testKey(1), server("judge"), policy)
		for shown, policy := range kinds {
			raw := delegatedBy(t, testKey(1), server("a"), policy).Certificate().Certificate
			for _, dir := range []Direction{Incoming, Outgoing} {
				p, err := j.Verify(raw, dir)
				if (err != nil) != refuses(judge, shown, dir) || err == nil && p != server("a") || err != nil && !errors.Is(err, ErrWrongAuthority) {
					t.Errorf("%q judges %q, direction %d: %+v, %v", judge, shown, dir, p, err)
				}
			}
		}
	}
	_, err := delegatedBy(t, testKey(1), server("judge"), Policy{}).Verify(delegatedBy(t, testKey(1), server("a"), kinds["shows files"]).Certificate().Certificate, Incoming)
	if err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("who has no authority is not told so: %v", err)
	}
}

// A certificate that others would refuse is refused before it is shown, and what was
// in use stays.
func TestCertificatesThatOthersWouldRefuseAreNotShown(t *testing.T) {
	root := newAuthority(t, nil)
	d := delegatedBy(t, testKey(1), server("a"), Policy{Roots: root.roots(), Certificate: root.make(t, newKey(t), nil).tls()})
	before := d.Certificate()
	for name, p := range map[string]Policy{
		"another authority": {Roots: root.roots(), Certificate: newAuthority(t, nil).make(t, newKey(t), nil).tls()},
		"an authority's":    {Roots: root.roots(), Certificate: root.tls()},
		"no server's name":  {Roots: root.roots(), Certificate: root.make(t, newKey(t), nil).tls(), ServerDomain: "consul"},
		"for clients": {Roots: root.roots(), Certificate: root.make(t, newKey(t), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}).tls()},
	} {
		if err := d.SetPolicy(p); err == nil {
			t.Errorf("%s: taken", name)
		}
		if d.Certificate() != before {
			t.Errorf("%s: what is shown has changed", name)
		}
	}
}

// A delegation lives for days and is made anew each day, never beyond the
// certificate behind it.
func TestDelegationsAreRenewed(t *testing.T) {
	root := newAuthority(t, nil)
	operator := root.make(t, newKey(t), nil)
	d := delegatedBy(t, testKey(1), server("a"), Policy{Roots: root.roots(), Certificate: operator.tls()})
	clock := time.Now()
	d.now = func() time.Time { return clock }
	var last *tls.Certificate
	for clock.Before(operator.cert.NotAfter) {
		c := d.Certificate()
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if leaf.NotAfter.After(operator.cert.NotAfter) || leaf.NotAfter.Sub(leaf.NotBefore) > delegatedLife+clockSkew {
			t.Errorf("valid from %s to %s", leaf.NotBefore, leaf.NotAfter)
		}
		if p, err := d.Verify(c.Certificate, Incoming); err != nil || p != server("a") {
			t.Errorf("on %s: %+v, %v", clock, p, err)
		}
		if c == last {
			t.Errorf("on %s it is the one of the day before", clock)
		}
		if d.Certificate() != c {
			t.Error("each handshake has another one")
		}
		last = c
		clock = clock.Add(renewAfter + time.Minute)
	}
	if _, err := d.Verify(last.Certificate, Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("after the end: %v", err)
	}
}

func FuzzVerifyDelegated(f *testing.F) {
	root := newAuthority(f, nil)
	good := delegatedBy(f, testKey(1), server("a"), Policy{Roots: root.roots(), Certificate: root.make(f, newKey(f), nil).tls()}).Certificate().Certificate
	judge := delegatedBy(f, testKey(2), server("judge"), Policy{Roots: root.roots()})
	f.Add(good[0], good[1])
	f.Add(good[1], good[0])
	f.Fuzz(func(t *testing.T, one, other []byte) {
		if string(one) == string(good[0]) && string(other) == string(good[1]) {
			return
		}
		if p, err := judge.Verify([][]byte{one, other}, Incoming); err == nil {
			t.Fatalf("forged certificates passed as %s", p)
		}
	})
}

// An identity beside another follows the same policy, and has a fallback of its own.
func TestIdentitiesBesideEachOtherShareThePolicy(t *testing.T) {
	near, far := derived(t, testKey(1), server("a")), derived(t, testKey(2), server("a"))
	d := NewDelegated(server("a"), near)
	b := d.Beside(far)
	for _, c := range []struct {
		id       *Delegated
		fallback *Derived
	}{{d, near}, {b, far}} {
		if !c.id.Authority().Equal(c.fallback.Authority()) {
			t.Error("the authority is that of the other's fallback")
		}
		if _, err := c.id.Verify(c.fallback.Certificate().Certificate, Incoming); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Verify(near.Certificate().Certificate, Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("a certificate under the other's key: %v", err)
	}
	if err := d.SetPolicy(Policy{VerifyIncoming: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(far.Certificate().Certificate, Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("after the policy asks for files: %v", err)
	}
}

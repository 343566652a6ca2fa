package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func gateway(name string) Peer {
	return Peer{Federation: "fed", Datacenter: "dc1", NodeID: "id-" + name, Name: name, Gateway: true}
}

// bestow has a server give a gateway what it is.
func bestow(t *testing.T, s *Derived, p Peer) (*Bestowed, ed25519.PrivateKey) {
	t.Helper()
	request, key, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	certificates, authorities, err := s.Bestow(request, p)
	if err != nil {
		t.Fatal(err)
	}
	b := NewBestowed(p)
	if _, err := b.Take(certificates, authorities, key); err != nil {
		t.Fatal(err)
	}
	return b, key
}

// A gateway and servers with the key of the WAN pool know each other, while they have an
// authority in common, and until what the gateway was given ends.
func TestAGatewayIsWhatServersSayForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(27 * 365 * 24 * time.Hour) // virtual time begins before the authorities
		s := derived(t, testKey(1), server("s"))
		if err := s.SetKeys(testKey(1), testKey(2)); err != nil {
			t.Fatal(err)
		}
		nobody := NewBestowed(gateway("g"))
		if nobody.Certificate() != nil || nobody.Authority() != nil || !nobody.Until().IsZero() {
			t.Error("before it is given anything it is somebody")
		}
		if _, err := nobody.Verify(s.Certificate().Certificate, Incoming); !errors.Is(err, ErrWrongAuthority) {
			t.Errorf("before it knows anybody: %v", err)
		}
		g, _ := bestow(t, s, gateway("g"))
		if d := time.Until(g.Until()); d != grantLife || !g.Authority().Equal(s.Authority()) {
			t.Errorf("it is valid for %s", d)
		}
		for i := range byte(3) {
			other := derived(t, testKey(i+1), server("o"))
			p, err := other.Verify(g.Certificate().Certificate, Incoming)
			q, err2 := g.Verify(other.Certificate().Certificate, Outgoing)
			if known := i < 2; known != (err == nil && p == gateway("g")) || known != (err2 == nil && q == server("o")) {
				t.Errorf("a server with key %d: it sees %v, %v, and the gateway %v, %v", i+1, p, err, q, err2)
			}
		}
		shown := g.Certificate().Certificate
		<-time.After(grantLife - time.Second)
		if _, err := s.Verify(shown, Incoming); err != nil {
			t.Errorf("a second before its end: %v", err)
		}
		<-time.After(2 * time.Second)
		if _, err := s.Verify(shown, Incoming); !errors.Is(err, ErrWrongAuthority) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("a second after its end: %v", err)
		}
		if g.Certificate() != nil {
			t.Error("it is shown after its end")
		}
	})
}

// Who may not be a gateway is given nothing, and what a gateway did not ask for, or others
// would refuse, it does not take.
func TestWhatGatewaysAreGiven(t *testing.T) {
	s := derived(t, testKey(1), server("s"))
	request, key, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*Peer)) Peer { p := gateway("g"); f(&p); return p }
	for name, c := range map[string]struct {
		request []byte
		p       Peer
		want    string
	}{
		"a server":           {request, change(func(p *Peer) { p.Server, p.Gateway = true, false }), "client agents of datacenter dc1 alone"},
		"a client agent":     {request, change(func(p *Peer) { p.Gateway = false }), "certify gateways"},
		"another datacenter": {request, change(func(p *Peer) { p.Datacenter = "dc2" }), "client agents of datacenter dc1 alone"},
		"another federation": {request, change(func(p *Peer) { p.Federation = "mars" }), "client agents of datacenter dc1 alone"},
		"nonsense":           {[]byte("nonsense"), gateway("g"), "cannot be read"},
	} {
		if certs, above, err := s.Bestow(c.request, c.p); err == nil || !strings.Contains(err.Error(), c.want) || certs != nil || above != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	certs, above, err := s.Bestow(request, gateway("g"))
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	stranger := derived(t, testKey(9), server("x"))
	long, err := certify(gateway("g"), key.Public().(ed25519.PublicKey), lasting(s.state.Load().by[0].cert, s.state.Load().by[0].key))
	if err != nil {
		t.Fatal(err)
	}
	many := make([][]byte, maxKeys+1)
	for name, c := range map[string]struct {
		self         Peer
		certs, above [][]byte
		key          ed25519.PrivateKey
	}{
		"another key":                {gateway("g"), certs, above, other},
		"another gateway's":          {gateway("h"), certs, above, key},
		"another authority":          {gateway("g"), certs, stranger.Authorities(), key},
		"no authority":               {gateway("g"), nil, nil, key},
		"less than authorities":      {gateway("g"), certs, append(above[:1:1], stranger.Authorities()...), key},
		"authorities that are none":  {gateway("g"), certs, certs, key},
		"for ever":                   {gateway("g"), [][]byte{long}, above, key},
		"more than anybody has keys": {gateway("g"), many, many, key},
		"nonsense":                   {gateway("g"), [][]byte{{1}}, above, key},
	} {
		b := NewBestowed(c.self)
		if _, err := b.Take(c.certs, c.above, c.key); err == nil || b.Certificate() != nil {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

// forgery is what an attacker shows; the handshake proves that he has the key of the first.
type forgery struct {
	name  string
	chain [][]byte
}

// forgeries are all that who has a gateway can make that says that he is p: with its key and
// certificates, the public authorities, and the key of its LAN pool.
func forgeries(t *testing.T, g *Bestowed, key ed25519.PrivateKey, authorities [][]byte, lan []byte, p Peer) (out []forgery) {
	t.Helper()
	pub := key.Public().(ed25519.PublicKey)
	own := g.Certificate().Certificate
	leaf, err := x509.ParseCertificate(own[0])
	if err != nil {
		t.Fatal(err)
	}
	above, err := x509.ParseCertificate(authorities[0])
	if err != nil {
		t.Fatal(err)
	}
	above.PublicKey = pub // its name, and the gateway's key
	by := func(c *x509.Certificate) []byte {
		from, to := always()
		raw, err := certify(p, pub, issuer{cert: c, key: key, from: from, to: to})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	byGateway, byName := by(leaf), by(above)
	byItself, err := NewSelfSigned(p)
	if err != nil {
		t.Fatal(err)
	}
	byLAN := derived(t, lan, p).Certificate().Certificate
	between, err := certifyAuthority(leaf, key)
	if err != nil {
		t.Fatal(err)
	}
	middle, err := x509.ParseCertificate(between)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string, chain ...[]byte) { out = append(out, forgery{name, chain}) }
	add("signed with the gateway's key", byGateway)
	add("the same with the gateway's certificate above it", append([][]byte{byGateway}, own...)...)
	add("the same with the authorities above that", append(append([][]byte{byGateway}, own...), authorities...)...)
	add("in the name of the authority", append([][]byte{byName}, authorities...)...)
	add("the same beside the gateway's certificate of the same key", append([][]byte{byName}, own...)...)
	add("signed by itself", byItself.Certificate().Certificate...)
	add("signed by itself, beside the gateway's certificate", append(byItself.Certificate().Certificate, own...)...)
	add("of the LAN pool's key", byLAN...)
	add("of the LAN pool's key, beside the gateway's certificate", append(byLAN, own...)...)
	add("under an authority that the gateway made", append([][]byte{by(middle), between}, own...)...)
	return out
}

// certifyAuthority has a certificate sign an authority of the same key, which it may not.
func certifyAuthority(by *x509.Certificate, key ed25519.PrivateKey) ([]byte, error) {
	from, to := always()
	template := &x509.Certificate{SerialNumber: by.SerialNumber, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}
	return x509.CreateCertificate(rand.Reader, template, by, key.Public(), key)
}

// With all that a gateway has nobody makes a server of himself: of the own datacenter or of
// another one, dialling or dialled, whether servers go by keys or by files as well.
func TestWhatAGatewayHasMakesNoServer(t *testing.T) {
	wan, lan := testKey(1), testKey(2)
	s := derived(t, wan, server("s"))
	g, key := bestow(t, s, gateway("g"))
	root := newAuthority(t, nil)
	files := NewDelegated(server("s"), s)
	if err := files.SetPolicy(Policy{Roots: root.roots(), Certificate: root.make(t, newKey(t), nil).tls()}); err != nil {
		t.Fatal(err)
	}
	request, key2, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	delegation, err := files.Grant(request, gateway("g"))
	if err != nil {
		t.Fatal(err)
	}
	far := server("far")
	far.Datacenter = "dc2"
	for _, p := range []Peer{server("s"), server("new"), far, gateway("another"), {Federation: "fed", Datacenter: "dc1", NodeID: "id-g", Name: "g"}} {
		all := forgeries(t, g, key, s.Authorities(), lan, p)
		uri, err := x509.ParseCertificate(delegation[0])
		if err != nil {
			t.Fatal(err)
		}
		from, to := uri.NotBefore, uri.NotAfter
		raw, err := certify(p, key2.Public().(ed25519.PublicKey), issuer{cert: uri, key: key2, from: from, to: to})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, forgery{"signed with the key of a delegation", append([][]byte{raw}, delegation[1:]...)},
			forgery{"the same above the delegation", append([][]byte{raw}, delegation...)})
		for _, d := range []Direction{Incoming, Outgoing} {
			for name, judge := range map[string]Fallback{"by keys": s, "by keys and files": files, "another gateway": g} {
				for _, f := range all {
					if got, err := judge.Verify(f.chain, d); err == nil && got != gateway("g") {
						t.Errorf("%s, as %s, direction %d, %s: it is believed to be %s", f.name, p, d, name, got)
					}
				}
			}
		}
		if len(all) != 12 {
			t.Fatalf("%d forgeries", len(all))
		}
	}
	for _, chain := range [][][]byte{g.Certificate().Certificate, delegation} { // the test can fail
		if got, err := files.Verify(chain, Incoming); err != nil || got != gateway("g") {
			t.Errorf("what it was given: %v, %v", got, err)
		}
	}
}

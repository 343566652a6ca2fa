package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func testKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

func server(name string) Peer {
	return Peer{Federation: "fed", Datacenter: "dc1", NodeID: "id-" + name, Name: name, Server: true}
}

func derived(t *testing.T, key []byte, p Peer) *Derived {
	t.Helper()
	id, err := NewDerived(key, p)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestIdentityNamesSurviveTheCertificate(t *testing.T) {
	for _, p := range []Peer{
		server("a"),
		{Datacenter: "dc/2", NodeID: "", Name: "näme with %2F, / and ?", Server: false},
		{Federation: "..", Datacenter: ".", NodeID: "//", Name: "#"},
	} {
		id, err := NewSelfSigned(p)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		_, got, err := readLeaf(id.Certificate().Certificate)
		if err != nil || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
}

func TestUnusableIdentitiesAreNotMade(t *testing.T) {
	long := server(strings.Repeat("n", maxURI))
	for _, p := range []Peer{{Name: "a"}, {Datacenter: "dc1"}, long} {
		if _, err := NewSelfSigned(p); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
	if _, err := NewDerived([]byte("short"), server("a")); err == nil {
		t.Error("a key of 5 bytes was accepted")
	}
}

func TestCertificatesOfOthersAreRefused(t *testing.T) {
	id := derived(t, testKey(1), server("a"))
	for name, raw := range map[string][][]byte{
		"none": nil, "empty": {{}}, "garbage": {[]byte("garbage")},
		"another key": derived(t, testKey(2), server("a")).Certificate().Certificate,
	} {
		if _, err := id.Verify(raw, Incoming); !errors.Is(err, ErrBadCertificate) && !errors.Is(err, ErrWrongAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ca, _, err := deriveAuthority(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Verify([][]byte{ca.Raw}, Incoming); !errors.Is(err, ErrBadCertificate) {
		t.Errorf("the authority itself: %v", err)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("legate:///v1/fed/dc1/id/name/server")
	f.Add("legate:///v1/%2F/%00/%zz/x/client")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		p, err := parseURI(u)
		if err != nil {
			if !errors.Is(err, ErrBadCertificate) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := uriOf(p)
		if err != nil {
			return
		}
		if q, err := parseURI(again); err != nil || q != p {
			t.Fatalf("%q: %+v came back as %+v, %v", text, p, q, err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	id, err := NewDerived(testKey(1), server("a"))
	if err != nil {
		f.Fatal(err)
	}
	other, err := NewDerived(testKey(2), server("a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(other.Certificate().Certificate[0])
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, err := id.Verify([][]byte{raw}, Incoming); err == nil {
			t.Fatalf("a forged certificate passed as %s", p)
		}
	})
}

// Two ends accept each other exactly as long as they have a key in common, in each
// step of a rotation, whoever missed which.
func TestAKeyInCommonIsEnough(t *testing.T) {
	rings := map[string][][]byte{
		"old": {testKey(1)}, "installed": {testKey(1), testKey(2)}, "used": {testKey(2), testKey(1)}, "removed": {testKey(2)},
		"the next": {testKey(3), testKey(2)},
	}
	ends := map[string]*Derived{}
	for name, keys := range rings {
		id, err := NewDerived(keys[0], server(name), keys[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		ends[name] = id
	}
	for one, a := range ends {
		for other, b := range ends {
			common := false
			for _, k := range rings[one] {
				common = common || slices.ContainsFunc(rings[other], func(o []byte) bool { return bytes.Equal(k, o) })
			}
			p, err := a.Verify(b.Certificate().Certificate, Incoming)
			if (err == nil) != common || err == nil && p != server(other) {
				t.Errorf("%s judges %s: %+v, %v; a key in common: %v", one, other, p, err, common)
			}
		}
	}
}

// What was shown to somebody is of no use to him: a certificate counts beside the
// one that the handshake has proof of only if it is of the same private key and
// says the same.
func TestCertificatesOfOthersBesideTheOwnAreRefused(t *testing.T) {
	id := derived(t, testKey(2), server("a"))
	honest := derived(t, testKey(2), server("b")).Certificate().Certificate[0]
	forger := derived(t, testKey(1), server("b"))
	own := forger.Certificate().Certificate[0]
	if _, err := id.Verify([][]byte{own, honest}, Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("the certificate of another key vouches for this one: %v", err)
	}
	// Who holds both keys may make it, but not say two things with one key.
	ca, caKey, err := deriveAuthority(testKey(2))
	if err != nil {
		t.Fatal(err)
	}
	client := derived(t, testKey(1), Peer{Federation: "fed", Datacenter: "dc1", Name: "b"}).Certificate()
	again, err := reissue(client, ca, caKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Verify([][]byte{client.Certificate[0], again}, Incoming); err != nil {
		t.Errorf("the same of the same key: %v", err)
	}
	uri, err := uriOf(server("b"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(client.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf.URIs = []*url.URL{uri}
	promoted, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: leaf.SerialNumber, NotBefore: leaf.NotBefore,
		NotAfter: leaf.NotAfter, URIs: leaf.URIs}, ca, leaf.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Verify([][]byte{client.Certificate[0], promoted}, Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("another peer of the same key: %v", err)
	}
	many := make([][]byte, 1, 3*maxKeys)
	many[0] = client.Certificate[0]
	for range 2 * maxKeys {
		many = append(many, own)
	}
	if _, err := id.Verify(append(many, again), Incoming); !errors.Is(err, ErrWrongAuthority) {
		t.Errorf("the certificate behind %d others was looked at: %v", 2*maxKeys, err)
	}
}

func TestKeysAreBounded(t *testing.T) {
	id := derived(t, testKey(1), server("a"))
	var keys [][]byte
	for i := range maxKeys {
		keys = append(keys, testKey(byte(i+2)))
	}
	if err := id.SetKeys(testKey(1), keys...); err == nil {
		t.Errorf("%d keys were taken", maxKeys+1)
	}
	if _, err := id.Verify(id.Certificate().Certificate, Incoming); err != nil {
		t.Errorf("after a refused change it does not know itself: %v", err)
	}
}

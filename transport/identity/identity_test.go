package identity

import (
	"bytes"
	"errors"
	"net/url"
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
		if _, err := id.Verify(raw); !errors.Is(err, ErrBadCertificate) && !errors.Is(err, ErrWrongAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ca, _, err := deriveAuthority(testKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Verify([][]byte{ca.Raw}); !errors.Is(err, ErrBadCertificate) {
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
		if p, err := id.Verify([][]byte{raw}); err == nil {
			t.Fatalf("a forged certificate passed as %s", p)
		}
	})
}

package transport

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestIdentityNamesSurviveTheCertificate(t *testing.T) {
	for _, p := range []Peer{
		server("a"),
		{Datacenter: "dc/2", NodeID: "", Name: "näme with %2F, / and ?", Server: false},
		{Federation: "..", Datacenter: ".", NodeID: "//", Name: "#"},
	} {
		id, err := NewSelfSignedIdentity(p)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		_, got, err := readIdentity(id.Certificate().Certificate)
		if err != nil || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
}

func TestUnusableIdentitiesAreNotMade(t *testing.T) {
	long := server(strings.Repeat("n", maxIdentity))
	for _, p := range []Peer{{Name: "a"}, {Datacenter: "dc1"}, long} {
		if _, err := NewSelfSignedIdentity(p); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
	if _, err := NewDerivedIdentity([]byte("short"), server("a")); err == nil {
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
		p, err := parseIdentity(u)
		if err != nil {
			if !errors.Is(err, ErrBadCertificate) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := identityURI(p)
		if err != nil {
			return
		}
		if q, err := parseIdentity(again); err != nil || q != p {
			t.Fatalf("%q: %+v came back as %+v, %v", text, p, q, err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	id, err := NewDerivedIdentity(testKey(1), server("a"))
	if err != nil {
		f.Fatal(err)
	}
	other, err := NewDerivedIdentity(testKey(2), server("a"))
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

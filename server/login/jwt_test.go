package login

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/login/logintest"
	"github.com/legate-project/legate/state/acl"
)

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// byJWT is a harness with a method m that trusts an issuer and lets everybody in.
func byJWT(t *testing.T, more object) (*harness, *logintest.Issuer) {
	t.Helper()
	h, s := newHarness(t), logintest.NewIssuer(t)
	h.must(h.method(acl.Method{Name: "m", Type: "jwt"}, config(s, more)))
	h.must(h.bind(acl.Binding{AuthMethod: "m", BindType: acl.BindService, BindName: "x"}))
	return h, s
}

// Every way in which a token can be wrong, one at a time: all are refused with the same
// words.
func TestTokensThatAreRefused(t *testing.T) {
	h, s := byJWT(t, nil)
	now := h.clock()
	good := s.Sign(h.good(s, nil))
	h.accepts("a good one", "m", good)
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	asText, err := json.Marshal(h.good(s, nil))
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(alg jose.SignatureAlgorithm, key any, kid string) string {
		return logintest.Sign(t, jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, string(asText))
	}
	of := func(payload string) string {
		return logintest.Sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: s.Key()}, payload)
	}
	claim := func(k string, v any) string { return s.Sign(h.good(s, object{k: v})) }
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	stranger := logintest.NewIssuer(t)
	public := []byte(publicPEM(t, s))
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for what, bearer := range map[string]string{
		"alg none":                     encoded(`{"alg":"none"}`) + "." + payload + ".",
		"alg none with a signature":    encoded(`{"alg":"none"}`) + "." + payload + "." + signature,
		"alg nOnE":                     encoded(`{"alg":"nOnE"}`) + "." + payload + ".",
		"no alg":                       encoded(`{}`) + "." + payload + "." + signature,
		"HS256 with the public key":    signedBy(jose.HS256, public, "first"),
		"another algorithm":            signedBy(jose.RS256, rsaKey, "first"),
		"a stranger's key":             signedBy(jose.ES256, stranger.Key().Key, "first"),
		"a key that it brings along":   encoded(`{"alg":"ES256","jwk":`+jwkOf(t, stranger)+`}`) + strings.TrimPrefix(signedBy(jose.ES256, stranger.Key().Key, ""), encoded(`{"alg":"ES256"}`)),
		"an unknown kid":               signedBy(jose.ES256, s.Key().Key, "second"),
		"no signature":                 header + "." + payload + ".",
		"another signature":            header + "." + payload + "." + encoded(strings.Repeat("x", 64)),
		"another payload":              header + "." + encoded(strings.Replace(string(asText), "web", "api", 1)) + "." + signature,
		"two parts":                    header + "." + payload,
		"five parts":                   header + ".x.x.x." + signature,
		"not base64":                   header + ".?." + signature,
		"JSON serialization":           `{"payload":"` + payload + `","protected":"` + header + `","signature":"` + signature + `"}`,
		"a critical header":            encoded(`{"alg":"ES256","crit":["x"],"x":1}`) + "." + payload + "." + signature,
		"another audience":             claim("aud", "vault"),
		"other audiences":              claim("aud", []string{"vault", "nomad"}),
		"no audience":                  claim("aud", nil),
		"an audience that is a number": claim("aud", object{"legate": true}),
		"another issuer":               claim("iss", s.URL+"/"),
		"no issuer":                    claim("iss", nil),
		"several issuers":              claim("iss", []string{s.URL}),
		"over":                         claim("exp", now.Add(-61*time.Second).Unix()),
		"over long ago":                claim("exp", 0),
		"over, as a text":              claim("exp", "9999999999"),
		"over after the end of time":   of(strings.Replace(string(asText), `"exp":`, `"exp":1e300,"x":`, 1)),
		"over before time":             claim("exp", -1),
		"not begun":                    claim("nbf", now.Add(2*time.Minute).Unix()),
		"issued in the future":         claim("iat", now.Add(2*time.Minute).Unix()),
		"without any time":             s.Sign(h.good(s, object{"exp": nil, "iat": nil})),
		"long issued, with no end":     s.Sign(h.good(s, object{"exp": nil, "iat": now.Add(-4 * time.Minute).Unix()})),
		"ends late, begins never":      s.Sign(h.good(s, object{"iat": nil})),
		"no object":                    of(`"x"`),
		"null":                         of(`null`),
		"no JSON":                      of(`{`),
		"two objects":                  of(string(asText) + "{}"),
		"nested deeply":                of(strings.Replace(string(asText), `"sub":`, `"d":`+deep+`,"sub":`, 1)),
		"nested deeply behind a text":  of(strings.Replace(string(asText), `"sub":`, `"d":["`+strings.Repeat("}", 9000)+`",`+deep+`],"sub":`, 1)),
		"a header nested deeply":       encoded(`{"alg":"ES256","x":`+deep+`}`) + "." + payload + "." + signature,
	} {
		_, err := h.try("m", bearer)
		if op.CodeOf(err) != op.CodeDenied || err.Error() != `Permission denied: the auth method "m" does not accept this credential` {
			t.Errorf("%s: %v", what, err)
		}
	}
	h.refuses("huge", "m", claim("x", strings.Repeat("x", acl.MaxBearer)), op.CodeTooLarge)
	for what, claims := range map[string]object{
		"one of several audiences":    {"aud": []string{"vault", "legate"}},
		"over within what clocks may": {"exp": now.Add(-50 * time.Second).Unix()},
		"begun within that":           {"nbf": now.Add(50 * time.Second).Unix()},
		"a date with a fraction":      {"exp": float64(now.Add(time.Hour).UnixMilli()) / 1000},
		"just issued, with no end":    {"exp": nil},
	} {
		h.accepts(what, "m", s.Sign(h.good(s, claims)))
	}
	if strings.Contains(h.log.String(), signature) {
		t.Error("the log shows a bearer")
	}
}

func jwkOf(t *testing.T, s *logintest.Issuer) string {
	t.Helper()
	key := s.Key()
	public := key.Public()
	b, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Without bound audiences a token that is for somebody is for somebody else.
func TestAudiencesThatNobodyAskedFor(t *testing.T) {
	h, s := byJWT(t, object{"BoundAudiences": nil, "BoundIssuer": nil})
	h.refusesFor("for somebody", "m", s, op.CodeDenied)
	h.accepts("for nobody, of anybody", "m", s.Sign(h.good(s, object{"aud": nil, "iss": "x"})))
}

// An issuer that can be discovered vouches for its own tokens, under its own name.
func TestDiscoveredIssuer(t *testing.T) {
	h, s := newHarness(t), logintest.NewIssuer(t)
	c := config(s, object{"JWKSURL": nil, "JWKSCACert": nil, "BoundIssuer": nil, "OIDCDiscoveryURL": s.URL, "OIDCDiscoveryCACert": s.CA})
	h.must(h.method(acl.Method{Name: "m", Type: "jwt"}, c))
	h.must(h.bind(acl.Binding{AuthMethod: "m", BindType: acl.BindService, BindName: "x"}))
	h.accepts("its own", "m", s.Sign(h.good(s, nil)))
	h.refuses("in another name", "m", s.Sign(h.good(s, object{"iss": "https://other"})), op.CodeDenied)
	for what, said := range map[string]object{
		"another name":              {"issuer": s.URL + "/", "jwks_uri": s.URL + "/keys"},
		"no keys":                   {"issuer": s.URL},
		"keys that anybody can see": {"issuer": s.URL, "jwks_uri": strings.Replace(s.URL, "https", "http", 1) + "/keys"},
		"keys on a disk":            {"issuer": s.URL, "jwks_uri": "file:///etc/passwd"},
	} {
		s.Instead(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(said) })
		h.wait(usableFor)
		h.refusesFor(what, "m", s, op.CodeInternal)
	}
}

// Keys come and go; nonsense has the issuer asked no more often than each 30 s.
func TestKeysRotate(t *testing.T) {
	h, s := byJWT(t, nil)
	old := s.Sign(h.good(s, object{"exp": h.clock().Add(24 * time.Hour).Unix()}))
	h.accepts("the first key", "m", old)
	s.Rotate("second")
	rotated := s.Sign(h.good(s, object{"exp": h.clock().Add(24 * time.Hour).Unix()}))
	for range 5 {
		h.refuses("just fetched", "m", rotated, op.CodeDenied)
	}
	if n := s.Fetched(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	h.wait(betterAfter)
	h.accepts("fetched again for it", "m", rotated)
	h.refuses("the key that is gone", "m", old, op.CodeDenied)
	for range 5 {
		h.refuses("nonsense", "m", old, op.CodeDenied)
	}
	if n := s.Fetched(); n != 2 {
		t.Errorf("the keys were fetched %d times, want twice", n)
	}
	s.Rotate("second") // another key under the same name
	h.wait(betterAfter)
	again := s.Sign(h.good(s, object{"exp": h.clock().Add(24 * time.Hour).Unix()}))
	h.accepts("under a name that was known", "m", again)
	s.Rotate("third")
	h.wait(freshFor - time.Second)
	h.accepts("kept, and not asked for", "m", again)
	h.wait(time.Second)
	h.refuses("taken back by the issuer", "m", again, op.CodeDenied)
	third := s.Sign(h.good(s, object{"exp": h.clock().Add(24 * time.Hour).Unix()}))
	h.accepts("the third", "m", third)
	s.Instead(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) })
	h.wait(usableFor - time.Second)
	h.accepts("while the issuer is down", "m", third)
	h.wait(time.Second)
	h.refuses("while it is down for long", "m", third, op.CodeInternal)
	s.Instead(nil)
	h.wait(betterAfter)
	h.accepts("as it is back", "m", third)
}

// What an issuer answers is not trusted to be short, or what it should be.
func TestIssuersThatAnswerNonsense(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for what, answer := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"keys that cannot be used": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"?"},7]}`)
		},
		"too many keys": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[`+strings.Repeat("7,", 200)+`7]}`)
		},
		"without end": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		},
		"a redirect to itself": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"a redirect to http":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) },
		"an error":             func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusInternalServerError) },
	} {
		h, s := byJWT(t, nil)
		s.Instead(answer)
		h.refusesFor(what, "m", s, op.CodeInternal)
		if strings.Contains(h.log.String(), "secret") {
			t.Errorf("%s: the log shows the answer", what)
		}
	}
	h, s := byJWT(t, object{"JWKSCACert": nil})
	h.refusesFor("a certificate that nobody vouches for", "m", s, op.CodeInternal)
}

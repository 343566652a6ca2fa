package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/state/acl/method"
)

// fuzzed is a method that takes what an issuer's one key has signed.
func fuzzed(f *testing.F) (*method.JWTConfig, jose.Signer) {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	raw, err := json.Marshal(map[string]any{"JWTValidationPubKeys": []string{public}, "JWTSupportedAlgs": []string{"ES256"}, "BoundAudiences": []string{"legate"},
		"ClaimMappings": map[string]string{"sub": "user", "/a/b": "deep"}, "ListClaimMappings": map[string]string{"groups": "groups"}})
	if err != nil {
		f.Fatal(err)
	}
	c, err := method.Parse("jwt", raw)
	if err != nil {
		f.Fatal(err)
	}
	return c.(*method.JWTConfig), signer
}

// Whatever a client shows: nobody is known by what the issuer has not signed.
func FuzzToken(f *testing.F) {
	c, signer := fuzzed(f)
	v := newJWTVerifier(c, source{ends: context.Background(), now: time.Now, log: logging.Discard()})
	sign := func(claims string) string {
		s, err := signer.Sign([]byte(claims))
		if err != nil {
			f.Fatal(err)
		}
		text, err := s.CompactSerialize()
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	good := sign(`{"sub":"x","aud":"legate","exp":4102444800,"groups":["a"],"a":{"b":1}}`)
	f.Add(good)
	f.Add(good[:len(good)-4])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, bearer string) {
		id, err := v.verify(context.Background(), bearer)
		if err == nil && bearer != good {
			t.Errorf("%q is known as %+v", bearer, id)
		}
	})
}

// Whatever an issuer has signed: it is accepted or refused.
func FuzzClaims(f *testing.F) {
	c, _ := fuzzed(f)
	v := newJWTVerifier(c, source{ends: context.Background(), now: time.Now, log: logging.Discard()})
	for _, text := range []string{`{"sub":"x","aud":"legate","exp":4102444800}`, `{"aud":["legate"],"exp":1e400,"groups":[[]],"a":{"b":{}}}`, `{"exp":-1,"a":[]}`, `{}{}`, `[`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		claims, err := readClaims(payload)
		if err == nil {
			err = v.accepts(claims)
		}
		if err != nil {
			return
		}
		_, _ = v.identity(claims) // known, or the claims make no sense
	})
}

// Whatever an issuer says of its keys: those that are taken verify and cannot sign.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQ","e":"AQ"},null,{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	f.Add([]byte(`{"keys":`))
	var body []byte
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	f.Cleanup(issuer.Close)
	f.Fuzz(func(t *testing.T, b []byte) {
		body = b
		set, err := fetchKeys(context.Background(), issuer.Client(), issuer.URL)
		if err != nil {
			return
		}
		for i := range set.keys {
			if k := &set.keys[i]; !usable(k) || !k.IsPublic() {
				t.Errorf("taken for a key to verify with: %s", fmt.Sprintf("%T", k.Key))
			}
		}
	})
}

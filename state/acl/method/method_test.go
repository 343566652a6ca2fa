package method

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func publicPEM(t testing.TB) (public, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}))
}

type object map[string]any

func (o object) with(key string, v any) []byte {
	o = maps.Clone(o)
	if o[key] = v; v == nil {
		delete(o, key)
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}

// What cannot work is refused when it is written, with the key that is wrong.
func TestConfigurationsThatCannotWork(t *testing.T) {
	public, private := publicPEM(t)
	jwt := object{"JWTValidationPubKeys": []string{public}, "ClaimMappings": object{"sub": "name"}}
	kubernetes := object{"Host": "https://k", "ServiceAccountJWT": "a.b.c"}
	for _, c := range []struct {
		kind   string
		config []byte
		want   string
	}{
		{"jwt", jwt.with("", nil), ""},
		{"jwt", jwt.with("ClockSkewLeeway", "30s"), ""},
		{"jwt", jwt.with("ClockSkewLeeway", 30e9), ""},
		{"jwt", jwt.with("JWTSupportedAlgs", []string{"ES256", "EdDSA"}), ""},
		{"jwt", object{"JWKSURL": "https://h/keys?v=1"}.with("", nil), ""},
		{"jwt", object{"OIDCDiscoveryURL": "https://h/tenant"}.with("", nil), ""},
		{"kubernetes", kubernetes.with("", nil), ""},
		{"kubernetes", kubernetes.with("MapNamespaces", false), ""},
		{"kubernetes", kubernetes.with("Host", "10.0.0.1:6443"), ""},

		{"", nil, "Type should be one of 'jwt' or 'kubernetes'"},
		{"ldap", nil, "Type should be one of"},
		{"oidc", nil, "needs Consul Enterprise"},
		{"aws-iam", nil, "is not supported"},
		{"jwt", nil, "exactly one of JWTValidationPubKeys, JWKSURL and OIDCDiscoveryURL"},
		{"jwt", []byte(`[]`), "Config has to be an object"},
		{"jwt", []byte(`{} {}`), "something follows"},
		{"jwt", []byte(`{`), "Config: "},
		{"jwt", []byte(strings.Repeat(`{"ClaimMappings":`, 20_000)), "Config: "},
		{"jwt", jwt.with("JWKSURL", "https://h"), "exactly one of"},
		{"jwt", jwt.with("JWKSCACert", "x"), "JWKSCACert is set without JWKSURL"},
		{"jwt", jwt.with("OIDCDiscoveryCACert", "x"), "OIDCDiscoveryCACert is set without"},
		{"jwt", jwt.with("Colour", "red"), `unknown field "Colour"`},
		{"jwt", jwt.with("BoundAudiences", "x"), "BoundAudiences has a value of the wrong kind"},
		{"jwt", jwt.with("BoundAudiences", []string{""}), "BoundAudiences has an entry that is empty"},
		{"jwt", jwt.with("OIDCClientSecret", "hunter2"), "are for the type oidc"},
		{"jwt", jwt.with("JWTSupportedAlgs", []string{"HS256"}), `has "HS256", allowed are RS256`},
		{"jwt", jwt.with("JWTSupportedAlgs", []string{"none"}), `has "none", allowed are`},
		{"jwt", jwt.with("JWTSupportedAlgs", []string{""}), `has "", allowed are`},
		{"jwt", jwt.with("JWTValidationPubKeys", []string{public, "x"}), "key 2 of JWTValidationPubKeys is not in PEM form"},
		{"jwt", jwt.with("JWTValidationPubKeys", []string{private}), "key 1 of JWTValidationPubKeys is a private key"},
		{"jwt", jwt.with("JWTValidationPubKeys", slices.Repeat([]string{public}, 65)), "at most 64"},
		{"jwt", jwt.with("ClaimMappings", object{"sub": "a b"}), "maps \"sub\" to \"a b\": a name has"},
		{"jwt", jwt.with("ClaimMappings", object{"sub": "n", "name": "n"}), `maps two claims to "n"`},
		{"jwt", jwt.with("ListClaimMappings", object{"": "n"}), "ListClaimMappings has a claim whose name is empty"},
		{"jwt", jwt.with("ClockSkewLeeway", "soon"), `"soon" is no duration`},
		{"jwt", jwt.with("ExpirationLeeway", "25h"), "ExpirationLeeway is longer than 24h"},
		{"jwt", object{"JWKSURL": "ftp://h"}.with("", nil), "JWKSURL has to begin with https:// or http://"},
		{"jwt", object{"JWKSURL": "/keys"}.with("", nil), "JWKSURL is no URL with a host"},
		{"jwt", object{"JWKSURL": "https://u:hunter2@h"}.with("", nil), "JWKSURL must not hold a user"},
		{"jwt", object{"JWKSURL": "https://h", "JWKSCACert": "x"}.with("", nil), "JWKSCACert has no certificate"},
		{"jwt", object{"OIDCDiscoveryURL": "https://h/.well-known/openid-configuration"}.with("", nil), "without /.well-known"},
		{"kubernetes", kubernetes.with("Host", nil), "Host is required"},
		{"kubernetes", kubernetes.with("Host", "http://k"), "Host has to begin with https://"},
		{"kubernetes", kubernetes.with("ServiceAccountJWT", nil), "ServiceAccountJWT is required"},
		{"kubernetes", kubernetes.with("ServiceAccountJWT", "hunter2"), "ServiceAccountJWT is no JWT"},
		{"kubernetes", kubernetes.with("CACert", "x"), "CACert has no certificate"},
		{"kubernetes", kubernetes.with("MapNamespaces", true), "need Consul Enterprise"},
	} {
		_, err := Parse(c.kind, c.config)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s %s: %v", c.kind, c.config, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %.100s: %v, want %q", c.kind, c.config, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error shows a secret: %v", c.kind, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	public, _ := publicPEM(t)
	parsed, err := Parse(JWT, object{"JWTValidationPubKeys": []string{public}}.with("NotBeforeLeeway", -1))
	if err != nil {
		t.Fatal(err)
	}
	c := parsed.(*JWTConfig)
	if !slices.Equal(c.Algorithms, []string{"RS256"}) || c.ClockSkew != time.Minute || c.ExpirationLeeway != 150*time.Second || c.NotBeforeLeeway != 0 {
		t.Errorf("%+v", c)
	}
}

func TestInterpolate(t *testing.T) {
	variables := map[string]string{"value.name": "web", "value.other": "secret", "value.evil": "${value.other}", "value.none": "", "value.long": strings.Repeat("x", 4000)}
	for text, want := range map[string]string{
		"":                                 "",
		"plain":                            "plain",
		"${value.name}":                    "web",
		"a-${ value.name }-b":              "a-web-b",
		"${value.name}${value.other}":      "websecret",
		"$${value.name}":                   "${value.name}",
		"$5 }{":                            "$5 }{",
		"${value.evil}":                    "${value.other}", // what a variable holds is no text with places
		"$${${value.evil}":                 "${${value.other}",
		"x${value.none}":                   "x part",
		"${value.what}":                    "error",
		"${}":                              "error",
		"${value.name":                     "error",
		"${upper(value.name)}":             "error",
		"${value.name + value.other}":      "error",
		"${${value.name}}":                 "error",
		"${VALUE.NAME}":                    "error",
		"${value.long}${value.long}":       "error",
		strings.Repeat("x", 5000):          "error",
		strings.Repeat("${value.none}", 9): " part",
	} {
		got, whole, err := Interpolate(text, variables)
		if err != nil {
			got = "error"
		} else if !whole {
			got += " part"
		}
		if got != want {
			t.Errorf("%.50s: %.50s, want %s (%v)", text, got, want, err)
		}
	}
}

// Nothing but what the text and the variables hold gets into a name, in their order.
func FuzzInterpolate(f *testing.F) {
	for _, text := range []string{"${a}", "$${a}", "x-${a}-${b}", "${", "$", "${a}$${b}${a}"} {
		f.Add(text, "web", "${a}")
	}
	f.Fuzz(func(t *testing.T, text, a, b string) {
		out, whole, err := Interpolate(text, map[string]string{"a": a, "b": b})
		if err != nil {
			return
		}
		if len(out) > maxInterpolated {
			t.Errorf("%d bytes", len(out))
		}
		if !strings.Contains(text, "${") && out != text {
			t.Errorf("%q became %q", text, out)
		}
		// With other values the same places are filled: values do not make places.
		other, wholeToo, err := Interpolate(text, map[string]string{"a": "1", "b": "2"})
		if err != nil {
			t.Skip() // both are within the bound or not, whatever stands in them
		}
		if !wholeToo || whole && strings.Count(other, "1") < strings.Count(text, "${a}")-strings.Count(text, "$${a}") {
			t.Errorf("%q: %q and %q", text, out, other)
		}
	})
}

// No configuration makes the reading of it fail otherwise than with an error, and what
// is read can be asked for.
func FuzzParse(f *testing.F) {
	f.Add("jwt", []byte(`{"JWKSURL":"https://h","ClaimMappings":{"/a/b":"name"},"ClockSkewLeeway":"3s"}`))
	f.Add("kubernetes", []byte(`{"Host":"h","ServiceAccountJWT":"a.b.c","CACert":"x"}`))
	f.Add("jwt", []byte(`{"JWTValidationPubKeys":["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]}`))
	f.Fuzz(func(t *testing.T, kind string, raw []byte) {
		c, err := Parse(kind, raw)
		if err != nil {
			return
		}
		id := c.Blank()
		if id.Fields == nil || id.Variables == nil {
			t.Error("nothing can be asked for")
		}
		switch c := c.(type) {
		case *JWTConfig:
			if len(c.Algorithms) == 0 || len(c.Keys) == 0 && c.JWKSURL == "" && c.DiscoveryURL == "" || c.ClockSkew < 0 || c.ClockSkew > maxLeeway {
				t.Errorf("%+v", c)
			}
		case *KubernetesConfig:
			if !strings.HasPrefix(c.Host, "https://") || c.ServiceAccountJWT == "" {
				t.Errorf("host %q", c.Host)
			}
		}
	})
}

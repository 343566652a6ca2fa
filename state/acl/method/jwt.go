package method

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// JWTConfig says which tokens are taken, and what is taken from them.
type JWTConfig struct {
	// Algorithms that a token may be signed with, asymmetric all.
	Algorithms []string
	// Keys that tokens are signed with. They are there, or one of the URLs is.
	Keys []any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	// JWKSURL is where the keys are.
	JWKSURL string
	// DiscoveryURL is the issuer, which says where its keys are.
	DiscoveryURL string
	// Roots vouch for who answers at the URL; nil are those of the system.
	Roots *x509.CertPool
	// Audiences of which a token names one; without any, a token names none.
	Audiences []string
	// Issuer of the tokens; empty for any.
	Issuer string
	// Values and Lists name claims, or point to them as RFC 6901 has it, and say what
	// they are called in selectors and variables.
	Values, Lists map[string]string
	// ExpirationLeeway is how long a token counts that does not say when it ends,
	// NotBeforeLeeway how long before its end one does that does not say when it begins.
	ExpirationLeeway, NotBeforeLeeway time.Duration
	// ClockSkew is how far the issuer's clock may be off.
	ClockSkew time.Duration
}

// Claims are what is known of who logs in by a method of type jwt.
type Claims struct {
	Values map[string]string   `bexpr:"value"`
	Lists  map[string][]string `bexpr:"list"`
}

// Identity is who logs in with claims.
func (c *Claims) Identity() *Identity {
	id := &Identity{Fields: c, Variables: map[string]string{}}
	for name, value := range c.Values {
		id.Variables["value."+name] = value
	}
	return id
}

// Nothing are claims with all names that are mapped, without a value.
func (c *JWTConfig) Nothing() *Claims {
	claims := &Claims{Values: map[string]string{}, Lists: map[string][]string{}}
	for _, name := range c.Values {
		claims.Values[name] = ""
	}
	for _, name := range c.Lists {
		claims.Lists[name] = nil
	}
	return claims
}

// Blank implements Config.
func (c *JWTConfig) Blank() *Identity {
	claims := c.Nothing()
	for name := range claims.Lists {
		claims.Lists[name] = []string{""}
	}
	return claims.Identity()
}

// Bounds of what a configuration lists.
const (
	maxKeys     = 64
	maxListed   = 128 // audiences; claims of one kind
	maxClaim    = 512 // bytes of a claim's name
	maxAudience = 1024
)

// Defaults of the leeways, as clients know them.
const (
	defaultValidity = 150 * time.Second
	defaultSkew     = 60 * time.Second
)

// jwtKeys are the keys of the configuration.
type jwtKeys struct {
	JWTSupportedAlgs     []string
	JWTValidationPubKeys []string
	JWKSURL, JWKSCACert  string
	OIDCDiscoveryURL     string
	OIDCDiscoveryCACert  string
	BoundAudiences       []string
	BoundIssuer          string
	ClaimMappings        map[string]string
	ListClaimMappings    map[string]string
	ExpirationLeeway     Duration
	NotBeforeLeeway      Duration
	ClockSkewLeeway      Duration
	// Of the type oidc.
	OIDCClientID, OIDCClientSecret string
	OIDCScopes, OIDCACRValues      []string
	AllowedRedirectURIs            []string
	VerboseOIDCLogging             bool
}

func parseJWT(raw []byte) (*JWTConfig, error) {
	var k jwtKeys
	if err := decode(raw, &k); err != nil {
		return nil, err
	}
	if k.OIDCClientID != "" || k.OIDCClientSecret != "" || len(k.OIDCScopes)+len(k.OIDCACRValues)+len(k.AllowedRedirectURIs) > 0 || k.VerboseOIDCLogging {
		return nil, errors.New("Config: OIDCClientID, OIDCClientSecret, OIDCScopes, OIDCACRValues, AllowedRedirectURIs and VerboseOIDCLogging are for the type oidc")
	}
	c := &JWTConfig{Algorithms: k.JWTSupportedAlgs, JWKSURL: k.JWKSURL, DiscoveryURL: k.OIDCDiscoveryURL, Audiences: k.BoundAudiences,
		Issuer: k.BoundIssuer, Values: k.ClaimMappings, Lists: k.ListClaimMappings}
	for _, check := range []func(*jwtKeys) error{c.source, c.algorithms, c.bounds, c.mappings, c.leeways} {
		if err := check(&k); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// source reads where keys come from.
func (c *JWTConfig) source(k *jwtKeys) error {
	n := 0
	for _, given := range []bool{len(k.JWTValidationPubKeys) > 0, k.JWKSURL != "", k.OIDCDiscoveryURL != ""} {
		if given {
			n++
		}
	}
	var err error
	switch {
	case n != 1:
		return errors.New("Config: exactly one of JWTValidationPubKeys, JWKSURL and OIDCDiscoveryURL has to be set")
	case k.JWKSCACert != "" && k.JWKSURL == "":
		return errors.New("Config: JWKSCACert is set without JWKSURL")
	case k.OIDCDiscoveryCACert != "" && k.OIDCDiscoveryURL == "":
		return errors.New("Config: OIDCDiscoveryCACert is set without OIDCDiscoveryURL")
	case k.JWKSURL != "":
		if err = checkURL("JWKSURL", k.JWKSURL, "https", "http"); err == nil {
			c.Roots, err = roots("JWKSCACert", k.JWKSCACert)
		}
		return err
	case k.OIDCDiscoveryURL != "":
		if err = checkURL("OIDCDiscoveryURL", k.OIDCDiscoveryURL, "https", "http"); err == nil {
			c.Roots, err = roots("OIDCDiscoveryCACert", k.OIDCDiscoveryCACert)
		}
		if strings.Contains(k.OIDCDiscoveryURL, "?") || strings.Contains(k.OIDCDiscoveryURL, "/.well-known") {
			return errors.New("Config: OIDCDiscoveryURL is the issuer alone, without /.well-known and without a query")
		}
		return err
	case len(k.JWTValidationPubKeys) > maxKeys:
		return fmt.Errorf("Config: JWTValidationPubKeys has %d keys, at most %d are allowed", len(k.JWTValidationPubKeys), maxKeys)
	}
	for i, text := range k.JWTValidationPubKeys {
		key, err := publicKey(text)
		if err != nil {
			return fmt.Errorf("Config: key %d of JWTValidationPubKeys %w", i+1, err)
		}
		c.Keys = append(c.Keys, key)
	}
	return nil
}

func publicKey(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is not in PEM form")
	}
	var key any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("is a private key: give the public one")
	default:
		return nil, fmt.Errorf("is a %.64q, no public key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	switch key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return key, nil
	}
	return nil, errors.New("is of a kind that is not supported: RSA, ECDSA and Ed25519 are")
}

// Algorithms lists those that can be allowed: asymmetric all. With a symmetric one
// who knows a public key could sign.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
}

func (c *JWTConfig) algorithms(*jwtKeys) error {
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256"}
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			return fmt.Errorf("Config: JWTSupportedAlgs has %.64q, allowed are %s", a, strings.Join(Algorithms(), ", "))
		}
	}
	return nil
}

func (c *JWTConfig) bounds(*jwtKeys) error {
	if len(c.Audiences) > maxListed {
		return fmt.Errorf("Config: BoundAudiences has %d entries, at most %d are allowed", len(c.Audiences), maxListed)
	}
	for _, a := range c.Audiences {
		if a == "" || len(a) > maxAudience {
			return fmt.Errorf("Config: BoundAudiences has an entry that is empty or longer than %d bytes", maxAudience)
		}
	}
	if len(c.Issuer) > maxAudience {
		return fmt.Errorf("Config: BoundIssuer is longer than %d bytes", maxAudience)
	}
	return nil
}

var mappedName = regexp.MustCompile(`^[A-Za-z0-9_./-]{1,128}$`)

func (c *JWTConfig) mappings(*jwtKeys) error {
	for key, mapping := range map[string]map[string]string{"ClaimMappings": c.Values, "ListClaimMappings": c.Lists} {
		if len(mapping) > maxListed {
			return fmt.Errorf("Config: %s has %d entries, at most %d are allowed", key, len(mapping), maxListed)
		}
		seen := map[string]bool{}
		for claim, name := range mapping {
			switch {
			case claim == "" || len(claim) > maxClaim:
				return fmt.Errorf("Config: %s has a claim whose name is empty or longer than %d bytes", key, maxClaim)
			case !mappedName.MatchString(name):
				return fmt.Errorf("Config: %s maps %.64q to %.64q: a name has 1 to 128 letters, digits and any of _ . / -", key, claim, name)
			case seen[name]:
				return fmt.Errorf("Config: %s maps two claims to %q", key, name)
			}
			seen[name] = true
		}
	}
	return nil
}

func (c *JWTConfig) leeways(k *jwtKeys) error {
	for _, l := range []struct {
		key   string
		given Duration
		to    *time.Duration
		usual time.Duration
	}{
		{"ExpirationLeeway", k.ExpirationLeeway, &c.ExpirationLeeway, defaultValidity},
		{"NotBeforeLeeway", k.NotBeforeLeeway, &c.NotBeforeLeeway, defaultValidity},
		{"ClockSkewLeeway", k.ClockSkewLeeway, &c.ClockSkew, defaultSkew},
	} {
		switch d := time.Duration(l.given); {
		case d > maxLeeway:
			return fmt.Errorf("Config: %s is longer than %s", l.key, maxLeeway)
		case d == 0:
			*l.to = l.usual
		default:
			*l.to = max(d, 0) // a negative one is none
		}
	}
	return nil
}

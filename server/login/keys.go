package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/legate-project/legate/state/acl/method"
)

const (
	// betterAfter is how long it takes after keys were fetched until a credential that
	// none of them fits has them fetched again: who shows nonsense must not have an
	// issuer asked each time.
	betterAfter = 30 * time.Second
	// againAfter is how long it takes after fetching failed while there are no keys.
	againAfter = 3 * time.Second
	// freshFor is how long keys are used without asking: one that the issuer has taken
	// back counts for no longer.
	freshFor = 15 * time.Minute
	// usableFor is how long they are used if asking fails.
	usableFor = time.Hour
	// maxIssuerKeys bounds the keys of an issuer.
	maxIssuerKeys = 128
)

// keySet is what an issuer signs with.
type keySet struct {
	keys   []jose.JSONWebKey
	issuer string // as it names itself, "" if that is not known
	age    uint64 // of two sets the one with the higher number is newer
}

// keySource has the keys of an issuer, and fetches them when that may help. Who needs
// keys fetches them for all who wait; no lock is held meanwhile.
type keySource struct {
	source
	fetch func(ctx context.Context) (*keySet, error)

	mu      sync.Mutex
	set     *keySet       // nil while there is none
	fetched time.Time     // when set was
	tried   time.Time     // when fetching began last
	running chan struct{} // closed when the fetching that goes on is over; nil if none does
	err     error         // of the last fetching
}

// get returns keys, if it can be newer than of an age: with 0 any do.
func (s *keySource) get(ctx context.Context, than uint64) (*keySet, error) {
	s.mu.Lock()
	now := s.now()
	if s.set != nil && s.set.age > than && now.Sub(s.fetched) < freshFor {
		defer s.mu.Unlock()
		return s.set, nil
	}
	pause := againAfter
	if s.set != nil {
		pause = betterAfter
	}
	switch {
	case s.running != nil:
		running := s.running
		s.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case s.tried.IsZero() || now.Sub(s.tried) >= pause:
		s.tried, s.running = now, make(chan struct{})
		s.mu.Unlock()
		s.renew()
	default:
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.set != nil && s.now().Sub(s.fetched) < usableFor:
		return s.set, nil
	case s.err != nil:
		return nil, s.err
	}
	return nil, errors.New("there are no keys of the issuer")
}

// renew fetches keys. It does not end with who called: others wait for it too, and who
// goes away at once must not keep keys from being fetched for a while.
func (s *keySource) renew() {
	ctx, cancel := context.WithTimeout(s.ends, verifyTimeout)
	defer cancel()
	set, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		if set.age = 1; s.set != nil {
			set.age = s.set.age + 1
		}
		s.set, s.fetched = set, s.now()
	} else if s.set != nil {
		s.log.Warn("keys of an issuer cannot be fetched, the last ones are used meanwhile", "error", err)
	}
	close(s.running)
	s.running = nil
}

// sourceOf returns where the keys of a configuration come from.
func sourceOf(c *method.JWTConfig, s source) *keySource {
	k := &keySource{source: s}
	client := newClient(c.Roots, maxRedirects)
	switch {
	case c.JWKSURL != "":
		k.fetch = func(ctx context.Context) (*keySet, error) { return fetchKeys(ctx, client, c.JWKSURL) }
	case c.DiscoveryURL != "":
		k.fetch = func(ctx context.Context) (*keySet, error) { return discover(ctx, client, c.DiscoveryURL) }
	default:
		set := &keySet{}
		for _, key := range c.Keys {
			set.keys = append(set.keys, jose.JSONWebKey{Key: key})
		}
		k.fetch = func(context.Context) (*keySet, error) { return &keySet{keys: set.keys}, nil }
	}
	return k
}

// discover asks an issuer where its keys are, and fetches them.
func discover(ctx context.Context, client *http.Client, issuer string) (*keySet, error) {
	var said struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &said); err != nil {
		return nil, err
	}
	secure := strings.HasPrefix(issuer, "https://")
	switch {
	case said.Issuer != issuer:
		return nil, fmt.Errorf("who answers at OIDCDiscoveryURL calls itself %.256q: set that", said.Issuer)
	case !strings.HasPrefix(said.JWKSURI, "https://") && (secure || !strings.HasPrefix(said.JWKSURI, "http://")):
		return nil, errors.New("the issuer does not name a URL of its keys")
	}
	set, err := fetchKeys(ctx, client, said.JWKSURI)
	if err == nil {
		set.issuer = said.Issuer
	}
	return set, err
}

// fetchKeys fetches a JSON Web Key Set (RFC 7517). Keys of other kinds, and for other
// uses, are left out.
func fetchKeys(ctx context.Context, client *http.Client, target string) (*keySet, error) {
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := get(ctx, client, target, &list); err != nil {
		return nil, err
	}
	if len(list.Keys) > maxIssuerKeys {
		return nil, fmt.Errorf("the issuer has %d keys, at most %d are taken", len(list.Keys), maxIssuerKeys)
	}
	set := &keySet{}
	for _, raw := range list.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !usable(&key) {
			continue
		}
		set.keys = append(set.keys, key)
	}
	if len(set.keys) == 0 {
		return nil, errors.New("the issuer has no key that can be used")
	}
	return set, nil
}

// usable reports whether signatures can be verified with a key, and nobody can sign
// with what is known of it.
func usable(key *jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" || !key.Valid() {
		return false
	}
	switch key.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

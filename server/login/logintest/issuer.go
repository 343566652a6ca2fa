// Package logintest has who vouches for credentials in tests: an issuer of tokens that
// says how they are signed, and a Kubernetes cluster that reviews them. Both serve
// with certificates of their own. It promises nothing to anybody else.
package logintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Issuer is an issuer of tokens.
type Issuer struct {
	URL string // its own, where it can be discovered; its keys are at URL/keys
	CA  string // what vouches for its certificate, in PEM form

	t  testing.TB
	mu sync.Mutex
	// What it serves in place of what it would; nil for that.
	instead http.HandlerFunc
	keys    []jose.JSONWebKey
	fetched int
}

// NewIssuer serves an issuer that has one key, until the test ends.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	return NewIssuerAt(t, nil)
}

// NewIssuerAt is NewIssuer with a listener at 127.0.0.1, for nil one that it makes.
func NewIssuerAt(t testing.TB, l net.Listener) *Issuer {
	t.Helper()
	s := &Issuer{t: t}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if l != nil {
		server.Listener.Close()
		server.Listener = l
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	s.URL, s.CA = server.URL, Authority(server)
	s.Rotate("first")
	return s
}

// Authority is what vouches for the certificate of a server, in PEM form.
func Authority(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func (s *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	instead := s.instead
	set := jose.JSONWebKeySet{}
	for i := range s.keys {
		public := s.keys[i].Public()
		public.Use = "sig"
		set.Keys = append(set.Keys, public)
	}
	if r.URL.Path == "/keys" {
		s.fetched++
	}
	s.mu.Unlock()
	switch {
	case instead != nil:
		instead(w, r)
	case r.URL.Path == "/keys":
		_ = json.NewEncoder(w).Encode(set)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	default:
		http.NotFound(w, r)
	}
}

// Instead has it answer otherwise; nil as before.
func (s *Issuer) Instead(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = h
}

// Fetched is how often its keys were.
func (s *Issuer) Fetched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched
}

// Rotate has it sign with a new key of a name, and forget all others.
func (s *Issuer) Rotate(kid string) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []jose.JSONWebKey{{Key: key, KeyID: kid, Algorithm: string(jose.ES256)}}
}

// Key is what it signs with.
func (s *Issuer) Key() jose.JSONWebKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[0]
}

// Sign issues a token with claims.
func (s *Issuer) Sign(claims map[string]any) string {
	s.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	return Sign(s.t, jose.SigningKey{Algorithm: jose.ES256, Key: s.Key()}, string(payload))
}

// Sign signs a payload.
func Sign(t testing.TB, key jose.SigningKey, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Cluster is the API of a Kubernetes cluster, as far as logging in asks it.
type Cluster struct {
	URL, CA string
	// Reviewer is the token that may ask.
	Reviewer string
	// Tokens says whose they are, as a review does.
	Tokens map[string]string
	// Annotations of service accounts, by namespace/name. Others are not there.
	Annotations map[string]map[string]string
}

// NewCluster serves a cluster that knows nobody, until the test ends.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{Reviewer: "the.reviewer.token", Tokens: map[string]string{}, Annotations: map[string]map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", c.review)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/serviceaccounts/{name}", c.account)
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	c.URL, c.CA = server.URL, Authority(server)
	return c
}

func (c *Cluster) review(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Kind string
		Spec struct{ Token string }
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+c.Reviewer:
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	case json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Kind != "TokenReview":
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	status := map[string]any{"authenticated": false, "error": "invalid bearer token"}
	if user, ok := c.Tokens[asked.Spec.Token]; ok {
		status = map[string]any{"authenticated": true, "user": map[string]any{"username": user, "uid": "u-" + user}}
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "status": status})
}

func (c *Cluster) account(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("name")
	annotations, ok := c.Annotations[namespace+"/"+name]
	if !ok || r.Header.Get("Authorization") != "Bearer "+c.Reviewer {
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"uid": fmt.Sprintf("u-system:serviceaccount:%s:%s", namespace, name), "annotations": annotations}})
}

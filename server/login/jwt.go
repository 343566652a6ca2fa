package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/legate-project/legate/internal/nesting"
	"github.com/legate-project/legate/state/acl/method"
)

// maxNesting bounds how deep the parts of a token are nested.
const maxNesting = 32

// jwtVerifier verifies tokens that an issuer has signed.
type jwtVerifier struct {
	cfg        *method.JWTConfig
	algorithms []jose.SignatureAlgorithm
	keys       *keySource
	now        func() time.Time
}

func newJWTVerifier(c *method.JWTConfig, s source) *jwtVerifier {
	v := &jwtVerifier{cfg: c, keys: sourceOf(c, s), now: s.now}
	for _, a := range c.Algorithms {
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(a))
	}
	return v
}

// verify implements verifier.
func (v *jwtVerifier) verify(ctx context.Context, bearer string) (*method.Identity, error) {
	if err := shallow(bearer); err != nil {
		return nil, err
	}
	token, err := jose.ParseSignedCompact(bearer, v.algorithms)
	if err != nil || len(token.Signatures) != 1 {
		return nil, &refusal{"it is no token that is signed with an allowed algorithm"}
	}
	payload, issuer, err := v.signed(ctx, token)
	if err != nil {
		return nil, err
	}
	claims, err := readClaims(payload)
	if err != nil {
		return nil, err
	}
	if issuer != "" && claims["iss"] != issuer {
		return nil, &refusal{"another issuer"}
	}
	if err := v.accepts(claims); err != nil {
		return nil, err
	}
	return v.identity(claims)
}

// shallow refuses what is nested deeper than anybody would: readers of JSON recurse.
func shallow(bearer string) error {
	parts := strings.Split(bearer, ".")
	if len(parts) != 3 {
		return &refusal{"it does not have the three parts of a signed token"}
	}
	for _, part := range parts[:2] {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return &refusal{"a part of it is not base64url"}
		}
		if nesting.Deeper(b, maxNesting) {
			return &refusal{fmt.Sprintf("it is nested deeper than %d", maxNesting)}
		}
	}
	return nil
}

// signed returns the payload, if it was signed by a key of the issuer, and the issuer
// as it names itself. If no key fits, they may have changed.
func (v *jwtVerifier) signed(ctx context.Context, token *jose.JSONWebSignature) ([]byte, string, error) {
	var age uint64
	for range 2 {
		set, err := v.keys.get(ctx, age)
		if err != nil {
			return nil, "", err
		}
		if set.age == age { // no others
			break
		}
		if payload, ok := verified(token, set); ok {
			return payload, set.issuer, nil
		}
		age = set.age
	}
	return nil, "", &refusal{"no key of the issuer has signed it"}
}

// verified returns the payload if one of the keys has signed it.
func verified(token *jose.JSONWebSignature, set *keySet) ([]byte, bool) {
	protected := &token.Signatures[0].Protected
	for i := range set.keys {
		key := &set.keys[i]
		if protected.KeyID != "" && key.KeyID != "" && protected.KeyID != key.KeyID || key.Algorithm != "" && key.Algorithm != protected.Algorithm {
			continue
		}
		if payload, err := token.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// identity takes from claims what selectors and names may be made of.
func (v *jwtVerifier) identity(claims claims) (*method.Identity, error) {
	known := v.cfg.Nothing()
	for claim, name := range v.cfg.Values {
		value, ok := claims.find(claim)
		if !ok {
			continue
		}
		text, ok := textOf(value)
		if !ok {
			return nil, &refusal{fmt.Sprintf("the claim %q is no text, number or boolean", claim)}
		}
		known.Values[name] = text
	}
	for claim, name := range v.cfg.Lists {
		value, ok := claims.find(claim)
		if !ok {
			continue
		}
		list, ok := listOf(value)
		if !ok {
			return nil, &refusal{fmt.Sprintf("the claim %q is no list of texts, numbers or booleans", claim)}
		}
		known.Lists[name] = list
	}
	return known.Identity(), nil
}

// accepts refuses claims that are for others, by others or of another time.
func (v *jwtVerifier) accepts(claims claims) error {
	if v.cfg.Issuer != "" && claims["iss"] != v.cfg.Issuer {
		return &refusal{"another issuer"}
	}
	audiences, ok := listOf(claims["aud"])
	given := claims["aud"] != nil
	switch {
	case given && !ok:
		return &refusal{"its audience is no text and no list"}
	case given && len(v.cfg.Audiences) == 0:
		return &refusal{"it names an audience, and BoundAudiences has none"}
	case len(v.cfg.Audiences) > 0 && !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(v.cfg.Audiences, a) }):
		return &refusal{"it is for another audience"}
	}
	return v.inTime(claims)
}

// inTime refuses what has ended, has not begun, or does not say anything of time. What
// is not said is made up: a token that does not say when it ends does soon.
func (v *jwtVerifier) inTime(claims claims) error {
	issued, begins, ends := claims.date("iat"), claims.date("nbf"), claims.date("exp")
	for _, d := range []date{issued, begins, ends} {
		if d.wrong {
			return &refusal{"one of exp, nbf and iat is no date"}
		}
	}
	switch {
	case !issued.given && !begins.given && !ends.given:
		return &refusal{"it has none of exp, nbf and iat"}
	case !ends.given && begins.given && begins.at.After(issued.at):
		ends.at = begins.at.Add(v.cfg.ExpirationLeeway)
	case !ends.given:
		ends.at = issued.at.Add(v.cfg.ExpirationLeeway)
	}
	if !begins.given {
		if begins.at = issued.at; !issued.given {
			begins.at = ends.at.Add(-v.cfg.NotBeforeLeeway)
		}
	}
	now, skew := v.now(), v.cfg.ClockSkew
	switch {
	case now.Add(-skew).After(ends.at):
		return &refusal{"it has ended"}
	case now.Add(skew).Before(begins.at):
		return &refusal{"it has not begun"}
	case issued.given && now.Add(skew).Before(issued.at):
		return &refusal{"it was issued in the future"}
	}
	return nil
}

// claims are what a token says.
type claims map[string]any

func readClaims(payload []byte) (claims, error) {
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	var c claims
	if d.Decode(&c) != nil || c == nil {
		return nil, &refusal{"its payload is no JSON object"}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, &refusal{"something follows the object of its payload"}
	}
	return c, nil
}

// find returns a claim by its name or, if that begins with a slash, by a JSON pointer
// (RFC 6901). A claim that is null is not there.
func (c claims) find(name string) (any, bool) {
	if !strings.HasPrefix(name, "/") {
		v := c[name]
		return v, v != nil
	}
	var at any = map[string]any(c)
	for part := range strings.SplitSeq(name[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch v := at.(type) {
		case map[string]any:
			at = v[part]
		case []any:
			i, ok := position(part)
			if !ok || i >= len(v) {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, at != nil
}

// position reads a place in a list as JSON pointers have it.
func position(text string) (int, bool) {
	if text == "" || len(text) > 6 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

// listOf returns the texts of a list; a text alone is a list of one.
func listOf(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		text, ok := textOf(v)
		return []string{text}, ok
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := textOf(item)
		if !ok {
			return nil, false
		}
		out = append(out, text)
	}
	return out, true
}

// date is a NumericDate (RFC 7519, section 2).
type date struct {
	at           time.Time
	given, wrong bool
}

// maxDate bounds dates, in seconds: what is later is no time that anybody means.
const maxDate = 1e12

func (c claims) date(name string) date {
	v, ok := c.find(name)
	if !ok {
		return date{}
	}
	n, ok := v.(json.Number)
	if !ok {
		return date{wrong: true}
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > maxDate {
		return date{wrong: true}
	}
	return date{at: time.UnixMilli(int64(f * 1000)), given: true}
}

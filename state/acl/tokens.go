package acl

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// Bounds of how long a token that ends may live.
const (
	MinTTL = time.Minute
	MaxTTL = 24 * time.Hour
)

// GetToken returns a token, or none.
var GetToken = op.Read[TokenRequest, TokenResult]{Name: "acl.token", Authorize: authorizeToken, Query: getToken, Filter: filterToken}

// ListTokens returns tokens.
var ListTokens = op.Read[TokensRequest, Tokens]{Name: "acl.tokens", Authorize: reads[TokensRequest], Query: listTokens, Filter: filterTokens}

// SetToken makes a token or changes one.
var SetToken = op.Write[SetTokenRequest, Token]{Name: "acl.token-set", Authorize: writes[SetTokenRequest], Prepare: prepareToken, Home: tokenAtHome}

// DeleteToken removes a token. That there is none is no error.
var DeleteToken = op.Write[AccessorRequest, op.Empty]{Name: "acl.token-delete", Authorize: writes[AccessorRequest], Home: accessorAtHome}

// Logout removes the token that the caller shows, if it was got by logging in.
var Logout = op.Write[SecretRequest, op.Empty]{Name: "acl.logout", Authorize: anybody[SecretRequest], Home: secretAtHome}

// Expire removes tokens that have ended.
var Expire = op.Internal[ExpireRequest, op.Empty]{Name: "acl.expire"}

// Mint makes a token for who has logged in.
var Mint = op.Internal[SetTokenRequest, Token]{Name: "acl.mint"}

func reads[Req any](a rules.Authorizer, _ *Req) error {
	return rules.Require(a, rules.ACL, rules.Read, "")
}
func writes[Req any](a rules.Authorizer, _ *Req) error {
	return rules.Require(a, rules.ACL, rules.Write, "")
}

// anybody may ask: what is asked shows a secret.
func anybody[Req any](rules.Authorizer, *Req) error { return nil }

func authorizeToken(a rules.Authorizer, r *TokenRequest) error {
	if r.Accessor == "" && r.Secret != "" {
		return nil
	}
	return reads(a, r)
}

func getToken(r storage.Reader, req *TokenRequest) (*TokenResult, error) {
	var t *Token
	var err error
	own := req.Accessor == ""
	if own {
		t, err = FindSecret(r, req.Secret)
	} else {
		t, err = FindToken(r, req.Accessor)
	}
	if err != nil || t == nil {
		return nil, err
	}
	out := &TokenResult{Token: *t, Own: own}
	if err := nameLinks(r, &out.Token); err != nil || !req.Expanded {
		return out, err
	}
	return out, expand(r, out)
}

// nameLinks gives the links of a token the names of today, and leaves out those of
// what is no more.
func nameLinks(r storage.Reader, t *Token) error {
	if err := name(r, &t.Grants); err != nil {
		return err
	}
	var kept []Link
	for _, l := range t.Roles {
		role, err := FindRole(r, l.ID, "")
		if err != nil {
			return err
		}
		if role != nil {
			kept = append(kept, Link{l.ID, role.Name})
		}
	}
	t.Roles = kept
	return nil
}

// name is nameLinks for the policies of a token or a role.
func name(r storage.Reader, g *Grants) error {
	var kept []Link
	for _, l := range g.Policies {
		p, err := FindPolicy(r, l.ID, "")
		if err != nil {
			return err
		}
		if p != nil {
			kept = append(kept, Link{l.ID, p.Name})
		}
	}
	g.Policies = kept
	return nil
}

func filterToken(a rules.Authorizer, res *TokenResult) bool {
	if res.Own || a.Allow(rules.ACL, rules.Write, "") {
		return false
	}
	res.Token.SecretID = Hidden
	return true
}

func listTokens(r storage.Reader, req *TokensRequest) (*Tokens, error) {
	scan := tokenBySecret.Scan(r, nil) // in the order that clients know
	if req.AuthMethod != "" {
		scan = tokenByMethod.Scan(r, nameKey(req.AuthMethod))
	}
	out := Tokens{}
	for t, err := range scan {
		if err != nil {
			return nil, err
		}
		if !req.wants(t) {
			continue
		}
		if err := nameLinks(r, t); err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	return &out, nil
}

// wants reports whether a token refers to what is asked for.
func (r *TokensRequest) wants(t *Token) bool {
	linked := func(links []Link, id string) bool {
		return id == "" || slices.ContainsFunc(links, func(l Link) bool { return strings.EqualFold(l.ID, id) })
	}
	return linked(t.Policies, r.Policy) && linked(t.Roles, r.Role) &&
		(r.ServiceName == "" || slices.ContainsFunc(t.ServiceIdentities, func(s ServiceIdentity) bool { return s.ServiceName == r.ServiceName }))
}

func filterTokens(a rules.Authorizer, list *Tokens) bool {
	if a.Allow(rules.ACL, rules.Write, "") {
		return false
	}
	shown := slices.Clone(*list)
	for i := range shown {
		shown[i].SecretID = Hidden
	}
	*list = shown
	return len(shown) > 0
}

func prepareToken(l op.Leader, r *SetTokenRequest) error {
	t := &r.Token
	t.CreateIndex, t.ModifyIndex, t.Hash = 0, 0, nil
	if !r.Create {
		if t.AccessorID == "" {
			return op.Errorf(op.CodeInvalid, "Must specify an AccessorID to update a token")
		}
		if r.TTL != 0 {
			return op.Errorf(op.CodeInvalid, "Cannot change expiration time of %s: ExpirationTTL counts when a token is made", t.AccessorID)
		}
		return validToken(t)
	}
	t.AuthMethod = "" // only who logs in has one
	if err := given(&t.AccessorID, "AccessorID", l); err != nil {
		return err
	}
	if err := given(&t.SecretID, "SecretID", l); err != nil {
		return err
	}
	if err := ends(t, r.TTL, l.Now); err != nil {
		return err
	}
	t.CreateTime, r.TTL = l.Now.UTC(), 0
	return validToken(t)
}

// given checks an ID that a client chose, or makes one.
func given(id *string, what string, l op.Leader) error {
	if *id == "" {
		*id = l.NewID()
		return nil
	}
	if _, err := uuid.Parse(*id); err != nil || len(*id) != 36 {
		return op.Errorf(op.CodeInvalid, "Invalid Token: %s is not a valid UUID", what)
	}
	*id = strings.ToLower(*id)
	if strings.HasPrefix(*id, "00000000-0000-0000-0000-0000000000") {
		return op.Errorf(op.CodeInvalid, "Invalid Token: %s: UUIDs with the prefix 00000000-0000-0000-0000-0000000000 are reserved", what)
	}
	return nil
}

// ends fixes when a token ends.
func ends(t *Token, ttl time.Duration, now time.Time) error {
	switch {
	case ttl == 0 && t.ExpirationTime.IsZero():
		return nil
	case ttl != 0 && !t.ExpirationTime.IsZero():
		return op.Errorf(op.CodeInvalid, "Token Expiration TTL and Expiration Time cannot both be set")
	case ttl != 0:
		t.ExpirationTime = now.Add(ttl)
	default:
		ttl = t.ExpirationTime.Sub(now)
	}
	t.ExpirationTime = t.ExpirationTime.UTC().Truncate(time.Millisecond)
	switch {
	case ttl < 0:
		return op.Errorf(op.CodeInvalid, "ExpirationTime cannot be in the past, and Expiration TTL '%s' should be > 0", ttl)
	case ttl < MinTTL:
		return op.Errorf(op.CodeInvalid, "ExpirationTime cannot be less than %s in the future (was %s in the future)", MinTTL, ttl)
	case ttl > MaxTTL:
		return op.Errorf(op.CodeInvalid, "ExpirationTime cannot be more than %s in the future (was %s in the future)", MaxTTL, ttl)
	}
	return nil
}

func validToken(t *Token) error {
	if len(t.Description) > maxDescription || len(t.Name) > maxDescription {
		return op.Errorf(op.CodeInvalid, "Invalid Token: Name or Description is longer than %d bytes", maxDescription)
	}
	if t.AccessorID == AnonymousAccessor && t.Local {
		return op.Errorf(op.CodeInvalid, "Invalid Token: the anonymous token cannot be local")
	}
	if len(t.Roles) > maxLinks {
		return op.Errorf(op.CodeInvalid, "Invalid Token: it has %d roles, at most %d are allowed", len(t.Roles), maxLinks)
	}
	return validGrants("Token", &t.Grants)
}

// ApplySetToken makes or changes the token. Links may name what they mean.
func ApplySetToken(tx *storage.Txn, r *SetTokenRequest) (*Token, error) {
	t := r.Token
	old, err := FindToken(tx, t.AccessorID)
	if err != nil {
		return nil, err
	}
	if r.Create {
		err = newToken(tx, r, &t, old)
	} else {
		err = changedToken(&t, old)
	}
	if !t.Local && (old == nil || !old.Local) { // what is wrong elsewhere may be right in the home
		if away := writable(tx); away != nil {
			return nil, away
		}
	}
	if err != nil {
		return nil, err
	}
	if err := resolveLinks(tx, &t); err != nil {
		return nil, err
	}
	if err := putToken(tx, old, &t); err != nil {
		return nil, err
	}
	return &t, nameLinks(tx, &t)
}

// ApplyMint makes a token for who has logged in: its method must be there still.
func ApplyMint(tx *storage.Txn, r *SetTokenRequest) (*Token, error) {
	m, err := FindMethod(tx, r.Token.AuthMethod)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, op.Errorf(op.CodeDenied, "auth method %q is not there any more", r.Token.AuthMethod)
	}
	return ApplySetToken(tx, r)
}

func newToken(tx *storage.Txn, r *SetTokenRequest, t, old *Token) error {
	if old != nil {
		return op.Errorf(op.CodeInvalid, "Invalid Token: AccessorID is already in use")
	}
	other, err := FindSecret(tx, t.SecretID)
	if err != nil {
		return err
	}
	if other != nil {
		return op.Errorf(op.CodeInvalid, "Invalid Token: SecretID is already in use")
	}
	if r.From == "" {
		return nil
	}
	from, err := FindToken(tx, r.From)
	switch {
	case err != nil:
		return err
	case from == nil:
		return op.Errorf(op.CodeNotFound, "Cannot find token %q to clone", r.From)
	case from.AuthMethod != "":
		return op.Errorf(op.CodeConflict, "Cannot clone a token created from an auth method")
	}
	t.Grants, t.Roles, t.Local, t.ExpirationTime = from.Grants, from.Roles, from.Local, from.ExpirationTime
	if t.Description == "" {
		t.Description = "Clone of " + from.AccessorID
		if from.Description != "" {
			t.Description = "Clone of " + from.Description
		}
	}
	return nil
}

// changedToken refuses what cannot be changed of a token.
func changedToken(t, old *Token) error {
	switch {
	case old == nil:
		return op.Errorf(op.CodeNotFound, "Cannot find token %q", t.AccessorID)
	case t.SecretID != "" && t.SecretID != old.SecretID:
		return op.Errorf(op.CodeInvalid, "Changing a token's SecretID is not permitted")
	case t.Local != old.Local:
		return op.Errorf(op.CodeInvalid, "cannot toggle local mode of %s", old.AccessorID)
	case t.AuthMethod != "" && t.AuthMethod != old.AuthMethod:
		return op.Errorf(op.CodeInvalid, "Cannot change AuthMethod of %s", old.AccessorID)
	case !t.ExpirationTime.IsZero() && !t.ExpirationTime.Truncate(time.Millisecond).Equal(old.ExpirationTime):
		return op.Errorf(op.CodeInvalid, "Cannot change expiration time of %s", old.AccessorID)
	}
	if t.Name == "" {
		t.Name = old.Name
	}
	t.SecretID, t.AuthMethod, t.ExpirationTime, t.CreateTime, t.CreateIndex = old.SecretID, old.AuthMethod, old.ExpirationTime, old.CreateTime, old.CreateIndex
	return nil
}

// resolveLinks turns names into IDs, and refuses what is not there.
func resolveLinks(r storage.Reader, t *Token) error {
	if err := resolvePolicies(r, &t.Grants); err != nil {
		return err
	}
	var kept []Link
	for _, l := range t.Roles {
		role, err := FindRole(r, l.ID, l.Name)
		if err != nil {
			return err
		}
		if role == nil {
			return op.Errorf(op.CodeInvalid, "No such ACL role with %s", nameOf(l))
		}
		if !slices.Contains(kept, Link{ID: role.ID}) {
			kept = append(kept, Link{ID: role.ID})
		}
	}
	t.Roles = kept
	return nil
}

func resolvePolicies(r storage.Reader, g *Grants) error {
	var kept []Link
	for _, l := range g.Policies {
		p, err := FindPolicy(r, l.ID, l.Name)
		if err != nil {
			return err
		}
		if p == nil {
			return op.Errorf(op.CodeInvalid, "No such ACL policy with %s", nameOf(l))
		}
		if !slices.Contains(kept, Link{ID: p.ID}) {
			kept = append(kept, Link{ID: p.ID})
		}
	}
	g.Policies = kept
	return nil
}

func nameOf(l Link) string {
	if l.ID != "" {
		return fmt.Sprintf("ID %q", l.ID)
	}
	return fmt.Sprintf("name %q", l.Name)
}

// putToken writes a token with its hash and indexes.
func putToken(tx *storage.Txn, old, t *Token) error {
	bare := *t
	bare.CreateIndex, bare.ModifyIndex, bare.Hash = 0, 0, nil
	var err error
	if t.Hash, err = hashed(bare.MarshalMsg(nil)); err != nil {
		return err
	}
	t.CreateIndex, t.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		t.CreateIndex = old.CreateIndex
	}
	return tokens.Replace(tx, idKey(t.AccessorID), old, t)
}

// ApplyDeleteToken removes a token.
func ApplyDeleteToken(tx *storage.Txn, r *AccessorRequest) (*op.Empty, error) {
	if r.Accessor == AnonymousAccessor {
		return nil, op.Errorf(op.CodeInvalid, "Delete operation not permitted on the anonymous token")
	}
	t, err := FindToken(tx, r.Accessor)
	if err == nil && (t == nil || !t.Local) {
		err = writable(tx)
	}
	if err != nil || t == nil {
		return nil, err
	}
	_, err = tokens.Delete(tx, idKey(r.Accessor))
	return nil, err
}

// ApplyLogout removes the token with the secret.
func ApplyLogout(tx *storage.Txn, r *SecretRequest) (*op.Empty, error) {
	t, err := FindSecret(tx, r.Secret)
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return nil, ErrNotFound
	case t.AuthMethod == "":
		return nil, op.Errorf(op.CodeDenied, "Permission denied: this token was not got by logging in, so that it cannot log out; delete it instead")
	}
	if !t.Local {
		if err := writable(tx); err != nil {
			return nil, err
		}
	}
	_, err = tokens.Delete(tx, idKey(t.AccessorID))
	return nil, err
}

// ApplyExpire removes those tokens that have ended; copies of others go when the home
// removes them.
func ApplyExpire(tx *storage.Txn, r *ExpireRequest) (*op.Empty, error) {
	home, err := FindHome(tx)
	if err != nil {
		return nil, err
	}
	for _, accessor := range r.Accessors {
		t, err := FindToken(tx, accessor)
		if err != nil {
			return nil, err
		}
		if t == nil || !t.Expired(r.Now) || home.Away && !t.Local {
			continue
		}
		if _, err := tokens.Delete(tx, idKey(accessor)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// tokenAtHome says which tokens are written where the home is: those that are not local.
func tokenAtHome(r storage.Reader, req *SetTokenRequest) (bool, error) {
	if req.Create && req.From != "" {
		return accessorAtHome(r, &AccessorRequest{Accessor: req.From})
	}
	return !req.Token.Local, nil
}

func accessorAtHome(r storage.Reader, req *AccessorRequest) (bool, error) {
	t, err := FindToken(r, req.Accessor)
	return t == nil || !t.Local, err
}

func secretAtHome(r storage.Reader, req *SecretRequest) (bool, error) {
	t, err := FindSecret(r, req.Secret)
	return t != nil && !t.Local, err
}

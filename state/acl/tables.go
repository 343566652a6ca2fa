package acl

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/legate-project/legate/storage"
)

var (
	tokenBySecret = storage.NewIndex(1, "token-secret", func(t *Token) [][]byte { return [][]byte{secretKey(t.SecretID)} })
	tokenByMethod = storage.NewIndex(2, "token-method", func(t *Token) [][]byte {
		if t.AuthMethod == "" {
			return nil
		}
		return [][]byte{nameKey(t.AuthMethod)}
	})
	// tokenByEnd has first where, then when: those that end first come first.
	tokenByEnd = storage.NewIndex(3, "token-end", func(t *Token) [][]byte {
		if t.ExpirationTime.IsZero() {
			return nil
		}
		return [][]byte{endKey(t.Local, t.ExpirationTime)}
	})
	tokens = storage.NewTable(12, "acl-tokens", tokenBySecret, tokenByMethod, tokenByEnd)

	policyByName = storage.NewIndex(1, "policy-name", func(p *Policy) [][]byte { return [][]byte{nameKey(p.Name)} })
	policies     = storage.NewTable(13, "acl-policies", policyByName)

	roleByName = storage.NewIndex(1, "role-name", func(r *Role) [][]byte { return [][]byte{nameKey(r.Name)} })
	roles      = storage.NewTable(14, "acl-roles", roleByName)

	methods = storage.NewTable[Method](15, "acl-methods")

	bindingByMethod = storage.NewIndex(1, "binding-method", func(b *Binding) [][]byte { return [][]byte{nameKey(b.AuthMethod)} })
	bindings        = storage.NewTable(16, "acl-bindings", bindingByMethod)

	start = storage.NewTable[Start](17, "acl-start")
)

func idKey(id string) []byte         { return storage.Key(strings.ToLower(id)) }
func nameKey(name string) []byte     { return storage.Key(strings.ToLower(name)) }
func secretKey(secret string) []byte { return storage.Key(secret) }

func endKey(local bool, at time.Time) []byte {
	key := make([]byte, 9)
	if local {
		key[0] = 1
	}
	binary.BigEndian.PutUint64(key[1:], uint64(max(at.UnixMilli(), 0)))
	return key
}

// one is the first record of an index below a key, nil for none.
func one[T any, P storage.Codec[T]](ix *storage.Index[T, P], r storage.Reader, key []byte) (*T, error) {
	for v, err := range ix.Scan(r, key) {
		return v, err
	}
	return nil, nil
}

// all collects what a scan yields.
func all[T any](scan func(yield func(*T, error) bool)) ([]T, error) {
	out := []T{}
	for v, err := range scan {
		if err != nil {
			return nil, err
		}
		out = append(out, *v)
	}
	return out, nil
}

// FindToken returns the token with an accessor, or nil.
func FindToken(r storage.Reader, accessor string) (*Token, error) {
	return tokens.Get(r, idKey(accessor))
}

// FindSecret returns the token with a secret, or nil.
func FindSecret(r storage.Reader, secret string) (*Token, error) {
	return one(tokenBySecret, r, secretKey(secret))
}

// FindPolicy returns a policy by its ID or, without one, by its name; or nil.
func FindPolicy(r storage.Reader, id, name string) (*Policy, error) {
	if id != "" {
		return policies.Get(r, idKey(id))
	}
	return one(policyByName, r, nameKey(name))
}

// FindRole returns a role by its ID or, without one, by its name; or nil.
func FindRole(r storage.Reader, id, name string) (*Role, error) {
	if id != "" {
		return roles.Get(r, idKey(id))
	}
	return one(roleByName, r, nameKey(name))
}

// FindMethod returns a method, or nil.
func FindMethod(r storage.Reader, name string) (*Method, error) {
	return methods.Get(r, nameKey(name))
}

// FindBinding returns a binding rule, or nil.
func FindBinding(r storage.Reader, id string) (*Binding, error) { return bindings.Get(r, idKey(id)) }

// BindingsOf returns the binding rules of a method.
func BindingsOf(r storage.Reader, method string) (Bindings, error) {
	return all(bindingByMethod.Scan(r, nameKey(method)))
}

// Ended returns the accessors of at most max tokens that have ended, those of this
// datacenter alone or those of all.
func Ended(r storage.Reader, local bool, now time.Time, max int) ([]string, error) {
	var out []string
	for t, err := range tokenByEnd.Scan(r, endKey(local, time.UnixMilli(0))[:1]) {
		if err != nil {
			return nil, err
		}
		if !t.Expired(now) || len(out) == max {
			break
		}
		out = append(out, t.AccessorID)
	}
	return out, nil
}

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable {
	return []storage.AnyTable{tokens, policies, roles, methods, bindings, start, homes}
}

// TokenRows returns the rows of a token with the indexes that it has: what a state
// holds that was made elsewhere. So do the others.
func TokenRows(t *Token) ([]storage.Row, error) {
	return tokens.Rows(idKey(t.AccessorID), t.ModifyIndex, t)
}

// PolicyRows returns the rows of a policy that was parsed.
func PolicyRows(p *Policy) ([]storage.Row, error) {
	return policies.Rows(idKey(p.ID), p.ModifyIndex, p)
}

// RoleRows returns the rows of a role.
func RoleRows(r *Role) ([]storage.Row, error) { return roles.Rows(idKey(r.ID), r.ModifyIndex, r) }

// MethodRows returns the rows of a method.
func MethodRows(m *Method) ([]storage.Row, error) {
	return methods.Rows(nameKey(m.Name), m.ModifyIndex, m)
}

// BindingRows returns the rows of a binding rule.
func BindingRows(b *Binding) ([]storage.Row, error) {
	return bindings.Rows(idKey(b.ID), b.ModifyIndex, b)
}

// StartRows returns the rows of what there is once.
func StartRows(s *Start, index uint64) ([]storage.Row, error) { return start.Rows(nil, index, s) }

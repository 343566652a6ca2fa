package acl

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// News is the part of what came from the home that is not here yet.
func News(r storage.Reader, deletes []Name, from *Records) (*CopyRequest, error) {
	out := &CopyRequest{}
	seen := map[Name]bool{}
	for _, n := range deletes {
		old, err := findGlobal(r, n)
		if err != nil {
			return nil, err
		}
		if old != nil && !seen[n] {
			seen[n] = true
			out.Deletes = append(out.Deletes, n)
		}
	}
	return out, from.each(func(g global) error {
		old, err := findGlobal(r, g.name)
		if err != nil {
			return err
		}
		if old == nil || old.name.sum(old.content) != g.name.sum(g.content) {
			g.add(&out.Records)
		}
		return nil
	})
}

// each visits the records, what others refer to first.
func (r *Records) each(visit func(global) error) error {
	err := eachOf(listed(r.Policies), globalPolicy, visit)
	if err == nil {
		err = eachOf(listed(r.Roles), globalRole, visit)
	}
	if err == nil {
		err = eachOf(listed(r.Methods), globalMethod, visit)
	}
	if err == nil {
		err = eachOf(listed(r.Bindings), globalBinding, visit)
	}
	if err != nil {
		return err
	}
	return eachOf(listed(r.Tokens), globalToken, visit)
}

func listed[T any](list []T) func(yield func(*T, error) bool) {
	return func(yield func(*T, error) bool) {
		for i := range list {
			if !yield(&list[i], nil) {
				return
			}
		}
	}
}

// ApplyCopy writes what came from the home. Hashes stay as they came: what another
// version would compute must not make copies differ. Where a local token has the
// accessor or the secret of a global one, the local one goes: a global token means the
// same everywhere.
func ApplyCopy(tx *storage.Txn, r *CopyRequest) (*CopyResult, error) {
	h, err := FindHome(tx)
	if err != nil {
		return nil, err
	}
	if !h.Away || h.Version != r.Version {
		return nil, op.Errorf(op.CodeMoved, "this datacenter does not copy from the home of version %d (any more)", r.Version)
	}
	out := &CopyResult{}
	for _, n := range r.Deletes {
		if err := deleteCopy(tx, n); err != nil {
			return nil, err
		}
	}
	for i := range r.Records.Policies {
		p := &r.Records.Policies[i]
		if err := putCopy(tx, policies, idKey(p.ID), p, func(p *Policy) (*uint64, *uint64) { return &p.CreateIndex, &p.ModifyIndex }); err != nil {
			return nil, err
		}
	}
	for i := range r.Records.Roles {
		o := &r.Records.Roles[i]
		if err := putCopy(tx, roles, idKey(o.ID), o, func(o *Role) (*uint64, *uint64) { return &o.CreateIndex, &o.ModifyIndex }); err != nil {
			return nil, err
		}
	}
	for i := range r.Records.Methods {
		m := &r.Records.Methods[i]
		if err := putCopy(tx, methods, nameKey(m.Name), m, func(m *Method) (*uint64, *uint64) { return &m.CreateIndex, &m.ModifyIndex }); err != nil {
			return nil, err
		}
	}
	for i := range r.Records.Bindings {
		b := &r.Records.Bindings[i]
		if err := putCopy(tx, bindings, idKey(b.ID), b, func(b *Binding) (*uint64, *uint64) { return &b.CreateIndex, &b.ModifyIndex }); err != nil {
			return nil, err
		}
	}
	if err := copyTokens(tx, r.Records.Tokens, out); err != nil {
		return nil, err
	}
	if err := noteBegun(tx, r.Begun); err != nil {
		return nil, err
	}
	if r.Index > 0 {
		h.Index, h.Own = r.Index, false
		return out, homes.Put(tx, nil, h)
	}
	return out, nil
}

// noteBegun has nobody make another first management token.
func noteBegun(tx *storage.Txn, begun bool) error {
	if known, err := Bootstrapped(tx); err != nil || known || !begun {
		return err
	}
	return start.Put(tx, nil, &Start{Bootstrapped: tx.Index()})
}

func copyTokens(tx *storage.Txn, list []Token, out *CopyResult) error {
	for i := range list {
		t := &list[i]
		old, err := FindToken(tx, t.AccessorID)
		if err != nil {
			return err
		}
		if old != nil && old.Local {
			out.Lost = append(out.Lost, old.AccessorID)
		}
		other, err := FindSecret(tx, t.SecretID)
		if err != nil {
			return err
		}
		if other != nil && other.Local && other.AccessorID != t.AccessorID {
			out.Lost = append(out.Lost, other.AccessorID)
			if _, err := tokens.Delete(tx, idKey(other.AccessorID)); err != nil {
				return err
			}
		}
		t.Local = false
		if err := putCopy(tx, tokens, idKey(t.AccessorID), t, func(t *Token) (*uint64, *uint64) { return &t.CreateIndex, &t.ModifyIndex }); err != nil {
			return err
		}
	}
	return nil
}

// putCopy writes a record with the indexes of this datacenter.
func putCopy[T any, P storage.Codec[T]](tx *storage.Txn, table *storage.Table[T, P], key []byte, v *T, indexes func(*T) (created, modified *uint64)) error {
	old, err := table.Get(tx, key)
	if err != nil {
		return err
	}
	created, modified := indexes(v)
	*created, *modified = tx.Index(), tx.Index()
	if old != nil {
		was, _ := indexes(old)
		*created = *was
	}
	return table.Replace(tx, key, old, v)
}

// deleteCopy deletes what the home has deleted; with a method the local tokens that
// were got by it.
func deleteCopy(tx *storage.Txn, n Name) error {
	var err error
	switch n.Kind {
	case KindPolicy:
		_, err = policies.Delete(tx, idKey(n.Key))
	case KindRole:
		_, err = roles.Delete(tx, idKey(n.Key))
	case KindMethod:
		err = deleteMethod(tx, n.Key)
	case KindBinding:
		_, err = bindings.Delete(tx, idKey(n.Key))
	case KindToken:
		var t *Token
		if t, err = FindToken(tx, n.Key); err == nil && t != nil && !t.Local {
			_, err = tokens.Delete(tx, idKey(n.Key))
		}
	}
	return err
}

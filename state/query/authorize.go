package query

import (
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

// guarded reports whether rules apply to a query by its name. One that has
// neither name nor template is known by its ID alone, and who knows that may
// use it.
func (q *Query) guarded() bool { return q.Name != "" || q.Template.Type != "" }

// later is for what the stored query decides, or the service that it names.
func later[Req any](rules.Authorizer, *Req) error { return nil }

func authorizeSet(a rules.Authorizer, r *SetRequest) error { return authorizeWrite(a, &r.Query) }

func authorizeWrite(a rules.Authorizer, q *Query) error {
	if q == nil || !q.guarded() {
		return nil
	}
	return rules.Require(a, rules.Query, rules.Write, q.Name)
}

func authorizeUpdate(a rules.Authorizer, r storage.Reader, req *SetRequest) error {
	return authorizeStored(a, r, req.Query.ID)
}

func authorizeDelete(a rules.Authorizer, r storage.Reader, req *IDRequest) error {
	return authorizeStored(a, r, req.ID)
}

func authorizeStored(a rules.Authorizer, r storage.Reader, id string) error {
	q, err := find(r, id)
	if err != nil {
		return err
	}
	return authorizeWrite(a, q)
}

func authorizeSelect(a rules.Authorizer, r *SelectRequest) error {
	return rules.Require(a, rules.Service, rules.Read, r.Service)
}

// filterOne is for queries that were asked for one by one: who knows the ID of one without
// a name may see it.
func filterOne(a rules.Authorizer, list *Queries) bool {
	return filter(a, list, func(q *Query) bool { return !q.guarded() || a.Allow(rules.Query, rules.Read, q.Name) })
}

// filterAll is for lists: who may not manage everything does not learn the IDs of queries
// without a name.
func filterAll(a rules.Authorizer, list *Queries) bool {
	return filter(a, list, func(q *Query) bool { return q.guarded() && a.Allow(rules.Query, rules.Read, q.Name) })
}

// manages reports whether a caller sees all queries with their tokens, whatever rules it
// has for them.
func manages(a rules.Authorizer) bool { return a.Allow(rules.ACL, rules.Write, "") }

// filter replaces the list by what may be seen of it and reports whether that
// is less: a query, or a token.
func filter(a rules.Authorizer, list *Queries, ok func(*Query) bool) bool {
	if manages(a) {
		return false
	}
	shown := make(Queries, 0, len(*list))
	less := false
	for _, q := range *list {
		if !ok(&q) {
			less = true
			continue
		}
		if q.Token != "" {
			q.Token, less = Hidden, true
		}
		shown = append(shown, q)
	}
	*list = shown
	return less
}

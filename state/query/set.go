package query

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// prepareCreate gives the query an ID, again where a lost leader had done so.
func prepareCreate(l op.Leader, r *SetRequest) error {
	if err := prepare(&r.Query); err != nil {
		return err
	}
	r.Query.ID = l.NewID()
	return nil
}

func prepareUpdate(_ op.Leader, r *SetRequest) error {
	if r.Query.ID == "" {
		return op.Errorf(op.CodeInvalid, "Missing query ID")
	}
	return prepare(&r.Query)
}

// prepare refuses a query that could not be carried out.
func prepare(q *Query) error {
	q.CreateIndex, q.ModifyIndex = 0, 0
	if q.Name == "" && q.Template.Type == "" && q.Session == "" {
		return invalid("Must be bound to a session")
	}
	if q.Token == Hidden {
		return invalid("Bad Token '%s': the query was read by somebody who may not see its token, and sent back", Hidden)
	}
	if err := prepareService(&q.Service); err != nil {
		return err
	}
	if err := prepareTTL(q.DNS.TTL); err != nil {
		return err
	}
	if err := bounded(q); err != nil {
		return err
	}
	if q.Template.Type == "" {
		return nil
	}
	if _, err := compile(q); err != nil {
		return invalid("%v", err)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return op.Errorf(op.CodeInvalid, "Invalid prepared query: "+format, args...)
}

func prepareService(s *Service) error {
	f := &s.Failover
	switch {
	case s.Service == "":
		return invalid("Must provide a Service name to query")
	case len(f.Targets) > 0 && (f.NearestN != 0 || len(f.Datacenters) > 0):
		return invalid("Targets cannot be populated with NearestN or Datacenters")
	case f.NearestN < 0 || f.NearestN > maxNearest:
		return invalid("Bad NearestN '%d', must be 0 to %d", f.NearestN, maxNearest)
	case s.Peer != "":
		return invalid("Peer: cluster peering is not supported, use Failover.Datacenters")
	}
	names := slices.Clone(f.Datacenters)
	for _, t := range f.Targets {
		if t.Peer != "" {
			return invalid("Targets: cluster peering is not supported, use Datacenter in place of Peer")
		}
		names = append(names, t.Datacenter)
	}
	for _, name := range names {
		if op.IsFanOut(name) && name != op.Nearest {
			return invalid("Failover: '%.64s' is not one datacenter: list them one by one, or use %s for all others by distance", name, op.Nearest)
		}
	}
	for _, m := range []struct {
		name  string
		pairs map[string]string
	}{{"NodeMeta", s.NodeMeta}, {"ServiceMeta", s.ServiceMeta}} {
		for key := range m.pairs {
			if key == "" || strings.Contains(key, ":") {
				return invalid("Bad key %q of %s: it must be there and have no colon", key, m.name)
			}
		}
	}
	return nil
}

func prepareTTL(text string) error {
	if text == "" {
		return nil
	}
	switch d, err := time.ParseDuration(text); {
	case len(text) > maxText || err != nil:
		return invalid("Bad DNS TTL '%.64s': invalid duration: use a number with a unit, such as 30s", text)
	case d < 0:
		return invalid("DNS TTL '%s' must be 0 or more", text)
	}
	return nil
}

// bounded refuses what is too long or too many.
func bounded(q *Query) error {
	s := &q.Service
	for what, n := range map[string]int{"Datacenters": len(s.Failover.Datacenters), "Targets": len(s.Failover.Targets), "IgnoreCheckIDs": len(s.IgnoreCheckIDs),
		"Tags": len(s.Tags), "NodeMeta": len(s.NodeMeta), "ServiceMeta": len(s.ServiceMeta)} {
		if n > maxList {
			return invalid("%s has %d entries, at most %d are allowed", what, n, maxList)
		}
	}
	if len(q.Name) > maxName {
		return invalid("Name is longer than %d bytes", maxName)
	}
	texts := []string{q.ID, q.Session, q.Token, q.Template.Type, s.SamenessGroup}
	for _, m := range []map[string]string{s.NodeMeta, s.ServiceMeta} {
		for key := range m {
			texts = append(texts, key)
		}
	}
	_, _ = s.mapped(func(text string) (string, error) {
		texts = append(texts, text)
		return text, nil
	})
	for _, text := range texts {
		if len(text) > maxText {
			return invalid("a text is longer than %d bytes: '%.32s…'", maxText, text)
		}
	}
	return nil
}

// ApplyCreate carries out Create.
func ApplyCreate(tx *storage.Txn, r *SetRequest) (*SetResult, error) { return put(tx, &r.Query, nil) }

// ApplyUpdate carries out Update.
func ApplyUpdate(tx *storage.Txn, r *SetRequest) (*SetResult, error) {
	old, err := find(tx, r.Query.ID)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, unknown(r.Query.ID)
	}
	return put(tx, &r.Query, old)
}

// ApplyDelete carries out Delete.
func ApplyDelete(tx *storage.Txn, r *IDRequest) (*op.Empty, error) {
	there, err := queries.Delete(tx, idKey(r.ID))
	if err == nil && !there {
		err = unknown(r.ID)
	}
	return nil, err
}

func unknown(id string) error {
	return op.Errorf(op.CodeNotFound, "Cannot modify non-existent prepared query: '%s'", id)
}

func find(r storage.Reader, id string) (*Query, error) { return queries.Get(r, idKey(id)) }

// put writes the query unless its session is none or its name another's.
func put(tx *storage.Txn, q, old *Query) (*SetResult, error) {
	row := *q
	row.CreateIndex, row.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		row.ID, row.CreateIndex = old.ID, old.CreateIndex
	}
	if row.Session != "" {
		s, err := session.Find(tx, row.Session)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, op.Errorf(op.CodeConflict, "invalid session %q", row.Session)
		}
		row.Session = s.ID
	}
	if err := free(tx, &row); err != nil {
		return nil, err
	}
	return &SetResult{ID: row.ID}, queries.Replace(tx, idKey(row.ID), old, &row)
}

// free returns a *op.Error if another query answers to the name already.
func free(tx *storage.Txn, q *Query) error {
	index, kind := byName, "name"
	switch {
	case q.Template.Type != "":
		index, kind = byPrefix, "template"
	case q.Name == "":
		return nil
	}
	for other, err := range index.Scan(tx, nameKey(q.Name)) {
		if err != nil {
			return err
		}
		if other.ID != q.ID {
			return op.Errorf(op.CodeConflict, "name '%s' aliases an existing query %s", q.Name, kind)
		}
	}
	if q.Name == "" {
		return nil
	}
	other, err := find(tx, q.Name)
	if err == nil && other != nil {
		err = op.Errorf(op.CodeConflict, "name '%s' aliases an existing query ID", q.Name)
	}
	return err
}

// SessionGone deletes the queries that go with a session.
func SessionGone(tx *storage.Txn, id string) error {
	var ids []string
	for q, err := range bySession.Scan(tx, sessionKey(id)) {
		if err != nil {
			return err
		}
		ids = append(ids, q.ID)
	}
	var errs []error
	for _, id := range ids {
		_, err := queries.Delete(tx, idKey(id))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

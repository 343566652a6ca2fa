package query

import (
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

func get(r storage.Reader, req *IDRequest) (*Queries, error) {
	q, err := find(r, req.ID)
	if err != nil || q == nil {
		return &Queries{}, err
	}
	return &Queries{*q}, nil
}

func list(r storage.Reader, _ *op.Empty) (*Queries, error) {
	out := Queries{}
	for q, err := range queries.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		out = append(out, *q)
	}
	return &out, nil
}

func explain(r storage.Reader, req *NameRequest) (*Queries, error) {
	q, err := resolve(r, req.Name)
	if err != nil || q == nil {
		return &Queries{}, err
	}
	return &Queries{*q}, nil
}

// resolve returns the query that a name stands for: by its ID, by its name, or
// by the longest prefix that is a template's. Nil if there is none.
func resolve(r storage.Reader, name string) (*Query, error) {
	if name == "" || len(name) > maxAsked {
		return nil, nil
	}
	q, err := find(r, name)
	switch {
	case err != nil:
		return nil, err
	case q != nil && q.Template.Type != "":
		return nil, op.Errorf(op.CodeInvalid, "query '%s' is a template: it answers to names, not to its ID", q.ID)
	case q != nil:
		return q, nil
	}
	for q, err := range byName.Scan(r, nameKey(name)) {
		return q, err
	}
	plain := folded(name)
	for n := min(len(plain), maxName); n >= 0; n-- {
		for q, err := range byPrefix.Scan(r, storage.Key(plain[:n])) {
			if err != nil {
				return nil, err
			}
			return made(q, name)
		}
	}
	return nil, nil
}

// made is what the template makes of a name.
func made(q *Query, name string) (*Query, error) {
	t, err := compile(q)
	if err == nil {
		var out *Query
		if out, err = t.render(name); err == nil {
			return out, nil
		}
	}
	return nil, op.Errorf(op.CodeInvalid, "prepared query template '%s' cannot be used for '%s': %v", q.ID, name, err)
}

// Selection is what every datacenter is asked for on behalf of the query.
func (s *Service) Selection() *SelectRequest {
	return &SelectRequest{Service: s.Service, OnlyPassing: s.OnlyPassing, IgnoreCheckIDs: s.IgnoreCheckIDs, Tags: s.Tags,
		NodeMeta: pairs(s.NodeMeta), ServiceMeta: pairs(s.ServiceMeta), Connect: s.Connect}
}

// pairs writes metadata in an order of its own. A key has no colon.
func pairs(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+":"+v)
	}
	slices.Sort(out)
	return out
}

// choose answers Select.
func choose(r storage.Reader, req *SelectRequest) (*catalog.Instances, error) {
	all, err := catalog.ListInstances.Query(r, &catalog.ServiceRequest{Service: req.Service, NodeMeta: req.NodeMeta, Connect: req.Connect})
	if err != nil {
		return nil, err
	}
	out := catalog.Instances{}
	for _, in := range *all {
		if req.healthy(in.Checks) && req.tagged(in.Service.Tags) && hasAll(in.Service.Meta, req.ServiceMeta) {
			out = append(out, in)
		}
	}
	return &out, nil
}

// healthy judges by the checks that count.
func (r *SelectRequest) healthy(checks catalog.Checks) bool {
	for i := range checks {
		c := &checks[i]
		switch {
		case c.Status == catalog.Passing, slices.Contains(r.IgnoreCheckIDs, c.CheckID):
		case c.Status == catalog.Critical, r.OnlyPassing:
			return false
		}
	}
	return true
}

// tagged reports whether the tags are as wanted, without regard to case.
func (r *SelectRequest) tagged(tags []string) bool {
	for _, want := range r.Tags {
		want, not := strings.CutPrefix(want, "!")
		if slices.ContainsFunc(tags, func(tag string) bool { return strings.EqualFold(tag, want) }) == not {
			return false
		}
	}
	return true
}

func hasAll(meta map[string]string, pairs []string) bool {
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, ":")
		if got, ok := meta[k]; !ok || got != v {
			return false
		}
	}
	return true
}

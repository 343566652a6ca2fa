package state

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/session"
)

func (s *scene) query(q query.Query) string {
	s.t.Helper()
	if q.Service.Service == "" {
		q.Service.Service = "web"
	}
	return s.must(&query.Create, &query.SetRequest{Query: q}).(*query.SetResult).ID
}

func template(name string) query.Query {
	return query.Query{Name: name, Template: query.Template{Type: query.NamePrefixMatch}, Service: query.Service{Service: "${name.suffix}"}}
}

// resolved is the ID of the query that a name stands for, and its service.
func (s *scene) resolved(name string) (id, service string) {
	s.t.Helper()
	list, _ := read(s.t, s.state, &query.Explain, &query.NameRequest{Name: name})
	if len(*list) == 0 {
		return "", ""
	}
	return (*list)[0].ID, (*list)[0].Service.Service
}

// TestRefusedQueries: one row is a query with a part of the text by which it is
// refused. None is made.
func TestRefusedQueries(t *testing.T) {
	many := make([]string, 65)
	web := query.Service{Service: "web"}
	s := newScene(t)
	named := s.query(query.Query{Name: "taken"})
	s.query(template("geo-"))
	of := func(change func(*query.Query)) query.Query {
		q := query.Query{Name: "q", Service: web}
		change(&q)
		return q
	}
	for want, q := range map[string]query.Query{
		"Must be bound to a session":           {Service: web},
		"Must provide a Service name to query": {Name: "q"},
		"Bad Token '<hidden>'":                 of(func(q *query.Query) { q.Token = "<hidden>" }),
		"Targets cannot be populated with NearestN or Datacenters": of(func(q *query.Query) {
			q.Service.Failover = query.Failover{NearestN: 1, Targets: []query.Target{{Datacenter: "dc2"}}}
		}),
		"Failover: 'all' is not one datacenter":             of(func(q *query.Query) { q.Service.Failover.Datacenters = []string{"dc2", "all"} }),
		"Failover: 'dc2,dc3' is not one datacenter":         of(func(q *query.Query) { q.Service.Failover.Datacenters = []string{"dc2,dc3"} }),
		"Failover: 'dc2>dc3' is not one datacenter":         of(func(q *query.Query) { q.Service.Failover.Targets = []query.Target{{Datacenter: "dc2>dc3"}} }),
		"Bad NearestN '-1'":                                 of(func(q *query.Query) { q.Service.Failover.NearestN = -1 }),
		"Bad NearestN '2000'":                               of(func(q *query.Query) { q.Service.Failover.NearestN = 2000 }),
		"Peer: cluster peering":                             of(func(q *query.Query) { q.Service.Peer = "p" }),
		"Targets: cluster peering":                          of(func(q *query.Query) { q.Service.Failover.Targets = []query.Target{{Peer: "p"}} }),
		`Bad key "a:b" of NodeMeta`:                         of(func(q *query.Query) { q.Service.NodeMeta = map[string]string{"a:b": "c"} }),
		`Bad key "" of ServiceMeta`:                         of(func(q *query.Query) { q.Service.ServiceMeta = map[string]string{"": "c"} }),
		"Bad DNS TTL 'soon'":                                of(func(q *query.Query) { q.DNS.TTL = "soon" }),
		"DNS TTL '-1s' must be 0 or more":                   of(func(q *query.Query) { q.DNS.TTL = "-1s" }),
		"Tags has 65 entries":                               of(func(q *query.Query) { q.Service.Tags = many }),
		"Datacenters has 65 entries":                        of(func(q *query.Query) { q.Service.Failover.Datacenters = many }),
		"Name is longer than 256 bytes":                     of(func(q *query.Query) { q.Name = strings.Repeat("x", 257) }),
		"a text is longer than 1024 bytes":                  of(func(q *query.Query) { q.Service.Tags = []string{strings.Repeat("x", 1025)} }),
		"Bad Template.Type 'other'":                         of(func(q *query.Query) { q.Template.Type = "other" }),
		"Bad Template.Regexp":                               of(func(q *query.Query) { q.Template = query.Template{Type: query.NamePrefixMatch, Regexp: "("} }),
		"${nothing} is unknown":                             {Template: query.Template{Type: query.NamePrefixMatch}, Service: query.Service{Service: "${nothing}"}},
		`invalid session "none"`:                            of(func(q *query.Query) { q.Session = "none" }),
		"name 'TAKEN' aliases an existing query name":       of(func(q *query.Query) { q.Name = "TAKEN" }),
		"name '" + named + "' aliases an existing query ID": of(func(q *query.Query) { q.Name = named }),
		"name 'Geo-' aliases an existing query template":    template("Geo-"),
	} {
		if _, err := s.apply(&query.Create, &query.SetRequest{Query: q}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if list, _ := read(t, s.state, &query.List, &op.Empty{}); len(*list) != 2 {
		t.Errorf("%d queries, want the two that were there", len(*list))
	}
	for o, req := range map[op.Operation]*query.SetRequest{&query.Update: {Query: query.Query{ID: "none", Name: "x", Service: web}}} {
		if _, err := s.apply(o, req); op.CodeOf(err) != op.CodeNotFound {
			t.Errorf("%s of none: %v", o.OpName(), err)
		}
	}
	if _, err := s.apply(&query.Delete, &query.IDRequest{ID: "none"}); op.CodeOf(err) != op.CodeNotFound {
		t.Errorf("delete of none: %v", err)
	}
	if _, err := s.apply(&query.Update, &query.SetRequest{Query: query.Query{Name: "x", Service: web}}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("update without an ID: %v", err)
	}
}

func TestQueryIsReplacedAndKeepsItsName(t *testing.T) {
	s := newScene(t)
	id := s.query(query.Query{Name: "q"})
	other := s.query(query.Query{Name: "other"})
	before, _ := read(t, s.state, &query.Get, &query.IDRequest{ID: id})
	s.must(&query.Update, &query.SetRequest{Query: query.Query{ID: strings.ToUpper(id), Name: "Q", Service: query.Service{Service: "db"}}})
	after, index := read(t, s.state, &query.Get, &query.IDRequest{ID: id})
	if q := (*after)[0]; q.ID != id || q.Name != "Q" || q.Service.Service != "db" || q.CreateIndex != (*before)[0].CreateIndex || q.ModifyIndex != s.state.Index() || index != q.ModifyIndex {
		t.Errorf("%+v at index %d after %+v", q, index, (*before)[0])
	}
	if _, err := s.apply(&query.Update, &query.SetRequest{Query: query.Query{ID: other, Name: "q", Service: query.Service{Service: "db"}}}); op.CodeOf(err) != op.CodeConflict {
		t.Errorf("a second query of the name: %v", err)
	}
	s.must(&query.Delete, &query.IDRequest{ID: id})
	s.must(&query.Update, &query.SetRequest{Query: query.Query{ID: other, Name: "q", Service: query.Service{Service: "db"}}})
	if got, _ := s.resolved("q"); got != other {
		t.Errorf("the name that became free stands for %q", got)
	}
}

// Reads wake for what they are about and nothing else.
func TestIndexOfAQueryIsItsOwn(t *testing.T) {
	s := newScene(t)
	id := s.query(query.Query{Name: "q"})
	_, mine := read(t, s.state, &query.Get, &query.IDRequest{ID: id})
	_, asked := read(t, s.state, &query.Explain, &query.NameRequest{Name: "q"})
	other := s.query(query.Query{Name: "other"})
	s.query(template("q-"))
	s.must(&query.Delete, &query.IDRequest{ID: other})
	if _, now := read(t, s.state, &query.Get, &query.IDRequest{ID: id}); now != mine {
		t.Errorf("get moved from %d to %d", mine, now)
	}
	if _, now := read(t, s.state, &query.Explain, &query.NameRequest{Name: "q"}); now != asked {
		t.Errorf("explain moved from %d to %d", asked, now)
	}
	if _, now := read(t, s.state, &query.List, &op.Empty{}); now != s.state.Index() {
		t.Errorf("list is at %d, want %d", now, s.state.Index())
	}
	s.must(&query.Delete, &query.IDRequest{ID: id})
	if _, now := read(t, s.state, &query.Get, &query.IDRequest{ID: id}); now != s.state.Index() {
		t.Errorf("get of a deleted one is at %d, want %d", now, s.state.Index())
	}
}

func TestQueriesGoWithTheirSession(t *testing.T) {
	s := newScene(t)
	mine, others := s.session(session.Release), s.session(session.Release)
	a, b := s.query(query.Query{Session: mine}), s.query(query.Query{Session: strings.ToUpper(mine), Name: "named"})
	c, d := s.query(query.Query{Session: others}), s.query(query.Query{Name: "free"})
	s.must(&session.Destroy, &session.DestroyRequest{ID: mine})
	ids := func() string {
		list, _ := read(t, s.state, &query.List, &op.Empty{})
		var out []string
		for _, q := range *list {
			out = append(out, q.ID)
		}
		return strings.Join(out, " ")
	}
	if got := ids(); got != c+" "+d {
		t.Errorf("queries %s after the session of %s and %s went", got, a, b)
	}
	s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: "n1"})
	if got := ids(); got != d {
		t.Errorf("queries %s after the node went", got)
	}
}

// A name stands for the query of that ID, else of that name, else of the longest
// prefix, whatever queries there are.
func TestResolutionAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newScene(t)
		type row struct {
			name     string
			template bool
		}
		model := map[string]row{}
		word := rapid.StringMatching(`[aB.]{0,3}`)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			r := row{word.Draw(rt, "name"), rapid.Bool().Draw(rt, "template")}
			q := query.Query{Name: r.name, Service: query.Service{Service: "web"}}
			if r.template {
				q = template(r.name)
			}
			free := r.template || r.name != ""
			for _, other := range model {
				free = free && (other.template != r.template || !strings.EqualFold(other.name, r.name))
			}
			gone := ""
			if rapid.IntRange(0, 3).Draw(rt, "what") == 0 && len(model) > 0 {
				ids := slices.Sorted(func(yield func(string) bool) {
					for id := range model {
						if !yield(id) {
							return
						}
					}
				})
				gone = rapid.SampledFrom(ids).Draw(rt, "id")
			}
			if gone != "" {
				s.must(&query.Delete, &query.IDRequest{ID: gone})
				delete(model, gone)
			} else if res, err := s.apply(&query.Create, &query.SetRequest{Query: q}); (err == nil) != free {
				rt.Fatalf("%+v among %v: %v", r, model, err)
			} else if err == nil {
				model[res.(*query.SetResult).ID] = r
			}
			name := word.Draw(rt, "asked")
			want, service, longest := "", "", -1
			for id, r := range model {
				lower := strings.ToLower(name)
				switch {
				case !r.template && name != "" && strings.ToLower(r.name) == lower:
					want, service, longest = id, "web", 1000
				case r.template && strings.HasPrefix(lower, strings.ToLower(r.name)) && len(r.name) > longest && name != "":
					want, service, longest = id, name[len(r.name):], len(r.name)
				}
			}
			if id, got := s.resolved(name); id != want || got != service {
				rt.Fatalf("%q is %s for %q, want %s for %q among %v", name, id, got, want, service, model)
			}
		}
		readable(rt, s.state)
	})
}

func TestNamesThatStandForNothing(t *testing.T) {
	s := newScene(t)
	all := s.query(template(""))
	for _, name := range []string{"", strings.Repeat("x", 513)} {
		if id, _ := s.resolved(name); id != "" {
			t.Errorf("%.10q stands for %s", name, id)
		}
	}
	if id, service := s.resolved(strings.Repeat("x", 512)); id != all || len(service) != 512 {
		t.Errorf("the longest name stands for %q", id)
	}
	v := s.state.View()
	defer v.Close()
	if _, err := query.Explain.Query(v, &query.NameRequest{Name: all}); op.CodeOf(err) != op.CodeInvalid {
		t.Errorf("a template by its ID: %v", err)
	}
}

// TestSelection: one row is what a query wants with the instances that it gets.
func TestSelection(t *testing.T) {
	s := newScene(t)
	for i, c := range []struct {
		status string
		tags   []string
		rack   string
		meta   string
	}{{catalog.Passing, []string{"A", "b"}, "r1", "1"}, {catalog.Warning, []string{"a"}, "r2", "1"}, {catalog.Critical, nil, "r1", "2"}} {
		r := registerWeb(fmt.Sprintf("n%d", i+1), "w", c.status)
		r.Service.Service, r.Service.Tags, r.Service.Meta, r.NodeMeta = "shop", c.tags, map[string]string{"v": c.meta}, map[string]string{"rack": c.rack}
		s.must(&catalog.Register, r)
	}
	for name, c := range map[string]struct {
		want query.Service
		got  string
	}{
		"healthy":                  {query.Service{}, "n1 n2"},
		"passing":                  {query.Service{OnlyPassing: true}, "n1"},
		"a check does not count":   {query.Service{OnlyPassing: true, IgnoreCheckIDs: []string{"c-w"}}, "n1 n2 n3"},
		"another does not":         {query.Service{IgnoreCheckIDs: []string{"other"}}, "n1 n2"},
		"tag without case":         {query.Service{Tags: []string{"a"}}, "n1 n2"},
		"two tags":                 {query.Service{Tags: []string{"a", "B"}}, "n1"},
		"not a tag":                {query.Service{Tags: []string{"a", "!B"}}, "n2"},
		"an empty tag":             {query.Service{Tags: []string{""}}, ""},
		"node metadata":            {query.Service{NodeMeta: map[string]string{"rack": "r2"}}, "n2"},
		"instance metadata":        {query.Service{ServiceMeta: map[string]string{"v": "1"}}, "n1 n2"},
		"both":                     {query.Service{NodeMeta: map[string]string{"rack": "r1"}, ServiceMeta: map[string]string{"v": "1"}}, "n1"},
		"metadata that nobody has": {query.Service{ServiceMeta: map[string]string{"w": ""}}, ""},
	} {
		c.want.Service = "shop"
		list, _ := read(t, s.state, &query.Select, c.want.Selection())
		var got []string
		for _, in := range *list {
			got = append(got, in.Node.Node)
		}
		if strings.Join(got, " ") != c.got {
			t.Errorf("%s: %v, want %s", name, got, c.got)
		}
	}
}

// Requests for the same look the same: results are kept by that.
func TestSelectionsOfEqualQueriesAreEqual(t *testing.T) {
	meta := map[string]string{}
	for i := range 20 {
		meta[fmt.Sprint("k", i)] = "v"
	}
	q := query.Service{Service: "web", NodeMeta: meta, ServiceMeta: meta}
	first, err := q.Selection().MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if b, _ := q.Selection().MarshalMsg(nil); string(b) != string(first) {
			t.Fatal("a selection has several forms")
		}
	}
}

// TestTokensOfQueriesAreHidden: one row is a caller with what it sees.
func TestTokensOfQueriesAreHidden(t *testing.T) {
	s := stored(t) // id-2 is q, id-3 has no name
	tokens := func(o op.Queryable, req any, a rules.Authorizer) string {
		var list query.Queries
		if err := json.Unmarshal([]byte(shown(t, s, o, req, a)), &list); err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, q := range list {
			out = append(out, q.ID+"="+q.Token)
		}
		return strings.Join(out, " ")
	}
	for name, c := range map[string]struct {
		caller              rules.Authorizer
		list, named, hidden string
	}{
		"everything":      {rules.AllowAll(), "id-2=secret id-3=secret id-9=", "id-2=secret", "id-3=secret"},
		"manager":         {may("acl:"), "id-2=secret id-3=secret id-9=", "id-2=secret", "id-3=secret"},
		"reader":          {may("query:q"), "id-2=<hidden>", "id-2=<hidden>", "id-3=<hidden>"},
		"reader of other": {may("query:r"), "", "", "id-3=<hidden>"},
	} {
		for _, pair := range [][2]string{
			{tokens(&query.List, &op.Empty{}, c.caller), c.list},
			{tokens(&query.Get, &query.IDRequest{ID: "id-2"}, c.caller), c.named},
			{tokens(&query.Explain, &query.NameRequest{Name: "q"}, c.caller), c.named},
			{tokens(&query.Get, &query.IDRequest{ID: "id-3"}, c.caller), c.hidden},
			{tokens(&query.Explain, &query.NameRequest{Name: "ID-3"}, c.caller), c.hidden},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s sees %q, want %q", name, pair[0], pair[1])
			}
		}
	}
}

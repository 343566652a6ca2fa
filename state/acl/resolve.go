package acl

import (
	"fmt"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/acl/rules/template"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o resolve_gen.go -file resolve.go
//msgp:limit arrays:1048576 maps:64

// ResolveSecret says what a secret stands for: what agents ask servers. A secret
// that stands for nothing is answered with ErrNotFound.
var ResolveSecret = op.Direct[ResolveRequest, Resolved]{Name: "acl.resolve", Authorize: anybody[ResolveRequest], Reads: true}

// ResolveRequest shows a secret.
type ResolveRequest struct {
	Secret string `msg:"s"`
	// Datacenter is where it was shown; "" is the one that is asked. The home is asked
	// for another one that has no copies yet.
	Datacenter string `msg:"dc,omitempty"`
}

// Resolved is what a secret stands for in one datacenter.
type Resolved struct {
	Accessor string `msg:"a"`
	// Local tokens mean nothing in other datacenters.
	Local bool `msg:"l,omitempty"`
	// Ends is when it stands for nothing any more; the zero time is never.
	Ends time.Time `msg:"e"`
	// Policy has the rules of all that the token refers to, merged.
	Policy rules.Policy `msg:"p"`
	// Scoped is set if something that it refers to counts in some datacenters alone: it
	// may stand for something else elsewhere.
	Scoped bool `msg:"sc,omitempty"`
	// Datacenter is the one that it was asked for; "" is the one that answers.
	Datacenter string `msg:"dc,omitempty"`
}

// Who names the token in errors.
func (r *Resolved) Who() string {
	if r.Accessor == AnonymousAccessor || r.Accessor == "" {
		return rules.Anonymous
	}
	return fmt.Sprintf("token with AccessorID '%s'", r.Accessor)
}

// Resolve says what a secret stands for in a datacenter; nil if it stands for
// nothing. Without a secret it is the anonymous token.
func Resolve(r storage.Reader, secret, datacenter string, now time.Time) (*Resolved, error) {
	if secret == "" {
		secret = AnonymousSecret
	}
	t, err := FindSecret(r, secret)
	if err != nil {
		return nil, err
	}
	if t == nil || t.Expired(now) {
		if secret == AnonymousSecret {
			return &Resolved{Accessor: AnonymousAccessor}, nil
		}
		return nil, nil
	}
	g := gathering{r: r, datacenter: datacenter, seen: map[string]bool{}}
	err = g.grants(&t.Grants)
	for _, l := range t.Roles {
		if err != nil {
			break
		}
		var role *Role
		if role, err = FindRole(r, l.ID, ""); err == nil && role != nil {
			err = g.grants(&role.Grants)
		}
	}
	if err != nil {
		return nil, err
	}
	return &Resolved{Accessor: t.AccessorID, Local: t.Local, Ends: t.ExpirationTime, Policy: *rules.Merge(g.policies...), Scoped: g.scoped}, nil
}

// gathering collects the rules that a token leads to.
type gathering struct {
	r          storage.Reader
	datacenter string
	seen       map[string]bool // policies, by ID
	policies   []*rules.Policy
	scoped     bool
}

// counts reports whether what lists datacenters counts in this one.
func (g *gathering) counts(list []string) bool {
	g.scoped = g.scoped || len(list) > 0
	return len(list) == 0 || slices.Contains(list, g.datacenter)
}

func (g *gathering) grants(from *Grants) error {
	for _, l := range from.Policies {
		if g.seen[l.ID] {
			continue
		}
		g.seen[l.ID] = true
		p, err := FindPolicy(g.r, l.ID, "")
		if err != nil {
			return err
		}
		if p != nil && g.counts(p.Datacenters) {
			g.policies = append(g.policies, &p.Parsed)
		}
	}
	for _, s := range from.ServiceIdentities {
		if g.counts(s.Datacenters) {
			g.add(template.ServiceIdentity(s.ServiceName))
		}
	}
	for _, n := range from.NodeIdentities {
		if g.counts([]string{n.Datacenter}) {
			g.add(template.NodeIdentity(n.NodeName))
		}
	}
	for i := range from.TemplatedPolicies {
		t := &from.TemplatedPolicies[i]
		if g.counts(t.Datacenters) {
			g.add(template.Render(t.TemplateName, t.variables()))
		}
	}
	return nil
}

// add takes what was checked when it was written: what another version knew and this
// one does not grants nothing.
func (g *gathering) add(r *template.Rendered, err error) {
	if err == nil {
		g.policies = append(g.policies, &r.Policy)
	}
}

package acl

import (
	"crypto/sha256"
	"fmt"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules/template"
	"github.com/legate-project/legate/storage"
)

// Synthetic is the policy that an identity or a template stands for, where it is shown.
// It is stored nowhere.
func Synthetic(r *template.Rendered, of string, datacenters []string) Policy {
	sum := sha256.Sum256([]byte(r.Text))
	id := fmt.Sprintf("%x", sum[:16])
	return Policy{ID: id, Name: "synthetic-policy-" + id, Description: "synthetic policy generated from " + of, Rules: r.Text, Datacenters: datacenters, Hash: sum[:]}
}

// expand adds the policies and the roles behind a token, each once.
func expand(r storage.Reader, out *TokenResult) error {
	e := expansion{r: r, out: out, seen: map[string]bool{}}
	if err := e.add(&out.Token.Grants); err != nil {
		return err
	}
	for _, l := range out.Token.Roles {
		role, err := FindRole(r, l.ID, "")
		if err != nil || role == nil {
			return err
		}
		if err := name(r, &role.Grants); err != nil {
			return err
		}
		out.Roles = append(out.Roles, *role)
		if err := e.add(&role.Grants); err != nil {
			return err
		}
	}
	return nil
}

// expansion collects what is behind a token.
type expansion struct {
	r    storage.Reader
	out  *TokenResult
	seen map[string]bool // policies, by ID and where they count
}

// maxExpanded bounds the policies that are shown of one token.
const maxExpanded = 16384

// add adds the policies of a token or a role.
func (e *expansion) add(g *Grants) error {
	for _, l := range g.Policies {
		p, err := FindPolicy(e.r, l.ID, "")
		if err != nil {
			return err
		}
		if p != nil {
			e.once(*p)
		}
	}
	for _, s := range g.ServiceIdentities {
		r, err := template.ServiceIdentity(s.ServiceName)
		e.made(r, err, "service identity: "+s.ServiceName, s.Datacenters)
	}
	for _, n := range g.NodeIdentities {
		r, err := template.NodeIdentity(n.NodeName)
		e.made(r, err, "node identity: "+n.NodeName, []string{n.Datacenter})
	}
	for i := range g.TemplatedPolicies {
		t := &g.TemplatedPolicies[i]
		r, err := template.Render(t.TemplateName, t.variables())
		e.made(r, err, "templated policy: "+t.TemplateName, t.Datacenters)
	}
	if len(e.out.Policies) > maxExpanded {
		return op.Errorf(op.CodeTooLarge, "more than %d policies are behind the token: read it without expanding it, and its roles one by one", maxExpanded)
	}
	return nil
}

// made adds what an identity or a template stands for. As where it counts, what is not
// understood grants nothing.
func (e *expansion) made(r *template.Rendered, err error, of string, datacenters []string) {
	if err == nil {
		e.once(Synthetic(r, of, datacenters))
	}
}

func (e *expansion) once(p Policy) {
	key := fmt.Sprint(p.ID, p.Datacenters)
	if !e.seen[key] {
		e.seen[key] = true
		e.out.Policies = append(e.out.Policies, p)
	}
}

package acl

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/acl/rules/template"
)

func (a *API) templates(x *rest.Exchange) error {
	if err := x.Require(rules.ACL, rules.Read, ""); err != nil {
		return err
	}
	out := map[string]template.Template{}
	for _, t := range template.List() {
		out[t.TemplateName] = t
	}
	return x.JSON(out)
}

func (a *API) template(x *rest.Exchange) error {
	if err := x.Require(rules.ACL, rules.Read, ""); err != nil {
		return err
	}
	name, err := x.Argument("Missing templated policy name")
	if err != nil {
		return err
	}
	t, err := template.Find(name)
	if err != nil {
		return invalidTemplate(err)
	}
	return x.JSON(t)
}

// preview answers with the policy that a template makes. It is stored nowhere.
func (a *API) preview(x *rest.Exchange) error {
	if err := x.Require(rules.ACL, rules.Read, ""); err != nil {
		return err
	}
	name, err := x.Argument("Missing templated policy name")
	if err != nil {
		return err
	}
	var v template.Variables
	b, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		if err := rest.DecodeJSON(b, &v); err != nil {
			return err
		}
	}
	r, err := template.Render(name, v)
	if err != nil {
		return invalidTemplate(err)
	}
	p := acl.Synthetic(r, "templated policy: "+name, nil)
	return x.JSON(&p)
}

// invalidTemplate answers 404 where there is no such template, else 400.
func invalidTemplate(err error) error {
	if _, ok := errors.AsType[*template.UnknownError](err); ok {
		return rest.Reasoned(http.StatusNotFound, "not-found", err.Error())
	}
	return rest.Reasoned(http.StatusBadRequest, "invalid", err.Error())
}

// authorize answers for each of several rights whether the caller has it: on this agent, or
// with ?dc in another datacenter. With ?accessor it is about the token of that AccessorID instead.
func (a *API) authorize(x *rest.Exchange) error {
	var asked acl.Questions
	if err := x.Decode(&asked.Questions); err != nil {
		return err
	}
	if len(asked.Questions) > acl.MaxQuestions {
		return rest.Reasoned(http.StatusBadRequest, "invalid", fmt.Sprintf("Refusing to process more than %d authorizations at once", acl.MaxQuestions))
	}
	for i := range asked.Questions {
		if err := check(&asked.Questions[i]); err != nil {
			return err
		}
	}
	h, err := x.Current()
	if err != nil {
		return err
	}
	if accessor := x.Get("accessor"); accessor != "" {
		said, meta, err := acl.AuthorizeToken.Call(x.Ctx, a.Caller, h, &acl.TokenQuestions{AccessorID: accessor, Questions: asked.Questions})
		switch {
		case err != nil:
			return err
		case said == nil:
			return missing(http.StatusForbidden, "token")
		}
		x.Datacenter(&meta)
		return x.JSON(rest.Some(said.Questions))
	}
	if h.Datacenter != "" && h.Datacenter != a.Datacenter {
		said, meta, err := acl.Authorize.Call(x.Ctx, a.Caller, h, &asked)
		if err != nil {
			return err
		}
		x.Datacenter(&meta)
		return x.JSON(rest.Some(cmp.Or(said, &acl.Questions{}).Questions))
	}
	authorizer, err := x.Authorizer()
	if err != nil {
		return err
	}
	asked.Answer(authorizer)
	return x.JSON(rest.Some(asked.Questions))
}

// check refuses what is no right.
func check(q *acl.Question) error {
	switch rules.Resource(q.Resource) {
	case rules.ACL, rules.Agent, rules.Event, rules.Intention, rules.Key, rules.Keyring, rules.Mesh, rules.Node, rules.Operator,
		rules.Peering, rules.Query, rules.Service, rules.Session:
	default:
		return rest.Reasoned(http.StatusBadRequest, "invalid", fmt.Sprintf("Invalid resource %.64q", q.Resource))
	}
	switch rules.Access(q.Access) {
	case rules.Read, rules.Write:
	case rules.List:
		if q.Resource == string(rules.Key) {
			return nil
		}
		fallthrough
	default:
		return rest.Reasoned(http.StatusBadRequest, "invalid", fmt.Sprintf("Invalid access %.64q for the resource %s", q.Access, q.Resource))
	}
	return nil
}

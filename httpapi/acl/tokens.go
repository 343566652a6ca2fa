package acl

import (
	"net/http"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/catalog"
)

// tokenBody is a token as clients send it.
type tokenBody struct {
	acl.Token
	ExpirationTTL catalog.Duration
}

// expandedToken is a token with what it refers to.
type expandedToken struct {
	ExpandedPolicies          acl.Policies
	ExpandedRoles             acl.Roles
	NamespaceDefaultPolicyIDs []string
	NamespaceDefaultRoleIDs   []string
	AgentACLDefaultPolicy     string
	AgentACLDownPolicy        string
	ResolvedByAgent           string
	*acl.Token
}

func (a *API) bootstrap(x *rest.Exchange) error {
	var body struct{ BootstrapSecret string }
	b, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		if err := rest.DecodeJSON(b, &body); err != nil {
			return err
		}
	}
	h, err := x.Current()
	if err != nil {
		return err
	}
	h.Token = "" // before there is one, a secret stands for nothing
	t, meta, err := acl.Bootstrap.Call(x.Ctx, a.Caller, h, &acl.BootstrapRequest{Token: acl.Token{SecretID: body.BootstrapSecret}})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.JSON(t)
}

func (a *API) login(x *rest.Exchange) error {
	var body struct {
		AuthMethod, BearerToken string
		Meta                    map[string]string
	}
	if err := x.Decode(&body); err != nil {
		return err
	}
	h, err := x.Current()
	if err != nil {
		return err
	}
	h.Token = "" // who logs in has none that counts
	t, meta, err := acl.Login.Call(x.Ctx, a.Caller, h, &acl.LoginRequest{Method: body.AuthMethod, Bearer: body.BearerToken, Meta: body.Meta})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.JSON(t)
}

func (a *API) logout(x *rest.Exchange) error {
	secret := x.OwnToken() // never the agent's
	if secret == "" {
		return rest.Reasoned(http.StatusUnauthorized, "invalid", "token required: show the token that is to be given back")
	}
	return remove(a, x, &acl.Logout, &acl.SecretRequest{Secret: secret})
}

func (a *API) tokens(x *rest.Exchange) error {
	req := &acl.TokensRequest{Policy: x.Get("policy"), Role: x.Get("role"), ServiceName: x.Get("servicename"), AuthMethod: x.Get("authmethod")}
	given := 0
	for _, s := range []string{req.Policy, req.Role, req.ServiceName, req.AuthMethod} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		return rest.Refuse(http.StatusBadRequest, "can only filter by one of: policy, role, servicename, authmethod")
	}
	return list(a, x, &acl.ListTokens, req, same[acl.Token])
}

func (a *API) self(x *rest.Exchange) error {
	secret := x.Token()
	if secret == "" {
		secret = acl.AnonymousSecret
	}
	return a.showToken(x, &acl.TokenRequest{Secret: secret})
}

func (a *API) token(x *rest.Exchange) error {
	accessor, err := x.Argument("Missing token AccessorID")
	if err != nil {
		return err
	}
	return a.showToken(x, &acl.TokenRequest{Accessor: accessor})
}

func (a *API) showToken(x *rest.Exchange, req *acl.TokenRequest) error {
	var err error
	if req.Expanded, err = x.Flag("expanded"); err != nil {
		return err
	}
	res, err := read(a, x, &acl.GetToken, req)
	switch {
	case err != nil:
		return err
	case res == nil:
		return missing(http.StatusForbidden, "token")
	}
	t := res.Token
	if res.Own && x.OwnToken() == "" && req.Secret != acl.AnonymousSecret {
		t.SecretID = acl.Hidden // the agent showed it (acl.tokens.default) for who brings none
	}
	if !req.Expanded {
		return x.JSON(&t)
	}
	return x.JSON(&expandedToken{ExpandedPolicies: rest.Some(res.Policies), ExpandedRoles: rest.Some(res.Roles),
		AgentACLDefaultPolicy: a.Config.DefaultPolicy, AgentACLDownPolicy: a.Config.DownPolicy, ResolvedByAgent: a.NodeName, Token: &t})
}

func (a *API) createToken(x *rest.Exchange) error {
	return a.setToken(x, &acl.SetTokenRequest{Create: true})
}

func (a *API) updateToken(x *rest.Exchange) error { return a.setToken(x, &acl.SetTokenRequest{}) }

func (a *API) setToken(x *rest.Exchange, req *acl.SetTokenRequest) error {
	var body tokenBody
	if err := x.Decode(&body); err != nil {
		return err
	}
	req.Token, req.TTL = body.Token, time.Duration(body.ExpirationTTL)
	if !req.Create {
		if err := named(x, &req.Token.AccessorID, "token AccessorID"); err != nil {
			return err
		}
	}
	t, err := write(a, x, &acl.SetToken, req)
	if err != nil {
		return err
	}
	return x.JSON(t)
}

func (a *API) cloneToken(x *rest.Exchange) error {
	var body struct{ Description string }
	if err := x.Decode(&body); err != nil {
		return err
	}
	from, err := x.Argument("Missing token AccessorID")
	if err != nil {
		return err
	}
	t, err := write(a, x, &acl.SetToken, &acl.SetTokenRequest{Create: true, From: from, Token: acl.Token{Description: body.Description}})
	if err != nil {
		return err
	}
	return x.JSON(t)
}

func (a *API) deleteToken(x *rest.Exchange) error {
	accessor, err := x.Argument("Missing token AccessorID")
	if err != nil {
		return err
	}
	return remove(a, x, &acl.DeleteToken, &acl.AccessorRequest{Accessor: accessor})
}

// replication says how the datacenter's copies of what is global stand.
func (a *API) replication(x *rest.Exchange) error {
	h, err := x.Current()
	if err != nil {
		return err
	}
	status, meta, err := acl.ReplicationStatus.Call(x.Ctx, a.Caller, h, &op.Empty{})
	if err != nil {
		return err
	}
	x.Datacenter(&meta)
	return x.JSON(status)
}

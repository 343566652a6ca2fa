package testcluster

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
)

// Access is a federation in which nobody may do anything without a token. Each field is
// a secret.
type Access struct {
	Management string // may do everything
	Agents     string // what the agents themselves may do
	DNS        string // may look up all services and nodes
	App        string // may read and write keys below app/, and find services
}

// NewAccess makes up the secrets of a federation.
func NewAccess() *Access {
	return &Access{Management: uuid.NewString(), Agents: uuid.NewString(), DNS: uuid.NewString(), App: uuid.NewString()}
}

// configure has an agent control access.
func (a *Access) configure(cfg *config.Config) {
	c := &cfg.ACL
	c.Enabled, c.DefaultPolicy = true, "deny"
	cfg.PrimaryDatacenter = Datacenter(0)
	c.Tokens.Agent, c.Tokens.DNS = a.Agents, a.DNS
	if cfg.Server && cfg.Datacenter == cfg.PrimaryDatacenter {
		c.Tokens.InitialManagement = a.Management
	}
}

// header is that of calls of the cluster's own.
func (c *Cluster) header() op.Header {
	if c.spec.Access == nil {
		return op.Header{}
	}
	return op.Header{Token: c.spec.Access.Management}
}

// grant is a token with what it is good for.
type grant struct {
	name, secret, rules string
	templates           []acl.TemplatedPolicy
}

// MakeTokens makes the policies and tokens of Access where they are written first, and
// waits until every datacenter knows them. It does nothing without Access.
func (c *Cluster) MakeTokens(ctx context.Context) error {
	a := c.spec.Access
	if a == nil {
		return nil
	}
	for _, g := range []grant{
		{"agents", a.Agents, `node_prefix "" { policy = "write" } service_prefix "" { policy = "write" }`, nil},
		{"dns", a.DNS, "", []acl.TemplatedPolicy{{TemplateName: "builtin/dns"}}},
		{"app", a.App, `key_prefix "app/" { policy = "write" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`, nil},
	} {
		if err := c.makeToken(ctx, g); err != nil {
			return fmt.Errorf("make the token %s: %w", g.name, err)
		}
	}
	for _, dc := range c.Datacenters() {
		err := c.again(ctx, func(ctx context.Context) error { // App was made last
			_, _, err := acl.ResolveSecret.Call(ctx, c.In(dc)[0].Agent().Caller(), op.Header{}, &acl.ResolveRequest{Secret: a.App})
			return err
		})
		if err != nil {
			return fmt.Errorf("datacenter %s does not know the tokens: %w", dc, err)
		}
	}
	return nil
}

func (c *Cluster) makeToken(ctx context.Context, g grant) error {
	caller, h := c.In(Datacenter(0))[0].Agent().Caller(), c.header()
	grants := acl.Grants{TemplatedPolicies: g.templates}
	if g.rules != "" {
		var made *acl.Policy
		err := c.again(ctx, func(ctx context.Context) (err error) { // access control may just be starting
			made, _, err = acl.SetPolicy.Call(ctx, caller, h, &acl.SetPolicyRequest{Create: true, Policy: acl.Policy{Name: g.name, Rules: g.rules}})
			return err
		})
		if err != nil {
			return err
		}
		grants.Policies = []acl.Link{{ID: made.ID}}
	}
	return c.again(ctx, func(ctx context.Context) error {
		_, _, err := acl.SetToken.Call(ctx, caller, h, &acl.SetTokenRequest{Create: true, Token: acl.Token{SecretID: g.secret, Description: g.name, Grants: grants}})
		return err
	})
}

// again tries until it succeeds or ctx ends, then with what was wrong last.
func (c *Cluster) again(ctx context.Context, try func(context.Context) error) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-t.C:
		}
	}
}

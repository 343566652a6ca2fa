package rest

import (
	"context"
	"math"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// Authorizer answers for who shows the token of the request, on this agent. Operations
// are asked by who carries them out: this is for what the agent answers itself.
func (x *Exchange) Authorizer() (rules.Authorizer, error) {
	if x.api.cfg.Authorizer == nil {
		return rules.AllowAll(), nil
	}
	return x.api.cfg.Authorizer(x.Ctx, x.Token())
}

// Require returns the error to answer with unless the token of the request grants the
// access to the named thing.
func (x *Exchange) Require(r rules.Resource, access rules.Access, name string) error {
	a, err := x.Authorizer()
	if err != nil {
		return err
	}
	return rules.Require(a, r, access, name)
}

// Needs is a handler that asks before h, for the agent's own node where the resource has
// names.
func Needs(r rules.Resource, access rules.Access, h Handler) Handler {
	return func(x *Exchange) error {
		name := ""
		if r == rules.Agent || r == rules.Node {
			name = x.api.cfg.NodeName
		}
		if err := x.Require(r, access, name); err != nil {
			return err
		}
		return h(x)
	}
}

// askedAgain is how often the token of an answer without an end is asked about.
const askedAgain = 10 * time.Second

// Lasting is for answers without an end: it lets h answer in a context that ends when the
// token does not grant the access any more, for the agent's own node where the resource
// has names.
func Lasting(r rules.Resource, access rules.Access, h Handler) Handler {
	return Needs(r, access, func(x *Exchange) error {
		ask, token, name := x.api.cfg.Authorizer, x.Token(), x.api.cfg.NodeName
		if ask == nil {
			return h(x)
		}
		ctx, end := context.WithCancel(x.Ctx)
		var again *time.Timer
		again = time.AfterFunc(math.MaxInt64, func() { // which runs once more at most when the answer has ended
			may, err := ask(ctx, token)
			if op.CodeOf(err) == op.CodeDenied || err == nil && !may.Allow(r, access, name) {
				end()
			}
			if ctx.Err() == nil {
				again.Reset(askedAgain)
			}
		})
		again.Reset(askedAgain)
		defer again.Stop()
		defer end()
		x.Ctx, x.R = ctx, x.R.WithContext(ctx)
		return h(x)
	})
}

// NodeName of the agent.
func (x *Exchange) NodeName() string { return x.api.cfg.NodeName }

// Hidden says of an answer that something was left out which the caller may not see.
func (x *Exchange) Hidden(some bool) {
	if some {
		x.W.Header()["X-Consul-Results-Filtered-By-Acls"] = yes
	}
}

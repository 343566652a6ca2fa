package failover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/internal/byname"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/status"
)

const (
	// maxLooked bounds the datacenters that are looked at, atOnce how many at a time.
	maxLooked = 64
	atOnce    = 16
)

// Explanation is why a plain name is answered from where it is.
type Explanation struct {
	Service string
	// Rule is that of the datacenter, null without one. Configured is dns_config.failover of this
	// agent, which comes before it and is for DNS alone.
	Rule       *failover.Rule
	Configured []string
	// Looked are the datacenters in the order in which they count.
	Looked []Looked
	// DNS and HTTP name the datacenter that answers a plain name, and a question for passing
	// instances that names no datacenter; empty if nobody does.
	DNS, HTTP string
	Why       string
}

// Looked is what a datacenter has.
type Looked struct {
	Datacenter string
	// Healthy are the instances that are not critical, Passing those of them that pass.
	Healthy, Passing int
	// Age in seconds is how old that is; 0 is current.
	Age   float64
	Error string `json:",omitempty"` // why it could not be asked
	// Filtered says that the token may not see all.
	Filtered bool `json:",omitempty"`
}

// reasons looks at all datacenters that are meant.
func (a *API) reasons(ctx context.Context, token, service string) (*Explanation, error) {
	out := &Explanation{Service: service}
	if a.Rule != nil {
		out.Rule = a.Rule(service)
	}
	configured, onlyPassing := a.Configured()
	out.Configured = byname.New(configured).Of(service)
	byDNS, byHTTP := out.Configured, []string(nil)
	if out.Rule != nil {
		byHTTP = out.Rule.Datacenters
		if byDNS == nil {
			byDNS = byHTTP
		}
	}
	near, err := a.nearest(ctx, token)
	if err != nil {
		return nil, err
	}
	dnsOrder, httpOrder := a.expand(byDNS, near), a.expand(byHTTP, near)
	all := append(slices.Clone(dnsOrder), httpOrder...)
	names := all[:0]
	for _, dc := range all {
		if !slices.Contains(names, dc) && len(names) < maxLooked {
			names = append(names, dc)
		}
	}
	out.Looked = a.look(ctx, token, service, names)
	out.DNS, _ = a.who(ctx, token, service, byDNS, onlyPassing)
	var alone bool
	if out.HTTP, alone = a.who(ctx, token, service, byHTTP, true); alone && byHTTP != nil {
		out.HTTP, _ = a.who(ctx, token, service, nil, true)
	}
	out.Why = a.why(out)
	return out, nil
}

// why says it in words.
func (a *API) why(e *Explanation) string {
	rule := "no rule is for it, so nobody stands in"
	switch {
	case e.Configured != nil:
		rule = "dns_config.failover of this agent has " + strings.Join(e.Configured, ", ") + " stand in for it in DNS"
	case e.Rule != nil:
		rule = fmt.Sprintf("the rule for %s has %s stand in", e.Rule.Service, strings.Join(e.Rule.Datacenters, ", "))
	}
	own := e.Looked[0]
	switch {
	case own.Error != "":
		return fmt.Sprintf("%s could not be asked (%s); %s", own.Datacenter, own.Error, rule)
	case e.DNS == own.Datacenter:
		return fmt.Sprintf("%s has %d healthy here in %s, which come before all others", e.Service, own.Healthy, own.Datacenter)
	case e.DNS == "":
		return fmt.Sprintf("none that is healthy was found; %s", rule)
	}
	first := "is the first that has one"
	if i := slices.IndexFunc(e.Looked, func(l Looked) bool { return l.Healthy > 0 }); e.Looked[i].Datacenter != e.DNS {
		first += " and can be asked now"
	}
	return fmt.Sprintf("%s has none that is healthy; %s, and %s %s", own.Datacenter, rule, e.DNS, first)
}

// who is the datacenter that answers for a service as an order says, behind the own one; empty if
// nobody does. It is asked: which is near and which can be reached counts as it does for others. It
// reports whether the order is of no use to who has the token.
func (a *API) who(ctx context.Context, token, service string, order []string, passing bool) (dc string, useless bool) {
	h := op.Header{Token: token}
	if order != nil {
		h.Datacenter = strings.ToLower(op.FailoverOrder(append([]string{a.Datacenter}, order...)))
	}
	list, reply, err := catalog.ListInOrder(ctx, a.Caller, h, &catalog.ServiceRequest{Service: service, HealthyOnly: true, PassingOnly: passing})
	switch {
	case err != nil:
		return "", true
	case list == nil || len(*list) == 0:
		return "", reply.Meta.Filtered
	}
	dc = cmp.Or(reply.Meta.Datacenter, a.Datacenter)
	return dc, reply.Meta.Filtered && dc == a.Datacenter
}

// nearest are the other datacenters by distance.
func (a *API) nearest(ctx context.Context, token string) ([]string, error) {
	all, _, err := status.Datacenters.Call(ctx, a.Caller, op.Header{Token: token, Consistency: op.Stale}, &op.Empty{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all.Texts, func(dc string) bool { return dc == a.Datacenter }), nil
}

// expand is an order with names in the place of the word nearest, behind the own datacenter.
func (a *API) expand(order, near []string) []string {
	out := []string{a.Datacenter}
	for _, dc := range order {
		if dc == op.Nearest {
			out = append(out, near...)
			continue
		}
		out = append(out, strings.ToLower(dc))
	}
	return out
}

// look asks the datacenters at once.
func (a *API) look(ctx context.Context, token, service string, names []string) []Looked {
	out := make([]Looked, len(names))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, dc := range names {
		g.Go(func() error {
			out[i] = a.lookAt(ctx, token, service, dc)
			return nil
		})
	}
	_ = g.Wait() // each says in its row what went wrong
	return out
}

func (a *API) lookAt(ctx context.Context, token, service, dc string) Looked {
	l := Looked{Datacenter: dc}
	h := op.Header{Datacenter: dc, Token: token, Consistency: op.Cached}
	if dc == a.Datacenter {
		h.Datacenter, h.Consistency = "", op.Default
	}
	list, meta, err := catalog.ListInstances.Call(ctx, a.Caller, h, &catalog.ServiceRequest{Service: service, HealthyOnly: true})
	if err != nil {
		l.Error = err.Error()
		return l
	}
	l.Age, l.Filtered = meta.Age.Seconds(), meta.Filtered
	if list == nil {
		return l
	}
	l.Healthy = len(*list)
	for i := range *list {
		if (*list)[i].Checks.Status() == catalog.Passing {
			l.Passing++
		}
	}
	return l
}

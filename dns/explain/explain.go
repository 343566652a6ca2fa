// Package explain answers names as the DNS interface of the agent does, by its very code, with the token of
// who asks, and says how it came to the answer.
package explain

import (
	"context"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns"
	"github.com/legate-project/legate/dns/explained"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/query"
)

// Explainer explains what a server of DNS answers.
type Explainer struct {
	Server *dns.Server
	Caller op.Caller
	// Datacenter of the agent.
	Datacenter string
	// Rule is that of the datacenter for a service that fails over, nil for none.
	Rule func(service string) *failover.Rule
}

// Explain answers a question, and says how it came to that.
func (e *Explainer) Explain(ctx context.Context, q explained.Question) (*explained.Explanation, error) {
	t := &trail{Caller: e.Caller, token: q.Token}
	seen := e.Server.Look(ctx, dns.Look{Name: q.Name, Type: q.Type, From: q.From, Caller: t})
	m := &seen.Message
	out := &explained.Explanation{Name: m.Question[0].Name, Type: mdns.Type(q.Type).String(), Code: mdns.RcodeToString[m.Rcode],
		Read: e.readOf(strings.ToLower(m.Question[0].Name), seen), Answer: records(m.Answer), Additional: records(m.Extra), Datacenters: []string{}, Truncated: seen.Cut}
	if seen.Recurses && (out.Read.Kind == "outside" || out.Read.Kind == "reverse" && m.Rcode == mdns.RcodeNameError) {
		out.Code = ""
	}
	if seen.FailsOver != "" && t.last().count() == 0 && !q.SeesRules(seen.Name.Name) {
		t.steps = t.steps[:1] // where else was looked tells of the rule
	}
	for _, s := range t.steps {
		out.Age = max(out.Age, s.meta.Age.Seconds())
	}
	if s := t.last(); s != nil {
		out.Datacenters = s.places(e.Datacenter)
	}
	w := &why{e: e, t: t, seen: seen, out: out, rules: q.SeesRules(seen.Name.Name)}
	w.all(ctx)
	out.Filtered = slices.ContainsFunc(t.steps, func(s step) bool { return s.meta.Filtered })
	return out, nil
}

// records are records as they are shown.
func records(list []mdns.RR) []explained.Record {
	out := []explained.Record{}
	for _, rr := range list {
		h := rr.Header()
		out = append(out, explained.Record{Name: h.Name, Type: mdns.Type(h.Rrtype).String(), TTL: h.Ttl, Data: strings.TrimPrefix(rr.String(), h.String())})
	}
	return out
}

// trail carries out lookups with the token of who asks, and notes what they came to. It is not safe for
// concurrent use.
type trail struct {
	op.Caller
	token string
	steps []step
}

// step is one lookup.
type step struct {
	operation op.Operation
	header    op.Header
	request   any
	meta      op.Meta
	result    any
	err       error
}

// Do implements op.Caller.
func (t *trail) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	asked := *c
	asked.Header.Token = t.token
	s := step{operation: c.Operation, header: asked.Header}
	reply, err := t.Caller.Do(ctx, &asked)
	s.request, _ = asked.Request() // it was made here
	if s.err = err; err == nil {
		s.meta = reply.Meta
		s.result, s.err = reply.Result(c.Operation)
	}
	t.steps = append(t.steps, s)
	return reply, err
}

// last is the lookup that decided, nil if there was none.
func (t *trail) last() *step {
	if len(t.steps) == 0 {
		return nil
	}
	return &t.steps[len(t.steps)-1]
}

// count is how many things a lookup found.
func (s *step) count() int {
	switch r := s.result.(type) {
	case *catalog.Instances:
		return len(rest(r))
	case *catalog.NamesAt:
		return len(rest(r))
	case *query.Answer:
		if r != nil {
			return len(r.Nodes)
		}
	case *catalog.Node:
		if r != nil {
			return 1
		}
	}
	return 0
}

func rest[L ~[]T, T any](list *L) L {
	if list == nil {
		return nil
	}
	return *list
}

// places are the datacenters that a lookup's answer is of.
func (s *step) places(own string) []string {
	out := []string{}
	note := func(dc string) {
		if dc == "" {
			dc = s.meta.Datacenter
		}
		if dc == "" {
			dc = own
		}
		if !slices.Contains(out, dc) {
			out = append(out, dc)
		}
	}
	switch r := s.result.(type) {
	case *catalog.Instances:
		for _, in := range rest(r) {
			note(in.Node.Datacenter)
		}
	case *catalog.NamesAt:
		for _, n := range rest(r) {
			note(n.Datacenter)
		}
	case *query.Answer:
		if r != nil {
			note(r.Datacenter)
		}
	}
	if len(out) == 0 && s.err == nil && !op.IsFanOut(s.header.Datacenter) {
		note(s.header.Datacenter)
	}
	return out
}

// ago is an age in words.
func ago(d time.Duration) string { return d.Round(time.Second).String() }

package failover

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/failover"
)

func serve(t testing.TB, c op.Caller, change ...func(*API)) *resttest.Server {
	a := &API{Caller: c, Datacenter: "dc1", Configured: func() (map[string][]string, bool) { return nil, false }}
	for _, f := range change {
		f(a)
	}
	return resttest.Serve(t, a.Routes())
}

func TestRulesAreListedSetAndDeleted(t *testing.T) {
	c := &resttest.Caller{Answers: map[string]any{
		"failover.list": &failover.Rules{{Service: "web", Datacenters: []string{"dc2"}, CreateIndex: 1, ModifyIndex: 2}},
		"failover.set":  resttest.Answer(func(r *failover.Rule) (any, error) { return r, nil }),
		"failover.delete": resttest.Answer(func(r *failover.ServiceRequest) (any, error) {
			return &failover.DeleteResult{Deleted: r.Service == "web"}, nil
		}),
	}}
	serve(t, c).Check(t,
		resttest.Case{"GET", "/v1/failover", "", 200, `[{"Service":"web","Datacenters":["dc2"],"CreateIndex":1,"ModifyIndex":2}]`},
		resttest.Case{"PUT", "/v1/failover/shop-*", `{"Datacenters":["dc2","nearest"]}`, 200, `{"Service":"shop-*","Datacenters":["dc2","nearest"],"CreateIndex":0,"ModifyIndex":0}`},
		resttest.Case{"PUT", "/v1/failover/", `{}`, 400, "~Missing service name"},
		resttest.Case{"PUT", "/v1/failover/web", `{"Datacenters":"dc2"}`, 400, "~"},
		resttest.Case{"DELETE", "/v1/failover/web", "", 200, "true"},
		resttest.Case{"DELETE", "/v1/failover/none", "", 200, "false"},
	)
}

// held is what a datacenter has: so many instances of each state. With away it is what was heard
// last; filtered, the caller may not see all.
type held struct {
	passing, warning int
	away, filtered   bool
}

func has(passing, warning int) *held { return &held{passing: passing, warning: warning} }

func (h *held) reply(dc string, request *catalog.ServiceRequest) *op.Reply {
	list := catalog.Instances{}
	m := op.Meta{Datacenter: dc, Filtered: h.filtered}
	if h.away {
		m.Age = time.Minute
	}
	for i := range h.passing + h.warning {
		s := catalog.Passing
		if i >= h.passing {
			s = catalog.Warning
		}
		if s == catalog.Passing || !request.PassingOnly {
			list = append(list, catalog.Instance{Node: &catalog.Node{Node: "n"}, Service: &catalog.Service{Service: "web"}, Checks: catalog.Checks{{Status: s}}})
		}
	}
	return op.NewReply(m, &list)
}

// answer is what one datacenter has or, of an order, the first that has something and can be asked,
// else the first that has something.
func answer(call *op.Call, have map[string]*held) (*op.Reply, error) {
	got, err := call.Request()
	if err != nil {
		return nil, err
	}
	request := got.(*catalog.ServiceRequest)
	find := func(dc string) *held {
		h, known := have[dc]
		if !known {
			return has(0, 0)
		}
		return h
	}
	if dc := call.Header.Datacenter; !op.IsFanOut(dc) {
		if h := find(dc); h != nil {
			return h.reply(cmp.Or(dc, "dc1"), request), nil
		}
		return nil, op.Errorf(op.CodeUnreachableDatacenter, "No path to datacenter")
	}
	reach, err := op.ParseReach(call.Header.Datacenter)
	if err != nil {
		return nil, err
	}
	order := reach.Listed
	if reach.Others {
		order = append(order, "dc2", "dc3")
	}
	for _, away := range []bool{false, true} {
		for _, dc := range order {
			if h := find(strings.TrimPrefix(dc, "dc1")); h != nil && h.away == away && (h.passing > 0 || h.warning > 0 && !request.PassingOnly) {
				return h.reply(dc, request), nil
			}
		}
	}
	return has(0, 0).reply("dc1", request), nil
}

// One row is what datacenters have, which of them answer, and why.
func TestAnAnswerIsExplained(t *testing.T) {
	nearest := &failover.Rule{Service: "we*", Datacenters: []string{"dc3", op.Nearest}}
	looked := func(rows string) string { return `"Looked":[` + rows + `]` }
	const none, one, weak = `"Healthy":0,"Passing":0,"Age":0}`, `"Healthy":1,"Passing":1,"Age":0}`, `"Healthy":1,"Passing":0,"Age":0}`
	for name, c := range map[string]struct {
		rule       *failover.Rule
		configured []string
		have       map[string]*held
		want       []string
	}{
		"here": {nearest, nil, map[string]*held{"": has(1, 0), "dc2": has(1, 0)},
			[]string{`"DNS":"dc1","HTTP":"dc1","Why":"web has 1 healthy here in dc1, which come before all others"`}},
		"by the rule": {nearest, nil, map[string]*held{"dc2": has(1, 0)},
			[]string{looked(`{"Datacenter":"dc1",` + none + `,{"Datacenter":"dc3",` + none + `,{"Datacenter":"dc2",` + one), `"DNS":"dc2","HTTP":"dc2"`, `the rule for we* has dc3, nearest stand in, and dc2 is the first that has one`}},
		"no rule": {nil, nil, map[string]*held{"dc2": has(1, 0)},
			[]string{looked(`{"Datacenter":"dc1",` + none), `"DNS":"","HTTP":""`, "no rule is for it"}},
		"by the agent, in DNS alone": {nil, []string{"dc2"}, map[string]*held{"dc2": has(1, 0)},
			[]string{`"DNS":"dc2","HTTP":""`, `"Configured":["dc2"]`, "dns_config.failover of this agent has dc2"}},
		"warnings are for DNS": {nearest, nil, map[string]*held{"": has(0, 1), "dc3": has(1, 0)},
			[]string{`{"Datacenter":"dc1",` + weak, `"DNS":"dc1","HTTP":"dc3"`}},
		"one that was heard last a while ago": {nearest, nil, map[string]*held{"dc3": {passing: 1, away: true}, "dc2": has(1, 0)},
			[]string{`"DNS":"dc2","HTTP":"dc2"`, `dc2 is the first that has one and can be asked now`}},
		"that alone":                   {nearest, nil, map[string]*held{"dc3": {passing: 1, away: true}}, []string{`"DNS":"dc3","HTTP":"dc3"`, `dc3 is the first that has one"`}},
		"a token that sees less there": {nearest, nil, map[string]*held{"dc3": {passing: 1, filtered: true}}, []string{`"DNS":"dc3","HTTP":"dc3"`}},
		"one that is away": {nearest, nil, map[string]*held{"dc3": nil, "dc2": has(1, 0)},
			[]string{`{"Datacenter":"dc3","Healthy":0,"Passing":0,"Age":0,"Error":"No path to datacenter"}`, `"DNS":"dc2"`}},
	} {
		t.Run(name, func(t *testing.T) {
			caller := op.CallerFunc(func(_ context.Context, call *op.Call) (*op.Reply, error) {
				if call.Operation.OpName() == "status.datacenters" {
					return op.NewReply(op.Meta{}, &op.Texts{Texts: []string{"dc1", "dc2", "dc3"}}), nil
				}
				return answer(call, c.have)
			})
			s := serve(t, caller, func(a *API) {
				a.Rule = func(string) *failover.Rule { return c.rule }
				a.Configured = func() (map[string][]string, bool) {
					if c.configured == nil {
						return nil, false
					}
					return map[string][]string{"web": c.configured}, false
				}
			})
			for _, want := range c.want {
				s.Check(t, resttest.Case{"GET", "/v1/failover/explain/Web", "", 200, "~" + want})
			}
		})
	}
	serve(t, &resttest.Caller{}).Check(t, resttest.Case{"GET", "/v1/failover/explain/web?dc=dc2", "", 400, "~ask an agent of dc2"})
}

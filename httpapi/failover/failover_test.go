package failover

import (
	"context"
	"testing"

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

// has is a datacenter with so many instances of each state.
func has(passing, warning int) *catalog.Instances {
	list := catalog.Instances{}
	for i := range passing + warning {
		s := catalog.Passing
		if i >= passing {
			s = catalog.Warning
		}
		list = append(list, catalog.Instance{Node: &catalog.Node{Node: "n"}, Service: &catalog.Service{Service: "web"}, Checks: catalog.Checks{{Status: s}}})
	}
	return &list
}

// One row is what datacenters have, which of them answer, and why.
func TestAnAnswerIsExplained(t *testing.T) {
	nearest := &failover.Rule{Service: "we*", Datacenters: []string{"dc3", op.Nearest}}
	looked := func(rows string) string { return `"Looked":[` + rows + `]` }
	const none, one, weak = `"Healthy":0,"Passing":0,"Age":0}`, `"Healthy":1,"Passing":1,"Age":0}`, `"Healthy":1,"Passing":0,"Age":0}`
	for name, c := range map[string]struct {
		rule       *failover.Rule
		configured []string
		have       map[string]*catalog.Instances
		want       []string
	}{
		"here": {nearest, nil, map[string]*catalog.Instances{"": has(1, 0), "dc2": has(1, 0)},
			[]string{`"DNS":"dc1","HTTP":"dc1","Why":"web has 1 healthy here in dc1, which come before all others"`}},
		"by the rule": {nearest, nil, map[string]*catalog.Instances{"dc2": has(1, 0)},
			[]string{looked(`{"Datacenter":"dc1",` + none + `,{"Datacenter":"dc3",` + none + `,{"Datacenter":"dc2",` + one), `"DNS":"dc2","HTTP":"dc2"`, `the rule for we* has dc3, nearest stand in, and dc2 is the first that has one`}},
		"no rule": {nil, nil, map[string]*catalog.Instances{"dc2": has(1, 0)},
			[]string{looked(`{"Datacenter":"dc1",` + none), `"DNS":"","HTTP":""`, "no rule is for it"}},
		"by the agent, in DNS alone": {nil, []string{"dc2"}, map[string]*catalog.Instances{"dc2": has(1, 0)},
			[]string{`"DNS":"dc2","HTTP":""`, `"Configured":["dc2"]`, "dns_config.failover of this agent has dc2"}},
		"warnings are for DNS": {nearest, nil, map[string]*catalog.Instances{"": has(0, 1), "dc3": has(1, 0)},
			[]string{`{"Datacenter":"dc1",` + weak, `"DNS":"dc1","HTTP":"dc3"`}},
		"one that is away": {nearest, nil, map[string]*catalog.Instances{"dc3": nil, "dc2": has(1, 0)},
			[]string{`{"Datacenter":"dc3","Healthy":0,"Passing":0,"Age":0,"Error":"No path to datacenter"}`, `"DNS":"dc2"`}},
	} {
		t.Run(name, func(t *testing.T) {
			caller := op.CallerFunc(func(_ context.Context, call *op.Call) (*op.Reply, error) {
				if call.Operation.OpName() == "status.datacenters" {
					return op.NewReply(op.Meta{}, &op.Texts{Texts: []string{"dc1", "dc2", "dc3"}}), nil
				}
				list, known := c.have[call.Header.Datacenter]
				switch {
				case !known:
					list = has(0, 0)
				case list == nil:
					return nil, op.Errorf(op.CodeUnreachableDatacenter, "No path to datacenter")
				}
				return op.NewReply(op.Meta{}, list), nil
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

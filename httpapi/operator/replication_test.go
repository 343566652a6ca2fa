package operator

import (
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
)

func TestReplicationIsListedAndChanged(t *testing.T) {
	at := time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)
	rule := replication.Rule{Datacenter: "dc1", Prefix: "config/", Target: "copy/", Mode: replication.Mirror, CreateIndex: 5, ModifyIndex: 6}
	caller := &resttest.Caller{Answers: map[string]any{
		"replication.list": &replication.Listing{Datacenter: "dc2", Rules: []replication.Status{{Rule: rule, State: replication.StateFailing, Error: "why", Since: at, Index: 7,
			LagSeconds: 1.5, LagEntries: 2, Written: 3, Deleted: 4, Bytes: 5, Conflicts: 6, Comparisons: 7, Mended: 8, Compared: at}}},
		"replication.create": &rule,
		"replication.change": resttest.Answer(func(r *replication.ChangeRequest) (any, error) {
			if r.Target != "copy/" {
				return nil, replication.NoRule(r.Target)
			}
			return &op.Empty{}, nil
		}),
	}}
	s := resttest.Serve(t, (&API{Caller: caller}).Routes())
	const path = "/v1/operator/kv-replication"
	const ruleJSON = `"Datacenter":"dc1","Prefix":"config/","Target":"copy/","Mode":"mirror","Paused":false,"CreateIndex":5,"ModifyIndex":6`
	s.Check(t, resttest.Case{"GET", path, "", 200, `{"Datacenter":"dc2","Rules":[{` + ruleJSON + `,"State":"failing","Error":"why","Since":"2026-11-01T02:03:04Z","Index":7,"LagSeconds":1.5,` +
		`"LagEntries":2,"Written":3,"Deleted":4,"Bytes":5,"Conflicts":6,"Comparisons":7,"Mended":8,"Compared":"2026-11-01T02:03:04Z"}]}`},
		resttest.Case{"PUT", path, `{"Datacenter":"dc1","Prefix":"config/","Target":"copy/","Force":true}`, 200, "{" + ruleJSON + "}"},
	)
	if got, want := resttest.Requested[replication.CreateRequest](t, caller), (replication.CreateRequest{Datacenter: "dc1", Prefix: "config/", Target: "copy/", Force: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.Check(t, resttest.Case{"PUT", path, `{"Datacenter":"dc1","Prefix":"config/"}`, 200, "{" + ruleJSON + "}"})
	if got := resttest.Requested[replication.CreateRequest](t, caller); got.Target != "config/" {
		t.Errorf("without a target it is %q", got.Target)
	}
	s.Check(t,
		resttest.Case{"PUT", path + "/pause", `{"Target":"copy/"}`, 200, `true`},
		resttest.Case{"PUT", path + "/resume", `{"Target":"copy/"}`, 200, `true`},
		resttest.Case{"PUT", path + "/remove", `{"Target":"copy/"}`, 200, `true`},
		resttest.Case{"PUT", path + "/remove", `{}`, 400, "Missing Target: the prefix that keys are copied to"},
		resttest.Case{"PUT", path + "/pause", `{"Target":"x"}`, 404, `there is no rule that copies keys to "x": legate kv replicate -list shows all`},
	)
}

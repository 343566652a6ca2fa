package operator

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
)

func TestTheAutopilotConfigurationIsShownAndChanged(t *testing.T) {
	conf := autopilot.Default()
	conf.MinQuorum, conf.RedundancyZoneTag, conf.CreateIndex, conf.ModifyIndex = 3, "zone", 5, 6
	caller := &resttest.Caller{Answers: map[string]any{"autopilot.config": &conf, "autopilot.configure": resttest.Answer(func(r *autopilot.SetRequest) (any, error) {
		return &autopilot.SetResult{OK: !r.CAS || r.Config.ModifyIndex == 6}, r.Config.Check()
	})}}
	s := resttest.Serve(t, (&API{Caller: caller}).Routes())
	const path = "/v1/operator/autopilot/configuration"
	s.Check(t, resttest.Case{"GET", path, "", 200, `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":3,"ServerStabilizationTime":"10s",` +
		`"RedundancyZoneTag":"zone","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":5,"ModifyIndex":6}`},
		resttest.Case{"PUT", path + "?cas=6", `{}`, 200, `true`},
		resttest.Case{"PUT", path + "?cas=5", `{}`, 200, `false`},
		resttest.Case{"PUT", path + "?cas=0", `{}`, 200, `false`},
		resttest.Case{"PUT", path + "?cas=x", `{}`, 400, "Invalid value for ?cas: want a whole number from 0"},
		resttest.Case{"PUT", path, `{"ServerStabilizationTime":"soon"}`, 400, `Request decode failed: invalid duration "soon": use a number with a unit, such as 10s`},
		resttest.Case{"PUT", path, `{"MinQuorum":-1}`, 400, "Request decode failed: MinQuorum: want uint64, got number -1"},
		resttest.Case{"PUT", path, `{"LastContactThreshold":"0s"}`, 400, "LastContactThreshold is 0s: want a time above 0, or no server but the leader is ever healthy"},
		resttest.Case{"PUT", path, `{"CleanupDeadServers":false,"LastContactThreshold":null,"MaxTrailingLogs":7,"ServerStabilizationTime":"1m"}`, 200, `true`},
	)
	want := autopilot.Default()
	want.CleanupDeadServers, want.MaxTrailingLogs, want.ServerStabilizationTime = false, 7, time.Minute
	if got := resttest.Requested[autopilot.SetRequest](t, caller); got != (autopilot.SetRequest{Config: want}) {
		t.Errorf("%+v, want %+v", got, want)
	}
	delete(caller.Answers, "autopilot.config")
	s.Check(t, resttest.Case{"GET", path, "", 404, "there is no autopilot configuration yet: the leader writes it as soon as all servers know that command (feature level 2, see docs/upgrading.md)"})
}

// The official client reads what is answered.
func TestHealthAndStateAreShown(t *testing.T) {
	since := time.Date(2026, 11, 1, 2, 3, 4, 0, time.UTC)
	state := &autopilot.State{Healthy: true, FailureTolerance: 1, Optimistic: 2, Leader: "a", Voters: []string{"a"},
		Zones: map[string]autopilot.Zone{"z1": {Servers: []string{"a", "b"}, Voters: []string{"a"}, FailureTolerance: 1}},
		Servers: []autopilot.Server{
			{ID: "a", Name: "s1", Address: "10.0.0.1:8300", Gossip: "alive", Version: "1.21.0", Healthy: true, State: autopilot.Leader, Type: autopilot.TypeZoneVoter, Zone: "z1",
				StableSince: since, Stats: autopilot.Stats{LastTerm: 2, LastIndex: 30}, Meta: map[string]string{"k": "v"}},
			{ID: "b", Name: "s2", Address: "10.0.0.2:8300", Gossip: "failed", State: autopilot.NonVoter, Type: autopilot.TypeReadReplica, StableSince: since,
				Stats: autopilot.Stats{LastContact: 3 * time.Second, LastTerm: 2, LastIndex: 29}},
		}}
	caller := &resttest.Caller{Answers: map[string]any{"autopilot.state": state}}
	s := resttest.Serve(t, (&API{Caller: caller}).Routes())
	const health = `{"Healthy":true,"FailureTolerance":1,"Servers":[{"ID":"a","Name":"s1","Address":"10.0.0.1:8300","SerfStatus":"alive","Version":"1.21.0","Leader":true,"LastContact":"0s",` +
		`"LastTerm":2,"LastIndex":30,"Healthy":true,"Voter":true,"StableSince":"2026-11-01T02:03:04Z"},{"ID":"b","Name":"s2","Address":"10.0.0.2:8300","SerfStatus":"failed","Version":"",` +
		`"Leader":false,"LastContact":"3s","LastTerm":2,"LastIndex":29,"Healthy":false,"Voter":false,"StableSince":"2026-11-01T02:03:04Z"}]}`
	s.Check(t, resttest.Case{"GET", "/v1/operator/autopilot/health", "", 200, health})
	state.Healthy = false
	s.Check(t, resttest.Case{"GET", "/v1/operator/autopilot/health", "", 429, strings.Replace(health, "true", "false", 1)})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/v1/operator/autopilot/state", nil))
	var got api.AutopilotState
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	a, b := got.Servers["a"], got.Servers["b"]
	if got.Healthy || got.FailureTolerance != 1 || got.OptimisticFailureTolerance != 2 || got.Leader != "a" || len(got.Voters) != 1 || len(got.ReadReplicas) != 1 || got.ReadReplicas[0] != "b" {
		t.Errorf("%+v", got)
	}
	if a.Status != api.AutopilotServerLeader || a.NodeType != api.AutopilotTypeZoneVoter || a.RedundancyZone != "z1" || a.NodeStatus != "alive" || a.Meta["k"] != "v" || !a.StableSince.Equal(since) {
		t.Errorf("%+v", a)
	}
	if b.Status != api.AutopilotServerNonVoter || !b.ReadReplica || b.LastContact.Duration() != 3*time.Second || b.LastIndex != 29 {
		t.Errorf("%+v", b)
	}
	if z := got.RedundancyZones["z1"]; len(z.Servers) != 2 || len(z.Voters) != 1 || z.FailureTolerance != 1 {
		t.Errorf("%+v", z)
	}
}

func TestUsageIsCounted(t *testing.T) {
	caller := &resttest.Caller{Answers: map[string]any{"catalog.usage": &catalog.Usage{Nodes: 1, Services: 2, Instances: 3, Billable: 4, Connect: map[string]int{"connect-proxy": 5}},
		"status.datacenters": &op.Texts{Texts: []string{"dc1", "dc2"}}}}
	s := resttest.Serve(t, (&API{Caller: caller}).Routes())
	const shown = `{"Usage":{"dc1":{"Nodes":1,"Services":2,"ServiceInstances":3,"ConnectServiceInstances":{"connect-proxy":5},"BillableServiceInstances":4}},` +
		`"Index":7,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader","NotModified":false,"Backend":0,"ResultsFilteredByACLs":false}`
	s.Check(t, resttest.Case{"GET", "/v1/operator/usage", "", 200, shown})
	caller.Only = "dc1"
	s.Check(t, resttest.Case{"GET", "/v1/operator/usage", "", 200, shown},
		resttest.Case{"GET", "/v1/operator/usage?global", "", 500, "Remote DC has no server currently reachable"})
	caller.Only = ""
	caller.Forget()
	s.Check(t, resttest.Case{"GET", "/v1/operator/usage?global", "", 200, shown}) // both answer under one name here
	if got := strings.Join(caller.Asked(), " "); got != "status.datacenters catalog.usage catalog.usage" {
		t.Errorf("asked %s", got)
	}
}

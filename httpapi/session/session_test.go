package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
)

// datacenter has the session s1 on the node n1, and no other node.
func datacenter() *resttest.Caller {
	s1 := session.Session{ID: "s1", Name: "n", Node: "n1", LockDelay: 15 * time.Second, Behavior: session.Release, TTL: "10s",
		NodeChecks: []string{"serfHealth"}, CreateIndex: 3, ModifyIndex: 3}
	return &resttest.Caller{Only: "dc1", Answers: map[string]any{
		session.Create.Name: resttest.Answer(func(r *session.CreateRequest) (any, error) {
			if err := session.Create.Prepare(op.Leader{NewID: func() string { return "s2" }}, r); err != nil {
				return nil, err
			}
			if r.Session.Node != "n1" {
				return nil, op.Errorf(op.CodeConflict, "Missing node registration")
			}
			return &session.CreateResult{ID: r.Session.ID}, nil
		}),
		session.Renew.Name: resttest.Answer(func(r *session.IDRequest) (any, error) {
			if r.ID != s1.ID {
				return nil, op.Errorf(op.CodeNotFound, "Session id '%s' not found", r.ID)
			}
			return &s1, nil
		}),
		session.Get.Name: resttest.Answer(func(r *session.IDRequest) (any, error) {
			if r.ID == "far" {
				return &session.Sessions{{ID: "far", Node: "n1", NodeDatacenter: "dc3"}}, nil
			}
			if r.ID != s1.ID {
				return &session.Sessions{}, nil
			}
			return &session.Sessions{s1}, nil
		}),
		session.ListNode.Name: resttest.Answer(func(r *session.NodeRequest) (any, error) {
			return &session.Sessions{{ID: "s1", Node: r.Node}}, nil
		}),
		session.List.Name: &session.Sessions{},
		kv.ListHeld.Name: resttest.Answer(func(r *kv.HeldRequest) (any, error) {
			if r.Session != s1.ID {
				return nil, nil
			}
			if r.Limit == 1 {
				return &kv.Held{Node: "n1", Keys: []kv.HeldKey{{Key: "a", LockIndex: 1, ModifyIndex: 7}}, More: true}, nil
			}
			return &kv.Held{Node: "n1", Keys: []kv.HeldKey{{Key: "a", LockIndex: 1, ModifyIndex: 7}, {Key: "b", LockIndex: 2, ModifyIndex: 9}}}, nil
		}),
	}}
}

func serve(t testing.TB, c op.Caller) *resttest.Server {
	return resttest.Serve(t, (&API{Caller: c, NodeName: "n1", Datacenter: "dc1"}).Routes())
}

// One row is one request with its answer.
func TestRequestsOfSessionsAreAnswered(t *testing.T) {
	const shown = `{"ID":"s1","Name":"n","Node":"n1","LockDelay":15000000000,"Behavior":"release","TTL":"10s","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":3,"ModifyIndex":3}`
	resttest.CheckEach(t, func(t testing.TB) *resttest.Server { return serve(t, datacenter()) }, []resttest.Case{
		{"PUT", "/v1/session/create", "", 200, `{"ID":"s2"}`},
		{"PUT", "/v1/session/create", "{}", 200, `{"ID":"s2"}`},
		{"PUT", "/v1/session/create", `{"Node":"n7"}`, 500, "~Missing node registration"},
		{"PUT", "/v1/session/create", `{"TTL":"1s"}`, 500, "Invalid Session TTL '1s', must be between [10s=24h0m0s]"},
		{"PUT", "/v1/session/create", `{"Behavior":"x"}`, 500, "Invalid Behavior setting 'x'"},
		{"PUT", "/v1/session/create", `{"LockDelay":"x"}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{"LockDelay":true}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{"LockDelay":1e300}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{"LockDelay":-1}`, 400, "~Request decode failed: LockDelay: invalid duration"},
		{"PUT", "/v1/session/create", `{`, 400, "~Request decode failed: "},
		{"PUT", "/v1/session/create?dc=dc2", "", 500, "Remote DC has no server currently reachable"},
		{"PUT", "/v1/session/destroy/s1", "", 200, "true"},
		{"PUT", "/v1/session/destroy/", "", 400, "Missing session"},
		{"PUT", "/v1/session/renew/s1", "", 200, "[" + shown + "]"},
		{"PUT", "/v1/session/renew/none", "", 404, "Session id 'none' not found"},
		{"PUT", "/v1/session/renew/", "", 400, "Missing session"},
		{"GET", "/v1/session/info/s1", "", 200, "[" + shown + "]"},
		{"GET", "/v1/session/info/none", "", 200, "[]"},
		{"GET", "/v1/session/info/", "", 400, "Missing session"},
		{"GET", "/v1/session/node/n1", "", 200, `~[{"ID":"s1","Name":"","Node":"n1",`},
		{"GET", "/v1/session/node/n1", "", 200, `~"NodeChecks":[],`},
		{"GET", "/v1/session/node/", "", 400, "Missing node name"},
		{"GET", "/v1/session/list", "", 200, "~["},
		{"GET", "/v1/session/keys/s1", "", 200, `{"Keys":[{"Key":"a","LockIndex":1,"ModifyIndex":7},{"Key":"b","LockIndex":2,"ModifyIndex":9}],"More":false}`},
		{"GET", "/v1/session/keys/s1?limit=1", "", 200, `{"Keys":[{"Key":"a","LockIndex":1,"ModifyIndex":7}],"More":true}`},
		{"GET", "/v1/session/keys/none", "", 200, `{"Keys":[],"More":false}`},
		{"GET", "/v1/session/keys/", "", 400, "Missing session"},
		{"GET", "/v1/session/keys/s1?limit=0", "", 400, "~1 to 1000"},
		{"GET", "/v1/session/keys/s1?limit=1001", "", 400, "~1 to 1000"},
		{"GET", "/v1/session/keys/s1?limit=x", "", 400, "~?limit"},
		{"GET", "/v1/session/info/far", "", 200, `~"Node":"n1","NodeDatacenter":"dc3",`},
		{"GET", "/v1/session/create", "", 405, "method GET not allowed"},
	})
}

// A session is one of a node of another datacenter if the client says so, or if it says
// nothing and asks for a session elsewhere: it is of this agent then.
func TestWhoseNodeASessionIsOf(t *testing.T) {
	for _, c := range []struct{ dc, body, want string }{
		{"", ``, "session.create n1 "},
		{"dc1", `{}`, "session.create n1 "},
		{"dc2", ``, "session.bind n1 dc1"},
		{"dc2", `{"TTL":"10s"}`, "session.bind n1 dc1"},
		{"dc2", `{"NodeDatacenter":"dc1"}`, "session.bind n1 dc1"},
		{"dc2", `{"Node":"n1"}`, "session.create n1 "},
		{"dc2", `{"Node":"n7"}`, "session.create n7 "},
		{"dc2", `{"Node":"n7","NodeDatacenter":"dc2"}`, "session.create n7 "},
		{"dc2", `{"Node":"n7","NodeDatacenter":"dc1"}`, "session.bind n7 dc1"},
		{"dc2", `{"Node":"n7","NodeDatacenter":"dc3"}`, "session.bind n7 dc3"},
		{"", `{"Node":"n7","NodeDatacenter":"dc1"}`, "session.create n7 "},
		{"", `{"Node":"n7","NodeDatacenter":"dc2"}`, "session.bind n7 dc2"},
		{"", `{"NodeDatacenter":"dc2"}`, "session.bind  dc2"}, // which is refused: it names no node
	} {
		caller := &resttest.Caller{Answers: map[string]any{session.Create.Name: &session.CreateResult{ID: "x"}, session.Bind.Name: &session.CreateResult{ID: "x"}}}
		path := "/v1/session/create"
		if c.dc != "" {
			path += "?dc=" + c.dc
		}
		if rec := serve(t, caller).Do("PUT", path, c.body); rec.Code != 200 {
			t.Errorf("%+v: %d %s", c, rec.Code, rec.Body)
			continue
		}
		s := resttest.Requested[session.CreateRequest](t, caller).Session
		if got := fmt.Sprintf("%s %s %s", caller.Asked()[0], s.Node, s.NodeDatacenter); got != c.want {
			t.Errorf("%+v: asked %q", c, got)
		}
		if len(s.NodeChecks) != 1 || s.NodeChecks[0] != "serfHealth" {
			t.Errorf("%+v: depends on %v", c, s.NodeChecks)
		}
	}
}

// What a client leaves out, and how it may write what it does not.
func TestSessionBodies(t *testing.T) {
	serf := "[serfHealth]"
	for body, want := range map[string]string{
		``:                             "n1 15s " + serf,
		`{"Node":"n1"}`:                "n1 15s " + serf,
		`{"LockDelay":"5s"}`:           "n1 5s " + serf,
		`{"LockDelay":"5000ms"}`:       "n1 5s " + serf,
		`{"LockDelay":5}`:              "n1 5s " + serf,
		`{"LockDelay":1000000000}`:     "n1 1s " + serf,
		`{"LockDelay":0}`:              "n1 0s " + serf,
		`{"LockDelay":"100s"}`:         "n1 1m40s " + serf,
		`{"LockDelay":999}`:            "n1 16m39s " + serf,
		`{"LockDelay":86400000000001}`: "n1 24h0m0.000000001s " + serf,
		`{"LockDelay":null}`:           "n1 15s " + serf,
		`{"NodeChecks":[]}`:            "n1 15s []",
		`{"NodeChecks":["a"]}`:         "n1 15s [a]",
		`{"Checks":["b"]}`:             "n1 15s [b]",
		`{"Checks":[]}`:                "n1 15s []",
		`{"ServiceChecks":null}`:       "n1 15s " + serf,
		`{"locKdelay":"7s","x":"y"}`:   "n1 7s " + serf,
	} {
		caller := datacenter()
		if rec := serve(t, caller).Do("PUT", "/v1/session/create", body); rec.Code != 200 {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
			continue
		}
		got := resttest.Requested[session.CreateRequest](t, caller).Session
		if text := fmt.Sprint(got.Node, " ", got.LockDelay, " ", got.NodeChecks); text != want {
			t.Errorf("%s: made %q, want %q", body, text, want)
		}
	}
}

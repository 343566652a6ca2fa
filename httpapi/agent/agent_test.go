package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/internal/logging"
)

// fakeAgent notes what it was asked to do.
type fakeAgent struct {
	mu    sync.Mutex
	asked []string
}

var _ Agent = (*fakeAgent)(nil)

func (a *fakeAgent) note(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, fmt.Sprintf(format, args...))
	return nil
}

// take returns what was asked and forgets it.
func (a *fakeAgent) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := strings.Join(a.asked, ", ")
	a.asked = nil
	return asked
}

func (a *fakeAgent) Self() SelfView {
	return SelfView{Config: SelfConfig{Datacenter: "dc1", NodeName: "n1", Version: "1.2.3"}, Member: Member{Name: "n1", Status: 1}}
}

// Ready is true for whoever takes an answer that is a minute old.
func (a *fakeAgent) Ready(_ context.Context, limit *time.Duration) ready.State {
	ms := int64(60_000)
	switch {
	case limit == nil:
		return ready.State{Status: ready.NoLeader, Reason: "None", LastContactMS: &ms}
	case *limit < time.Minute:
		return ready.State{Status: ready.Stale, Reason: "Old"}
	}
	return ready.State{Status: ready.Ready, LastContactMS: &ms}
}

func (a *fakeAgent) Members(wan bool) ([]Member, error) {
	if wan {
		return []Member{{Name: "n1.dc1", Addr: "10.0.0.1", Port: 8302, Status: 1}}, nil
	}
	return []Member{{Name: "n1", Status: 1, Tags: map[string]string{"role": "consul"}}, {Name: "n2", Status: 4}}, nil
}

func (a *fakeAgent) Join(_ context.Context, addrs []string, wan bool) (int, error) {
	return 1, a.note("join %v %t", addrs, wan)
}
func (a *fakeAgent) Leave(context.Context) error { return a.note("leave") }
func (a *fakeAgent) ForceLeave(_ context.Context, node string, prune, wan bool) error {
	return a.note("force-leave %s %t %t", node, prune, wan)
}
func (a *fakeAgent) Reload() error { return a.note("reload") }
func (a *fakeAgent) SetToken(target, secret string) error {
	return a.note("token %s=%s", target, secret)
}
func (a *fakeAgent) Host() any {
	return map[string]any{"Host": map[string]string{"hostname": "n1"}}
}

// world is the area of the agent n1 of dc1, with what it shows.
type world struct {
	*resttest.Server
	agent *fakeAgent
	local *local.State
}

func start(t testing.TB, change ...func(*API)) *world {
	t.Helper()
	state, err := local.New(local.Config{Caller: &resttest.Caller{}, NodeName: "n1", Datacenter: "dc1", Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{agent: &fakeAgent{}, local: state}
	api := &API{Agent: w.agent, Local: state, Datacenter: "dc1", DefaultQueryTime: 5 * time.Minute, MaxQueryTime: 10 * time.Minute}
	for _, f := range change {
		f(api)
	}
	w.Server = resttest.Serve(t, api.Routes())
	return w
}

// register registers a service.
func (w *world) register(t testing.TB, query, body string) {
	t.Helper()
	if rec := w.Do("PUT", "/v1/agent/service/register"+query, body); rec.Code != 200 {
		t.Fatalf("%s: %d %s", body, rec.Code, rec.Body)
	}
}

// One row is one request with its answer.
func TestRequestsOfAnAgentAreAnswered(t *testing.T) {
	resttest.CheckEach(t, func(t testing.TB) *resttest.Server { return start(t).Server }, []resttest.Case{
		{"GET", "/v1/agent/self", "", 200, `~{"Config":{"Datacenter":"dc1",`},
		{"GET", "/v1/agent/version", "", 200, `{"SHA":"","BuildDate":"","HumanVersion":"1.2.3","FIPS":""}`},
		{"GET", "/v1/agent/ready", "", 503, `{"Status":"no-leader","Reason":"None","LastContactMS":60000}`},
		{"GET", "/v1/agent/ready?max_stale=30s", "", 503, `{"Status":"stale","Reason":"Old"}`},
		{"GET", "/v1/agent/ready?max_stale=1m", "", 200, `{"Status":"ready","LastContactMS":60000}`},
		{"GET", "/v1/agent/ready?max_stale", "", 400, "~max_stale"},
		{"GET", "/v1/agent/ready?max_stale=-1s", "", 400, "~max_stale"},
		{"GET", "/v1/agent/host", "", 200, `~"Host":{`},
		{"GET", "/v1/agent/members", "", 200, `~[{"Name":"n1","Addr":"","Port":0,"Tags":{"role":"consul"},"Status":1,`},
		{"GET", "/v1/agent/members?wan=1", "", 200, `~[{"Name":"n1.dc1","Addr":"10.0.0.1","Port":8302,"Tags":{},"Status":1,`},
		{"GET", "/v1/agent/members?filter=Status==4", "", 200, `~[{"Name":"n2"`},
		{"GET", "/v1/agent/services", "", 200, `{}`},
		{"GET", "/v1/agent/checks", "", 200, `{}`},
		{"GET", "/v1/agent/service/none", "", 404, "unknown service ID: none"},
		{"PUT", "/v1/agent/service/deregister/none", "", 404, `Unknown service ID "none". Ensure that the service ID is passed, not the service name.`},
		{"PUT", "/v1/agent/check/pass/none", "", 404, `Unknown check ID "none". Ensure that the check ID is passed, not the check name.`},
		{"PUT", "/v1/agent/check/update/none", `{"Status":"fine"}`, 400, "Invalid check status: 'fine'"},
		{"GET", "/v1/agent/health/service/id/none", "", 404, "~none"},
	})
}

func TestAgentIsAsked(t *testing.T) {
	w := start(t)
	for _, c := range []struct{ target, want string }{
		{"/v1/agent/join/10.0.0.9", "join [10.0.0.9] false"},
		{"/v1/agent/join/10.0.0.9?wan=1", "join [10.0.0.9] true"},
		{"/v1/agent/leave", "leave"},
		{"/v1/agent/force-leave/n2?prune", "force-leave n2 true false"},
		{"/v1/agent/force-leave/n2?wan", "force-leave n2 false true"},
		{"/v1/agent/reload", "reload"},
	} {
		rec := w.Do("PUT", c.target, "")
		if asked := w.agent.take(); rec.Code != 200 || asked != c.want {
			t.Errorf("%s: %d, asked %q, want %s", c.target, rec.Code, asked, c.want)
		}
	}
}

func TestTokensOfTheAgent(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		target, body string
		status       int
		want         string
	}{
		{"default", `{"Token":"s"}`, 200, "token default=s"},
		{"acl_token", `{"Token":"s"}`, 200, "token default=s"},
		{"agent", `{"Token":""}`, 200, "token agent="},
		{"acl_agent_token", `{"Token":"s"}`, 200, "token agent=s"},
		{"agent_recovery", `{"Token":"s"}`, 200, "token agent_recovery=s"},
		{"agent_master", `{"Token":"s"}`, 200, "token agent_recovery=s"},
		{"acl_agent_master_token", `{"Token":"s"}`, 200, "token agent_recovery=s"},
		{"replication", `{"Token":"s"}`, 200, "token replication=s"},
		{"acl_replication_token", `{"Token":"s"}`, 200, "token replication=s"},
		{"dns", `{"Token":"s"}`, 200, "token dns=s"},
		{"config_file_service_registration", `{"Token":"s"}`, 200, "token config_file_service_registration=s"},
		{"else", `{"Token":"s"}`, 404, `Token "else" is unknown`},
		{"", `{"Token":"s"}`, 400, "Missing token target"},
		{"dns", `{"Token":5}`, 400, "Request decode failed: Token: want string, got number"},
	} {
		rec := w.Do("PUT", "/v1/agent/token/"+c.target, c.body)
		got := rec.Body.String() + w.agent.take()
		if rec.Code != c.status || got != c.want {
			t.Errorf("%s %s: %d %q, want %d %q", c.target, c.body, rec.Code, got, c.status, c.want)
		}
	}
}

// The library that most users have reads the answers of an agent.
func TestTheOfficialClientAtAnAgent(t *testing.T) {
	w := start(t)
	a := resttest.Client(t, w.Listen(t)).Agent()
	err := a.ServiceRegister(&api.AgentServiceRegistration{ID: "w1", Name: "web", Port: 80, Meta: map[string]string{"k": "v"},
		Check: &api.AgentServiceCheck{CheckID: "c1", TTL: "30s", DeregisterCriticalServiceAfter: "1m"}})
	if err != nil {
		t.Fatalf("register: %v", err)
	}
	if err := a.UpdateTTL("c1", "fine", "pass"); err != nil {
		t.Errorf("update TTL: %v", err)
	}
	if services, err := a.Services(); err != nil || services["w1"].Port != 80 || services["w1"].Meta["k"] != "v" {
		t.Errorf("services: %+v, %v", services, err)
	}
	if status, info, err := a.AgentHealthServiceByID("w1"); err != nil || status != "passing" || info.Service.ID != "w1" {
		t.Errorf("health: %s, %+v, %v", status, info, err)
	}
	if s, _, err := a.Service("w1", nil); err != nil || s.ContentHash == "" {
		t.Errorf("service: %+v, %v", s, err)
	}
	if checks, err := a.Checks(); err != nil || checks["c1"].Output != "fine" || checks["c1"].Status != "passing" {
		t.Errorf("checks: %+v, %v", checks, err)
	}
	if err := a.ServiceDeregister("w1"); err != nil {
		t.Errorf("deregister: %v", err)
	}
	if members, err := a.Members(true); err != nil || len(members) != 1 || members[0].Port != 8302 {
		t.Errorf("members: %+v, %v", members, err)
	}
	if self, err := a.Self(); err != nil || self["Config"]["NodeName"] != "n1" {
		t.Errorf("self: %+v, %v", self, err)
	}
	if err := a.ForceLeavePrune("n2"); err != nil || w.agent.take() != "force-leave n2 true false" {
		t.Errorf("force-leave: %v", err)
	}
	if _, err := a.UpdateReplicationACLToken("secret", nil); err != nil || w.agent.take() != "token replication=secret" {
		t.Errorf("a token: %v", err)
	}
}

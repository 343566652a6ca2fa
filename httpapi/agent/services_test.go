package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/state/acl/rules"
)

func TestChecksThatARegistrationDoesNotNameStayUnlessReplaced(t *testing.T) {
	w := start(t)
	has := func(id string) bool { _, ok := w.local.Checks()[id]; return ok }
	w.register(t, "", `{"Name":"web","Check":{"CheckID":"first","TTL":"1m"}}`)
	w.register(t, "", `{"Name":"web","Check":{"CheckID":"second","TTL":"1m"}}`)
	if !has("first") || !has("second") {
		t.Errorf("checks: %v", w.local.Checks())
	}
	w.register(t, "?replace-existing-checks", `{"Name":"web","Check":{"CheckID":"third","TTL":"1m"}}`)
	if has("first") || has("second") || !has("third") {
		t.Errorf("checks: %v", w.local.Checks())
	}
	w.register(t, "?replace-existing-checks=false", `{"Name":"web"}`)
	if !has("third") {
		t.Error("a check was removed although that was not asked for")
	}
}

func TestARegistrationKeepsTheTokenOfItsRequest(t *testing.T) {
	dir := t.TempDir()
	kept, err := local.New(local.Config{Caller: &resttest.Caller{}, NodeName: "n1", Dir: dir, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	api := &API{Agent: &fakeAgent{}, Local: kept}
	w := resttest.Serve(t, api.Routes(), func(c *rest.Config) { c.DefaultToken = func() string { return "default" } })
	for _, c := range []struct{ body, token string }{{`{"Name":"a"}`, "sent"}, {`{"Name":"b"}`, ""}} {
		if rec := w.Do("PUT", "/v1/agent/service/register", c.body, "X-Consul-Token", c.token); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	text := keptServices(t, dir)
	if !strings.Contains(text, `"Token":"sent"`) || strings.Contains(text, `"default"`) {
		t.Errorf("kept: %s", text)
	}
}

// Who may register one service takes nothing from others by the IDs that checks get which
// are defined without any.
func TestARegistrationAsksTheOwnersOfChecksThatItWouldTake(t *testing.T) {
	w := start(t)
	for _, id := range []string{"service:web", "service:pair:2", "service:one-sidecar-proxy:1"} {
		w.register(t, "", `{"Name":"other","Check":{"CheckID":"`+id+`","TTL":"1m"}}`)
	}
	api := &API{Agent: w.agent, Local: w.local}
	all := rules.Compile(rules.Settings{}, &rules.Policy{Rules: []rules.Rule{
		{Resource: rules.Service, Prefix: true, Access: rules.Write}, {Resource: rules.Service, Name: "other", Access: rules.Deny}}})
	s := resttest.Serve(t, api.Routes(), func(c *rest.Config) {
		c.Authorizer = func(context.Context, string) (rules.Authorizer, error) { return all.For("x"), nil }
	})
	for body, want := range map[string]int{
		`{"Name":"web","Check":{"TTL":"1m"}}`:                                              403,
		`{"Name":"pair","Checks":[{"TTL":"1m"},{"TTL":"1m"}]}`:                             403,
		`{"Name":"one","Connect":{"SidecarService":{"Port":21000}}}`:                       403,
		`{"Name":"one","Connect":{"SidecarService":{"ID":"other"}}}`:                       400,
		`{"Name":"web","Check":{"CheckID":"mine","TTL":"1m"}}`:                             200,
		`{"Name":"free","Check":{"TTL":"1m"},"Connect":{"SidecarService":{"Port":21001}}}`: 200,
	} {
		if rec := s.Do("PUT", "/v1/agent/service/register", body); rec.Code != want {
			t.Errorf("%s: %d %s, want %d", body, rec.Code, rec.Body, want)
		}
	}
	for _, id := range []string{"service:web", "service:pair:2", "service:one-sidecar-proxy:1"} {
		if c := w.local.Checks()[id]; c.ServiceName != "other" {
			t.Errorf("the check %s is of %q now", id, c.ServiceName)
		}
	}
}

// keptServices is what an agent keeps of its services on disk.
func keptServices(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "services", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

func TestBadRegistrationsLeaveNothingBehind(t *testing.T) {
	w := start(t)
	w.Check(t, []resttest.Case{
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Tags":["` + strings.Repeat("x", 5000) + `"]}`, 400, "~Invalid service tags"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Meta":{"` + strings.Repeat("x", 200) + `":""}}`, 400, "~Invalid service meta"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Connect":{"SidecarService":{"ID":"mine"}}}`, 400, "~an ID cannot be chosen"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Kind":"odd"}`, 400, "~Invalid service kind"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Namespace":"team"}`, 400, "~Enterprise"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Checks":[{"TTL":"1s"},{"TTL":"1s","HTTP":"http://x"}]}`, 400, "~both ttl and http"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"DockerContainerID":"c","ScriptArgs":["true"],"Interval":"1s"}}`, 400, "~Scripts are disabled"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"ScriptArgs":["true"],"Interval":"1s"}}`, 400, "~Scripts are disabled"},
		{"PUT", "/v1/agent/check/register", `{"Name":"","TTL":"1s"}`, 400, "Missing check name"},
		{"PUT", "/v1/agent/check/register", `{"Name":"c","TTL":"soon"}`, 400, "~Request decode failed"},
		{"PUT", "/v1/agent/check/register", `{"Name":"c","TTL":"1s","DeregisterCriticalServiceAfter":"nope"}`, 400, "~invalid duration"},
		{"PUT", "/v1/agent/check/register", `{"Name":"c","TTL":"1s","Interval":"1s"}`, 400, "~TTL and an Interval"},
		{"PUT", "/v1/agent/check/register", `{"Name":"c","TTL":"1s","OutputMaxSize":-1}`, 400, "~cannot be negative"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Checks":[{"TTL":"1s","Interval":"1s"}]}`, 400, "~TTL and an Interval"},
		{"PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"TTL":"1s","OutputMaxSize":-1}}`, 400, "~cannot be negative"},
		{"PUT", "/v1/agent/service/register", `{}`, 400, "Missing service name"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Tags":1}`, 400, "Request decode failed: tags: want a list of strings, got the number 1"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Address":"0.0.0.0"}`, 400, "Invalid service address"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Port":70000}`, 400, "~Invalid service port"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Weights":{"Passing":0}}`, 400, "~Invalid service weights"},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Check":{"TTL":"5x"}}`, 400, `~Request decode failed: checks[0].ttl: `},
		{"PUT", "/v1/agent/service/register", `{"Name":"x","Check":{"Args":["true"],"Interval":"5s"}}`, 400, "~Scripts are disabled"},
		{"PUT", "/v1/agent/check/register", `{"Name":"x","ScriptArgs":["true"],"Interval":"5s"}`, 400, "~Scripts are disabled"},
		{"PUT", "/v1/agent/check/register", `{"TTL":"5s"}`, 400, "Missing check name"},
		{"PUT", "/v1/agent/check/register", `{"Name":"x","TTL":"5s","Status":"fine"}`, 400, "Bad check status"},
		{"PUT", "/v1/agent/check/register", `{"Name":"x","TTL":"5s","ServiceID":"none"}`, 404, `ServiceID "none" does not exist`},
		{"PUT", "/v1/agent/check/register", `{"Name":"x"}`, 400, "~has no kind"},
	}...)
	if len(w.local.Services())+len(w.local.Checks()) != 0 {
		t.Errorf("left behind: %v %v", w.local.Services(), w.local.Checks())
	}
	if rec := w.Do("GET", "/v1/agent/members?filter=(", ""); rec.Code != 400 {
		t.Errorf("a bad filter: %d", rec.Code)
	}
}

// A service of this agent is shown with all that it was registered with, and can
// be chosen by it.
func TestServicesOfTheAgentAreWhole(t *testing.T) {
	w := start(t)
	for _, body := range []string{`{"Name":"web","Port":80}`, `{"Name":"native","Ports":[{"Name":"http","Port":80,"Default":true}],"Connect":{"Native":true},"Locality":{"Region":"r","Zone":"z"},` +
		`"AI":{"Role":"mcp-server","MCPServer":{"Path":"/x"}}}`, `{"Name":"side","Kind":"connect-proxy","Port":90,"Proxy":{"DestinationServiceName":"web","Config":{"a":1}}}`} {
		w.register(t, "", body)
	}
	const rest = `,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false`
	for target, want := range map[string]string{
		`web`:    `{"ID":"web","Service":"web","Tags":[],"Meta":{},"Port":80,"Address":""` + rest,
		`native`: `"Port":80,"Ports":[{"Name":"http","Port":80,"Default":true}],"Address":""` + rest,
		`side`:   `"Proxy":{"DestinationServiceName":"web","Mode":"","Config":{"a":1},"MeshGateway":{},"Expose":{}},"Datacenter":"dc1"}`,
	} {
		if got := w.Do("GET", "/v1/agent/service/"+target, "").Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
	for expression, want := range map[string]string{`Connect.Native == true`: `{"native":`, `Proxy.DestinationServiceName == "web"`: `{"side":`, `Kind == ""  and Connect.Native == false`: `{"web":`} {
		rec := w.Do("GET", "/v1/agent/services?filter="+strings.ReplaceAll(strings.ReplaceAll(expression, " ", "%20"), `"`, "%22"), "")
		if got := rec.Body.String(); !strings.HasPrefix(got, want) || strings.Count(got, `"ID"`) != 1 {
			t.Errorf("%s: %s", expression, got)
		}
	}
	if got := w.Do("GET", "/v1/agent/services", "").Body.String(); !strings.Contains(got, `"Connect":{"Native":true},"AI":{"Role":"mcp-server","MCPServer":{"Path":"/x"}},"Datacenter":"dc1","Locality":{"Region":"r","Zone":"z"}}`) {
		t.Errorf("native: %s", got)
	}
}

// A check in the sum of a service shows what it could define; others do not.
func TestDefinitionsOfChecksInSums(t *testing.T) {
	w := start(t)
	w.register(t, "", `{"Name":"web","Check":{"CheckID":"c","TTL":"1h","Status":"passing"}}`)
	const empty = `"Definition":{"HTTP":"","Header":null,"Method":"","Body":"","TLSServerName":"","TLSSkipVerify":false,"TCP":"","TCPUseTLS":false,"UDP":"",` +
		`"GRPC":"","OSService":"","GRPCUseTLS":false,"Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s"}`
	for target, want := range map[string]string{"/v1/agent/health/service/id/web": empty, "/v1/agent/health/service/name/web": empty, "/v1/agent/checks": `"Definition":{}`} {
		rec := w.Do("GET", target, "")
		if got := rec.Body.String(); rec.Code != 200 || !strings.Contains(got, want) || !strings.Contains(got, `"ServiceTags":[],"Type":"ttl","Interval":"0s","Timeout":"0s"`) {
			t.Errorf("%s: %d %s\nlacks %s", target, rec.Code, got, want)
		}
	}
}

package httpapi

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/internal/logging"
)

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
		w.agent.asked = nil
		rec := w.do("PUT", "/v1/agent/token/"+c.target, c.body)
		got := rec.Body.String() + strings.Join(w.agent.asked, "")
		if rec.Code != c.status || got != c.want {
			t.Errorf("%s %s: %d %q, want %d %q", c.target, c.body, rec.Code, got, c.status, c.want)
		}
	}
	url, _ := serving(t, w)
	c, err := api.NewClient(&api.Config{Address: strings.TrimPrefix(url, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Agent().UpdateReplicationACLToken("secret", nil); err != nil || w.agent.asked[len(w.agent.asked)-1] != "token replication=secret" {
		t.Errorf("by the official client: %v, asked %v", err, w.agent.asked)
	}
}

func TestAMonitorEndsWithItsServer(t *testing.T) {
	tee := logging.NewTee(logging.Discard().Handler())
	w := start(t, func(c *Config) { c.Logs = tee })
	url, stop := serving(t, w)
	c, err := api.NewClient(&api.Config{Address: strings.TrimPrefix(url, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	defer close(end)
	lines, err := c.Agent().MonitorJSON("warn", end, nil)
	if err != nil {
		t.Fatal(err)
	}
	logging.Std(slog.New(tee)).Print("[WARN] heard")
	if line := <-lines; !strings.Contains(line, `"@message":"heard"`) {
		t.Errorf("line: %s", line)
	}
	begin := time.Now()
	if err := stop(); err != nil || time.Since(begin) > 3*time.Second {
		t.Errorf("stop: %v after %v", err, time.Since(begin))
	}
	if line := <-lines; line != "" {
		t.Errorf("after the stop: %q", line)
	}
	if rec := w.do("GET", "/v1/agent/monitor?loglevel=x", ""); rec.Code != 400 || rec.Body.String() != "Unknown log level: x" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// One client address has some of the places at the log, not all; who is refused is
// told of what to do.
func TestOneAddressDoesNotTakeAllMonitors(t *testing.T) {
	tee := logging.NewTee(logging.Discard().Handler())
	w := start(t, func(c *Config) { c.Logs = tee })
	url, _ := serving(t, w)
	monitor := func(from string, want int) *http.Response {
		t.Helper()
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: transport}).Get(url + "/v1/agent/monitor")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != want {
			t.Fatalf("from %s: %s, want %d", from, resp.Status, want)
		}
		return resp
	}
	refused := func(from, want string) {
		t.Helper()
		resp := monitor(from, http.StatusTooManyRequests)
		if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("from %s: %q %v, want %q", from, b, err, want)
		}
	}
	const maxMonitors = logging.MaxListeners / 4
	var open []*http.Response
	for range maxMonitors {
		open = append(open, monitor("127.0.0.1", http.StatusOK))
	}
	refused("127.0.0.1", "4 monitors of this agent are open from this address, the most that one may have: close one of them")
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		for range maxMonitors {
			monitor(from, http.StatusOK)
		}
	}
	refused("127.0.0.5", "16 monitors of this agent are open, the most that it serves: try again when one was closed")
	left := func(resp *http.Response) {
		t.Helper()
		resp.Body.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(10 * time.Second); tee.Listeners() == logging.MaxListeners; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatal("who went keeps the place")
			}
		}
	}
	left(open[0])
	monitor("127.0.0.5", http.StatusOK)
	refused("127.0.0.5", "16 monitors")
	left(open[1])
	monitor("127.0.0.1", http.StatusOK)
}

func TestChecksThatARegistrationDoesNotNameStayUnlessReplaced(t *testing.T) {
	w := start(t)
	register := func(query, body string) {
		t.Helper()
		if rec := w.do("PUT", "/v1/agent/service/register"+query, body); rec.Code != 200 {
			t.Fatalf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	has := func(id string) bool { _, ok := w.local.Checks()[id]; return ok }
	register("", `{"Name":"web","Check":{"CheckID":"first","TTL":"1m"}}`)
	register("", `{"Name":"web","Check":{"CheckID":"second","TTL":"1m"}}`)
	if !has("first") || !has("second") {
		t.Errorf("checks: %v", w.local.Checks())
	}
	register("?replace-existing-checks", `{"Name":"web","Check":{"CheckID":"third","TTL":"1m"}}`)
	if has("first") || has("second") || !has("third") {
		t.Errorf("checks: %v", w.local.Checks())
	}
	register("?replace-existing-checks=false", `{"Name":"web"}`)
	if !has("third") {
		t.Error("a check was removed although that was not asked for")
	}
}

func TestARegistrationKeepsTheTokenOfItsRequest(t *testing.T) {
	dir := t.TempDir()
	kept, err := local.New(local.Config{Caller: newFake(), NodeName: "n1", Dir: dir, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, func(c *Config) { c.DefaultToken, c.Local = func() string { return "default" }, kept })
	for _, c := range []struct{ body, token string }{{`{"Name":"a"}`, "sent"}, {`{"Name":"b"}`, ""}} {
		if rec := w.do("PUT", "/v1/agent/service/register", c.body, "X-Consul-Token", c.token); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	text := keptServices(t, dir)
	if !strings.Contains(text, `"Token":"sent"`) || strings.Contains(text, `"default"`) {
		t.Errorf("kept: %s", text)
	}
}

func TestTheHashOfAServiceIsTheSameAfterARestart(t *testing.T) {
	const body = `{"Name":"web","Port":80,"Tags":["a"],"Meta":{"x":"1","y":"2"},"TaggedAddresses":{"lan":{"Address":"a","Port":1},"wan":{"Address":"b","Port":2}}}`
	var hashes [2]string
	for i := range hashes {
		w := start(t)
		w.do("PUT", "/v1/agent/service/register", body)
		hashes[i] = w.do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
	}
	if hashes[0] != hashes[1] || hashes[0] == "" {
		t.Errorf("hashes: %v", hashes)
	}
}

func TestWaitForAHashEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		w.do("PUT", "/v1/agent/service/register", `{"Name":"web"}`)
		hash := w.do("GET", "/v1/agent/service/web", "").Header().Get("X-Consul-ContentHash")
		answer := make(chan *httptest.ResponseRecorder, 1)
		begin := time.Now()
		go func() { answer <- w.do("GET", "/v1/agent/service/web?hash="+hash, "") }()
		synctest.Wait()
		w.do("PUT", "/v1/agent/service/register", `{"Name":"other"}`)
		synctest.Wait()
		if len(answer) != 0 {
			t.Fatal("woken by another service")
		}
		w.do("PUT", "/v1/agent/service/deregister/web", "")
		if rec := <-answer; rec.Code != 404 || rec.Body.String() != "unknown service ID: web" || time.Since(begin) != 0 {
			t.Errorf("%d %s after %v", rec.Code, rec.Body, time.Since(begin))
		}
	})
}

func TestBadRegistrationsLeaveNothingBehind(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"service", `{"Name":"web","Tags":["` + strings.Repeat("x", 5000) + `"]}`, 400, "Invalid service tags"},
		{"service", `{"Name":"web","Meta":{"` + strings.Repeat("x", 200) + `":""}}`, 400, "Invalid service meta"},
		{"service", `{"Name":"web","Connect":{"SidecarService":{"ID":"mine"}}}`, 400, "an ID cannot be chosen"},
		{"service", `{"Name":"web","Kind":"odd"}`, 400, "Invalid service kind"},
		{"service", `{"Name":"web","Namespace":"team"}`, 400, "Enterprise"},
		{"service", `{"Name":"web","Checks":[{"TTL":"1s"},{"TTL":"1s","HTTP":"http://x"}]}`, 400, "both ttl and http"},
		{"service", `{"Name":"web","Check":{"DockerContainerID":"c","ScriptArgs":["true"],"Interval":"1s"}}`, 400, "Scripts are disabled"},
		{"service", `{"Name":"web","Check":{"ScriptArgs":["true"],"Interval":"1s"}}`, 400, "Scripts are disabled"},
		{"check", `{"Name":"c","TTL":"1s","ServiceID":"none"}`, 404, `ServiceID "none" does not exist`},
		{"check", `{"Name":"c","TTL":"1s","Status":"odd"}`, 400, "Bad check status"},
		{"check", `{"Name":"","TTL":"1s"}`, 400, "Missing check name"},
		{"check", `{"Name":"c","TTL":"soon"}`, 400, "Request decode failed"},
		{"check", `{"Name":"c","TTL":"1s","DeregisterCriticalServiceAfter":"nope"}`, 400, "invalid duration"},
		{"check", `{"Name":"c","TTL":"1s","Interval":"1s"}`, 400, "TTL and an Interval"},
		{"check", `{"Name":"c","TTL":"1s","OutputMaxSize":-1}`, 400, "cannot be negative"},
		{"service", `{"Name":"web","Checks":[{"TTL":"1s","Interval":"1s"}]}`, 400, "TTL and an Interval"},
		{"service", `{"Name":"web","Check":{"TTL":"1s","OutputMaxSize":-1}}`, 400, "cannot be negative"},
	} {
		rec := w.do("PUT", "/v1/agent/"+c.path+"/register", c.body)
		if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.want) {
			t.Errorf("%.100s: %d %s, want %d %s", c.body, rec.Code, rec.Body, c.status, c.want)
		}
	}
	if len(w.local.Services())+len(w.local.Checks()) != 0 {
		t.Errorf("left behind: %v %v", w.local.Services(), w.local.Checks())
	}
	if rec := w.do("GET", "/v1/agent/members?filter=(", ""); rec.Code != 400 {
		t.Errorf("a bad filter: %d", rec.Code)
	}
}

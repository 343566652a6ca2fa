package testcluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/testcluster"
)

// lockedCluster is a datacenter of one server and one client agent, client first.
func lockedCluster(t *testing.T, change func(*config.Config)) (client, server *asking) {
	t.Helper()
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Configure: func(c *config.Config) {
		locked(c)
		c.DisableCoordinates = true
		if change != nil {
			change(c)
		}
	}})
	client, server = &asking{t: t, c: c, node: c.Nodes()[1]}, &asking{t: t, c: c, node: c.Nodes()[0]}
	eventually(t, "access control has begun", 20*time.Second, client.gets(manager, "/v1/agent/self", 200, ""))
	return client, server
}

// gets returns an error until a target is answered with a status and a text in it.
func (a *asking) gets(secret, target string, want int, part string) func(context.Context) error {
	return func(context.Context) error {
		if code, text, _ := a.do(secret, "GET", target, ""); code != want || !strings.Contains(text, part) {
			return fmt.Errorf("%s: %d %.300s, want %d %s", target, code, text, want, part)
		}
		return nil
	}
}

// policy makes a token with a policy of its own, and returns its secret and what changes
// its rules.
func (a *asking) policy(text string) (secret string, set func(text string)) {
	a.t.Helper()
	name := strings.ReplaceAll(a.t.Name(), "/", "-") + fmt.Sprint(time.Now().UnixNano())
	body := func(text string) string {
		b, err := json.Marshal(map[string]any{"Name": name, "Rules": text})
		if err != nil {
			a.t.Fatal(err)
		}
		return string(b)
	}
	id := a.must("PUT", "/v1/acl/policy", body(text), "ID")
	secret = a.must("PUT", "/v1/acl/token", `{"Policies":[{"ID":"`+id+`"}]}`, "SecretID")
	return secret, func(text string) {
		a.t.Helper()
		a.must("PUT", "/v1/acl/policy/"+id, body(text), "")
	}
}

// waiting is who waits for a change.
type waiting struct {
	ended chan struct{}
	code  int
	text  string
}

// wait begins to wait, up to a limit, for what is newer than now.
func (a *asking) wait(secret, target, limit string) *waiting {
	a.t.Helper()
	join := "?"
	if strings.Contains(target, "?") {
		join = "&"
	}
	_, _, header := a.do(secret, "GET", target, "")
	w := &waiting{ended: make(chan struct{})}
	at := target + join + "wait=" + limit + "&index=" + header.Get("X-Consul-Index")
	var busy sync.WaitGroup
	busy.Go(func() {
		defer close(w.ended)
		w.code, w.text, _ = a.do(secret, "GET", at, "")
	})
	a.t.Cleanup(busy.Wait)
	return w
}

// answered waits for the end.
func (w *waiting) answered(t *testing.T) (int, string) {
	t.Helper()
	select {
	case <-w.ended:
	case <-time.After(15 * time.Second):
		t.Fatal("who waits was not woken")
	}
	return w.code, w.text
}

// instance is the body of a registration of one.
func instance(node, service string, port int) string {
	return fmt.Sprintf(`{"Node":%q,"Address":"10.0.0.1","Service":{"ID":%q,"Service":%q,"Port":%d}}`, node, service, service, port)
}

// write is a PUT whose body is another one each time, by a number.
type write struct{ target, body string }

func (w write) at(n int) (target, body string) {
	number := strings.NewReplacer("#", fmt.Sprint(n))
	return number.Replace(w.target), number.Replace(w.body)
}

// One row is a list with a change that the caller may not see and one that it may. The
// first wakes who may see all, and not the caller; the second does.
func TestNobodyIsWokenByWhatHeMayNotSee(t *testing.T) {
	t.Parallel()
	client, server := lockedCluster(t, nil)
	some, _ := client.policy(`node "n1" { policy = "read" } service "web" { policy = "read" } key_prefix "mine/" { policy = "read" } session "n1" { policy = "read" }`)
	for _, n := range []string{"n1", "n2"} {
		client.must("PUT", "/v1/catalog/register", instance(n, "web", 1), "")
	}
	client.must("PUT", "/v1/kv/mine/a", "1", "")
	client.must("PUT", "/v1/kv/other", "1", "")
	const register, node = "/v1/catalog/register", `{"Node":"n1","Address":"10.0.0.1",`
	port := write{register, node + `"Service":{"ID":"web","Service":"web","Port":#}}`}
	hiddenPort := write{register, strings.Replace(port.body, "n1", "n2", 1)}
	n := 1
	for _, a := range []*asking{client, server} {
		for _, c := range []struct {
			list          string
			hidden, shown write
			part          string // of the answer that shows it
		}{
			{"/v1/health/service/web", hiddenPort, port, `"Port":#`},
			{"/v1/catalog/service/web", hiddenPort, port, `"ServicePort":#`},
			{"/v1/kv/?recurse", write{"/v1/kv/other", "#"}, write{"/v1/kv/mine/b#", ""}, "mine/b#"},
			{"/v1/kv/?keys", write{"/v1/kv/other#", ""}, write{"/v1/kv/mine/k#", ""}, "mine/k#"},
			{"/v1/catalog/services", write{register, node + `"Service":{"ID":"db","Service":"db#"}}`}, write{register, node + `"Service":{"ID":"web","Service":"web","Tags":["t#"]}}`}, `"t#"`},
			{"/v1/catalog/nodes", write{register, `{"Node":"n2","Address":"10.0.0.2","NodeMeta":{"k":"#"}}`}, write{register, node + `"NodeMeta":{"k":"#"}}`}, `"k":"#"`},
		} {
			var one *waiting
			passed := false
			for try := range 5 { // where the change comes before who waits, he is answered: then more time is left to him
				n++
				all := a.wait(manager, c.list, "20s")
				one = a.wait(some, c.list, "20s")
				<-time.After(time.Duration(20<<try) * time.Millisecond)
				target, body := c.hidden.at(n)
				a.must("PUT", target, body, "")
				if code, _ := all.answered(t); code != 200 {
					t.Errorf("%s: who sees all: %d", c.list, code)
				}
				select {
				case <-one.ended:
					continue
				case <-time.After(50 * time.Millisecond):
					passed = true
				}
				break
			}
			if !passed {
				t.Errorf("%s on %s: woken by what is hidden: %d %s", c.list, a.node.Name, one.code, one.text)
				continue
			}
			target, body := c.shown.at(n)
			a.must("PUT", target, body, "")
			if code, text := one.answered(t); code != 200 || !strings.Contains(text, strings.ReplaceAll(c.part, "#", fmt.Sprint(n))) {
				t.Errorf("%s on %s: %d %s, want %s of %d", c.list, a.node.Name, code, text, c.part, n)
			}
		}
	}
}

// Who waits is refused once the token means nothing, and sees nothing that it may not
// see any more.
func TestRevokedTokensGetNothingOfWhatTheyWaitedFor(t *testing.T) {
	t.Parallel()
	client, server := lockedCluster(t, nil)
	client.must("PUT", "/v1/catalog/register", instance("n1", "web", 1), "")
	eventually(t, "the agents have said what they are, which wakes who waits for nodes", 30*time.Second, func(context.Context) error {
		if _, text, _ := client.do(manager, "GET", "/v1/catalog/nodes", ""); strings.Count(text, "consul-version") < 2 {
			return fmt.Errorf("the nodes are %s", text)
		}
		return nil
	})
	for i, a := range []*asking{client, server} {
		gone := client.revocable()
		const wide = `key_prefix "" { policy = "read" }`
		narrowed, set := client.policy(wide)
		for _, list := range []string{"/v1/kv/?recurse", "/v1/health/service/web", "/v1/catalog/nodes"} {
			token, revoke := gone()
			w := a.wait(token, list, "20s")
			revoke()
			a.must("PUT", fmt.Sprintf("/v1/kv/k%d", i), list, "")
			a.must("PUT", "/v1/catalog/register", instance(fmt.Sprintf("n1-%d-%d", i, len(list)), "web", 1), "")
			if code, text := w.answered(t); code != 403 || text != "ACL not found" {
				t.Errorf("%s on %s after its token was deleted: %d %s", list, a.node.Name, code, text)
			}
		}
		told := false
		for try := 0; try < 5 && !told; try++ { // who comes after they shrank rightly waits on: then more time is left to him
			set(wide)
			w := a.wait(narrowed, "/v1/kv/?recurse", "3s")
			<-time.After(time.Duration(20<<try) * time.Millisecond)
			set("")
			a.must("PUT", fmt.Sprintf("/v1/kv/k%d", i), fmt.Sprint("narrowed", try), "")
			select {
			case <-w.ended:
				told = true
			case <-time.After(time.Second):
				<-w.ended
			}
			if told && strings.Contains(w.text, `"Key"`) {
				t.Errorf("on %s after its rights shrank: %d %s", a.node.Name, w.code, w.text)
			}
		}
		if !told {
			t.Errorf("on %s: who waits was not woken after its rights shrank", a.node.Name)
		}
	}
}

// revocable makes tokens that may read everything, each with what takes it away.
func (a *asking) revocable() func() (secret string, revoke func()) {
	return func() (string, func()) {
		a.t.Helper()
		code, text, _ := a.do(manager, "PUT", "/v1/acl/token", `{"Policies":[{"Name":"builtin/global-read-only"}]}`)
		var made struct{ AccessorID, SecretID string }
		if err := json.Unmarshal([]byte(text), &made); code != 200 || err != nil {
			a.t.Fatalf("make a token: %d %s, %v", code, text, err)
		}
		return made.SecretID, func() { a.must("DELETE", "/v1/acl/token/"+made.AccessorID, "", "") }
	}
}

// What an agent keeps for a token goes when the token's rights shrink.
func TestCachedAnswersShrinkWithRights(t *testing.T) {
	t.Parallel()
	client, server := lockedCluster(t, nil)
	client.must("PUT", "/v1/catalog/register", instance("n1", "web", 1), "")
	const cached = "/v1/health/service/web?cached"
	for _, a := range []*asking{client, server} {
		read := `node "n1" { policy = "read" } service "web" { policy = "read" }`
		secret, set := client.policy(read)
		for range 2 {
			if err := a.gets(secret, cached, 200, `"n1"`)(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		set(`service "web" { policy = "read" }`)
		eventually(t, "nothing is shown of the node", 5*time.Second, a.gets(secret, cached, 200, "[]"))
		set(read)
		eventually(t, "it is shown again", 5*time.Second, a.gets(secret, cached, 200, `"n1"`))
		set(`node "n1" { policy = "read" }`)
		eventually(t, "nothing is shown of the service", 5*time.Second, a.gets(secret, cached, 200, "[]"))
		set(read)
		eventually(t, "it is shown again", 5*time.Second, a.gets(secret, cached, 200, `"n1"`))
	}
}

// log is what agents write.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Services go to the catalog with their own tokens, from files and from clients; what is
// refused stops nothing else, and the log says why without a secret.
func TestServicesAreRegisteredWithTheirTokens(t *testing.T) {
	t.Parallel()
	const agents, filed, poor = "22222222-aaaa-4aaa-8aaa-222222222222", "33333333-aaaa-4aaa-8aaa-333333333333", "44444444-aaaa-4aaa-8aaa-444444444444"
	said := &log{}
	c := start(t, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1, Log: slog.New(slog.NewTextHandler(said, nil)), Configure: func(c *config.Config) {
		locked(c)
		if !c.Server {
			c.ACL.Tokens.Agent, c.ACL.Tokens.ConfigFileRegistration = agents, filed
			c.Services = []config.ServiceDefinition{{Name: "filed"}, {Name: "poor", Token: poor}}
		}
	}})
	client, server := &asking{t: t, c: c, node: c.Nodes()[1]}, &asking{t: t, c: c, node: c.Nodes()[0]}
	eventually(t, "access control has begun", 20*time.Second, server.gets(manager, "/v1/acl/tokens", 200, ""))
	accessor := ""
	for secret, rules := range map[string]string{
		agents: `node "dc1-client1" { policy = "write" }`, filed: `service "filed" { policy = "write" }`, poor: `key "a" { policy = "read" }`,
	} {
		body, err := json.Marshal(map[string]any{"Name": "p" + secret, "Rules": rules})
		if err != nil {
			t.Fatal(err)
		}
		id := server.must("PUT", "/v1/acl/policy", string(body), "ID")
		made := server.must("PUT", "/v1/acl/token", `{"SecretID":"`+secret+`","Policies":[{"ID":"`+id+`"}]}`, "AccessorID")
		if secret == poor {
			accessor = made
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.StopNode(ctx, client.node.Name); err != nil { // what was refused is tried again after 15 s
		t.Fatal(err)
	}
	if err := c.StartNode(ctx, client.node.Name); err != nil {
		t.Fatal(err)
	}
	mine := server.secret(`service "web" { policy = "write" }`)
	eventually(t, "web is registered", 20*time.Second, func(context.Context) error {
		if code, text, _ := client.do(mine, "PUT", "/v1/agent/service/register", `{"Name":"web","Check":{"CheckID":"c","TTL":"1h","Status":"passing"}}`); code != 200 {
			return errors.New(text)
		}
		return errors.Join(server.gets(manager, "/v1/health/checks/web", 200, `"c"`)(t.Context()), server.gets(manager, "/v1/health/service/filed", 200, `"filed"`)(t.Context()))
	})
	if _, text, _ := server.do(manager, "GET", "/v1/catalog/service/poor", ""); text != "[]" {
		t.Errorf("what may not be registered is: %s", text)
	}
	want := "token with AccessorID '" + accessor + "' lacks permission 'service:write'"
	eventually(t, "the log says so", 20*time.Second, func(context.Context) error {
		if text := said.String(); !strings.Contains(text, want) || !strings.Contains(text, "poor") {
			return errors.New("it does not say: " + want)
		}
		return nil
	})
	for _, secret := range []string{agents, filed, poor, mine, manager} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("the log shows the secret %s", secret)
		}
	}
}

// Without servers a client agent knows whom it knew, and its recovery token.
func TestClientAgentsWithoutServers(t *testing.T) {
	t.Parallel()
	const recovery = "55555555-aaaa-4aaa-8aaa-555555555555"
	client, server := lockedCluster(t, func(c *config.Config) {
		c.ACL.Tokens.AgentRecovery = recovery
		c.Performance.RPCHoldTimeout = time.Second
	})
	client.must("PUT", "/v1/agent/service/register", `{"Name":"web"}`, "")
	known := client.secret(`agent_prefix "" { policy = "read" }`)
	asks := func(who, secret, method, target string, want int) {
		t.Helper()
		if code, text, _ := client.do(secret, method, target, ""); code != want || strings.Contains(text, "-aaaa-4aaa-") {
			t.Errorf("%s: %s %s: %d %.200s, want %d", who, method, target, code, text, want)
		}
	}
	asks("known", known, "GET", "/v1/agent/self", 200)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := client.c.StopNode(ctx, server.node.Name); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Second) // its answers are too old by now
	asks("known", known, "GET", "/v1/agent/self", 200)
	asks("known", known, "GET", "/v1/agent/host", 403)
	asks("unknown", "66666666-aaaa-4aaa-8aaa-666666666666", "GET", "/v1/agent/self", 403)
	asks("recovery", recovery, "GET", "/v1/agent/self", 200)
	asks("recovery", recovery, "GET", "/v1/agent/members", 200)
	asks("recovery", recovery, "PUT", "/v1/agent/token/dns", 400)
	asks("recovery", recovery, "GET", "/v1/agent/host", 403)
	asks("recovery", recovery, "PUT", "/v1/agent/service/deregister/web", 403)
}

// DNS answers what its token may see; with one that stands for nothing it fails.
func TestDNSAsksWithItsToken(t *testing.T) {
	t.Parallel()
	client, _ := lockedCluster(t, nil)
	client.must("PUT", "/v1/catalog/register", instance("n1", "web", 1), "")
	answers := func(name, want string) func(context.Context) error {
		return func(context.Context) error {
			m, _, err := (&mdns.Client{Timeout: 5 * time.Second}).Exchange(new(mdns.Msg).SetQuestion(name, mdns.TypeA), client.node.DNSAddr())
			if err != nil {
				return err
			}
			if got := fmt.Sprint(mdns.RcodeToString[m.Rcode], " ", len(m.Answer)); got != want {
				return fmt.Errorf("%s: %s, want %s", name, got, want)
			}
			return nil
		}
	}
	both := func(when, want string) {
		t.Helper()
		for _, name := range []string{"web.service.consul.", "n1.node.consul."} {
			eventually(t, when, 5*time.Second, answers(name, want))
		}
	}
	use := func(secret string) { client.must("PUT", "/v1/agent/token/dns", `{"Token":"`+secret+`"}`, "") }
	both("without a token", "NXDOMAIN 0")
	secret, set := client.policy(`node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }`)
	use(secret)
	both("with one", "NOERROR 1")
	set("")
	both("with one that may nothing", "NXDOMAIN 0")
	use("made-up")
	both("with one that is unknown", "SERVFAIL 0")
	use("")
	client.must("PUT", "/v1/agent/token/default", `{"Token":"`+secret+`"}`, "")
	set(`node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }`)
	both("with that of requests", "NOERROR 1")
}

// What commands do with several requests takes the rights that Consul documents for
// them, and no others: remote execution by who starts it and by the agent that runs it,
// locks, and watches of the configuration.
func TestCommandsAndWatchesTakeTheRightsOfTheirTokens(t *testing.T) {
	t.Parallel()
	const agents, watcher = "22222222-aaaa-4aaa-8aaa-222222222222", "33333333-aaaa-4aaa-8aaa-333333333333"
	seen := filepath.Join(t.TempDir(), "seen")
	client, server := lockedCluster(t, func(c *config.Config) {
		if !c.Server {
			c.DisableRemoteExec, c.ACL.Tokens.Agent = false, agents
			c.Watches = []map[string]any{{"type": "key", "key": "watched", "token": watcher, "args": []any{"sh", "-c", "cat >> " + seen}}}
		}
	})
	for secret, rules := range map[string]string{
		agents:  `node "dc1-client1" { policy = "write" } key_prefix "_rexec/" { policy = "write" }`,
		watcher: `key "watched" { policy = "read" }`,
	} {
		body, err := json.Marshal(map[string]any{"Name": "p" + secret, "Rules": rules})
		if err != nil {
			t.Fatal(err)
		}
		id := server.must("PUT", "/v1/acl/policy", string(body), "ID")
		server.must("PUT", "/v1/acl/token", `{"SecretID":"`+secret+`","Policies":[{"ID":"`+id+`"}]}`, "")
	}
	eventually(t, "the agent is in the catalog", 40*time.Second, server.gets(manager, "/v1/catalog/node/dc1-client1", 200, `"dc1-client1"`))

	starter := server.secret(`session "dc1-client1" { policy = "write" } key_prefix "_rexec/" { policy = "write" } event "_rexec" { policy = "write" }`)
	put := func(secret, target, body string) string {
		t.Helper()
		code, text, _ := client.do(secret, "PUT", target, body)
		if code != 200 || text == "false" {
			t.Fatalf("%s: %d %s", target, code, text)
		}
		return text
	}
	var session struct{ ID string }
	if err := json.Unmarshal([]byte(put(starter, "/v1/session/create", `{"Node":"dc1-client1","NodeChecks":[],"TTL":"30s"}`)), &session); err != nil {
		t.Fatal(err)
	}
	base := "/v1/kv/_rexec/" + session.ID
	put(starter, base+"/job?acquire="+session.ID, `{"Command":"echo done","Wait":1000000000}`)
	put(starter, "/v1/event/fire/_rexec", `{"Prefix":"_rexec","Session":"`+session.ID+`"}`)
	eventually(t, "the command has ended", 20*time.Second, client.gets(starter, base+"/dc1-client1/exit?raw", 200, "0"))

	locker := server.secret(`session "dc1-client1" { policy = "write" } key_prefix "lock/" { policy = "write" }`)
	official, err := api.NewClient(&api.Config{Address: client.node.HTTPAddr(), Token: locker})
	if err != nil {
		t.Fatal(err)
	}
	for key, allowed := range map[string]bool{"lock/a": true, "other": false} {
		l, err := official.LockOpts(&api.LockOptions{Key: key, LockTryOnce: true, LockWaitTime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if lost, err := l.Lock(nil); (err == nil && lost != nil) != allowed {
			t.Errorf("lock of %s: %v, want it %t", key, err, allowed)
		}
		if allowed {
			if err := l.Unlock(); err != nil {
				t.Error(err)
			}
		}
	}

	client.must("PUT", "/v1/kv/watched", "1", "")
	eventually(t, "the handler has run", 30*time.Second, func(context.Context) error {
		if b, err := os.ReadFile(seen); err != nil || !strings.Contains(string(b), `"watched"`) {
			return fmt.Errorf("it has seen %q, %v", b, err)
		}
		return nil
	})
}

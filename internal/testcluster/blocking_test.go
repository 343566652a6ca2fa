package testcluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi"
	"github.com/legate-project/legate/internal/testcluster"
)

// change is one write. Each is made once, in the order of the table, and
// changes something.
type change struct {
	name   string
	gone   bool // it takes something away
	method string
	path   string
	body   string
	wakes  string // names of those that are woken; all others are not
}

// watched is one request that blocks.
type watched struct{ name, route, path string }

// target is the path that is asked for.
func (w *watched) target() string {
	if strings.Contains(w.route, "*") {
		return strings.Replace(w.route, "*", w.path, 1)
	}
	return w.route + w.path
}

func watchedRequests() []watched {
	return []watched{
		{"failover", "/v1/failover", ""},
		{"nodes", "/v1/catalog/nodes", ""},
		{"services", "/v1/catalog/services", ""},
		{"service", "/v1/catalog/service/", "web"},
		{"service-tagged", "/v1/catalog/service/", "web?tag=a&tag=b"},
		{"node", "/v1/catalog/node/", "n1"},
		{"node-services", "/v1/catalog/node-services/", "n1"},
		{"health-node", "/v1/health/node/", "n1"},
		{"health-checks", "/v1/health/checks/", "web"},
		{"health-state", "/v1/health/state/", "critical"},
		{"health-any", "/v1/health/state/", "any"},
		{"health-service", "/v1/health/service/", "web"},
		{"health-passing", "/v1/health/service/", "web?passing"},
		{"health-cached", "/v1/health/service/", "web?passing&cached"},
		{"health-tagged", "/v1/health/service/", "web?tag=a"},
		{"health-of-meta", "/v1/health/service/", "web?node-meta=a:1&near=n2"},
		{"services-of-meta", "/v1/catalog/services", "?node-meta=a:1"},
		{"checks-of-meta", "/v1/health/state/", "any?node-meta=a:1"},
		{"health-filtered", "/v1/health/service/", "web?filter=Node.Node==n3"},
		{"services-filtered", "/v1/catalog/services", "?filter=ServiceName==db"},
		{"services-of-nodes-filtered", "/v1/catalog/services", "?filter=NodeMeta.a==1"},
		{"nodes-filtered", "/v1/catalog/nodes", "?filter=Node==n2"},
		{"node-filtered", "/v1/catalog/node/", "n1?filter=Service==other"},
		{"health-other", "/v1/health/service/", "nothing-of-that-name?passing"},
		{"mesh", "/v1/catalog/connect/", "web"},
		{"health-mesh", "/v1/health/connect/", "web"},
		{"ingress", "/v1/health/ingress/", "web"},
		{"coordinates", "/v1/coordinate/nodes", ""},
		{"coordinate", "/v1/coordinate/node/", "n1"},
		{"key", "/v1/kv/", "dir/own"},
		{"tree", "/v1/kv/", "dir/?recurse"},
		{"keys", "/v1/kv/", "dir/?keys"},
		{"session", "/v1/session/info/", "$0"},
		{"sessions-of-node", "/v1/session/node/", "n1"},
		{"sessions", "/v1/session/list", ""},
		{"session-keys", "/v1/session/keys/", "$0"},
		{"queries", prepared, ""},
		{"query", prepared + "/", "$2"},
		{"execute", prepared + "/*/execute", "find-web"},
		{"explain", prepared + "/*/explain", "find-web"},
		{"ui-nodes", "/v1/internal/ui/nodes", ""},
		{"ui-node", "/v1/internal/ui/node/", "n1"},
		{"ui-services", "/v1/internal/ui/services", ""},
		{"ui-overview", "/v1/internal/ui/catalog-overview", ""},
	}
}

// onNode is the body of a registration that leaves the node as it is.
func onNode(node, what string) string {
	return fmt.Sprintf(`{"Node":%q,"SkipNodeUpdate":true,%s}`, node, what)
}

const (
	register   = "/v1/catalog/register"
	deregister = "/v1/catalog/deregister"
	coord      = "/v1/coordinate/update"
	create     = "/v1/session/create"
	destroy    = "/v1/session/destroy/"
	prepared   = "/v1/query"
	// what watches the whole catalog
	all = " ui-nodes ui-overview "
	// what shows a healthy instance of web on n1
	shown = " service service-tagged health-service health-passing health-cached health-tagged health-of-meta execute "
)

// before is what is there when the watches begin.
func before() []change {
	return []change{
		{path: register, body: `{"Node":"n1","Address":"10.0.0.1"}`},
		{path: register, body: `{"Node":"n2","Address":"10.0.0.2"}`},
		{path: register, body: onNode("n1", `"Service":{"ID":"w1","Service":"web","Tags":["a","b"],"Port":1},"Checks":[{"CheckID":"c1","Name":"c","Status":"passing","ServiceID":"w1"},{"CheckID":"nc1","Name":"nc","Status":"passing"}]`)},
		{path: register, body: onNode("n2", `"Service":{"ID":"d1","Service":"db","Tags":["x"],"Port":1},"Check":{"CheckID":"c2","Name":"c","Status":"passing","ServiceID":"d1"}`)},
		{path: "/v1/kv/dir/own", body: "1"},
		{path: create, body: `{"Node":"n1","NodeChecks":[],"LockDelay":0}`},                       // $0
		{path: create, body: `{"Node":"n2","NodeChecks":[]}`},                                     // $1
		{method: "POST", path: prepared, body: `{"Name":"find-web","Service":{"Service":"web"}}`}, // $2
	}
}

func changes() []change {
	return []change{
		{name: "a rule of failover", path: "/v1/failover/db", body: `{"Datacenters":["dc2"]}`, wakes: "failover"},
		{name: "no rule of failover", gone: true, method: "DELETE", path: "/v1/failover/db", wakes: "failover"},
		{name: "another key", path: "/v1/kv/elsewhere", body: "1"},
		{name: "a key that begins alike", path: "/v1/kv/dir", body: "1"},
		{name: "the key", path: "/v1/kv/dir/own", body: "2", wakes: "key tree keys"},
		{name: "a key beside it", path: "/v1/kv/dir/other", body: "1", wakes: "tree keys"},
		{name: "another node", path: register, body: `{"Node":"n2","Address":"10.0.0.2","NodeMeta":{"a":"1"}}`, wakes: "services-of-nodes-filtered nodes-filtered nodes services-of-meta checks-of-meta ui-nodes"},
		{name: "the node", path: register, body: `{"Node":"n1","Address":"10.0.0.1","NodeMeta":{"a":"1"}}`,
			wakes: "services-of-nodes-filtered node-filtered nodes node node-services services-of-meta checks-of-meta ui-node ui-nodes" + shown},
		{name: "nothing new", path: register, body: `{"Node":"n1","Address":"10.0.0.1","NodeMeta":{"a":"1"}}`},
		{name: "another service", path: register, body: onNode("n2", `"Service":{"ID":"d1","Service":"db","Tags":["x"],"Port":2}`), wakes: "ui-nodes"},
		{name: "another service's tags", path: register, body: onNode("n2", `"Service":{"ID":"d1","Service":"db","Tags":["x","y"],"Port":2}`),
			wakes: "services-of-nodes-filtered services-filtered services services-of-meta health-any checks-of-meta ui-services ui-nodes"},
		{name: "the service", path: register, body: onNode("n1", `"Service":{"ID":"w1","Service":"web","Tags":["a","b"],"Port":2}`),
			wakes: "node node-services ui-node ui-nodes" + shown},
		{name: "the service's tags", path: register, body: onNode("n1", `"Service":{"ID":"w1","Service":"web","Tags":["a","b","c"],"Port":2}`),
			wakes: "services-of-nodes-filtered services services-of-meta node node-services health-node health-checks health-any checks-of-meta ui-node ui-services ui-nodes" + shown},
		{name: "output of another check", path: register, body: onNode("n2", `"Check":{"CheckID":"c2","Name":"c","Status":"passing","ServiceID":"d1","Output":"1"}`),
			wakes: "health-any checks-of-meta ui-nodes"},
		{name: "output of the check", path: register, body: onNode("n1", `"Check":{"CheckID":"c1","Name":"c","Status":"passing","ServiceID":"w1","Output":"1"}`),
			wakes: "health-node health-checks health-any health-service execute ui-node health-passing health-cached health-tagged health-of-meta checks-of-meta ui-nodes"},
		{name: "output of the node's check", path: register, body: onNode("n1", `"Check":{"CheckID":"nc1","Name":"nc","Status":"passing","Output":"1"}`),
			wakes: "health-node health-any health-service execute ui-node health-passing health-cached health-tagged health-of-meta checks-of-meta ui-nodes"},
		{name: "state of another check", path: register, body: onNode("n2", `"Check":{"CheckID":"c2","Name":"c","Status":"critical","ServiceID":"d1","Output":"1"}`),
			wakes: "health-state health-any checks-of-meta ui-services" + all},
		{name: "state of the check", path: register, body: onNode("n1", `"Check":{"CheckID":"c1","Name":"c","Status":"critical","ServiceID":"w1","Output":"1"}`),
			wakes: "health-node health-checks health-state health-any health-service health-passing health-cached health-tagged health-of-meta checks-of-meta execute ui-node ui-services" + all},
		{name: "output of the check that fails", path: register, body: onNode("n1", `"Check":{"CheckID":"c1","Name":"c","Status":"critical","ServiceID":"w1","Output":"2"}`),
			wakes: "health-node health-checks health-state health-any checks-of-meta health-service health-tagged health-of-meta execute ui-node ui-nodes"},
		{name: "coordinate of another node", path: coord, body: `{"Node":"n2","Coord":{"Vec":[0.01,0,0,0,0,0,0,0]}}`, wakes: "coordinates"},
		{name: "coordinate of the node", path: coord, body: `{"Node":"n1","Coord":{"Vec":[0.02,0,0,0,0,0,0,0]}}`, wakes: "coordinates coordinate"},
		{name: "an instance on a new node", path: register, body: `{"Node":"n3","Address":"10.0.0.3","Service":{"ID":"w3","Service":"web","Tags":["a"]}}`,
			wakes: "health-filtered nodes service health-service health-passing health-cached health-tagged execute ui-services" + all},
		{name: "that instance goes", gone: true, path: deregister, body: `{"Node":"n3","ServiceID":"w3"}`, wakes: "health-filtered service health-service health-passing health-cached health-tagged execute ui-services" + all},
		{name: "that node goes", gone: true, path: deregister, body: `{"Node":"n3"}`, wakes: "nodes" + all},
		{name: "a proxy of the service on a new node", path: register, body: `{"Node":"n4","Address":"10.0.0.4","Service":{"ID":"p4","Service":"web-proxy","Kind":"connect-proxy","Port":9,"Proxy":{"DestinationServiceName":"web"}}}`,
			wakes: "mesh health-mesh nodes services ui-services" + all},
		{name: "that proxy goes", gone: true, path: deregister, body: `{"Node":"n4"}`, wakes: "mesh health-mesh nodes services ui-services" + all},
		{name: "a session of another node", path: create, body: `{"Node":"n2","NodeChecks":[]}`, wakes: "sessions"},
		{name: "a session of the node", path: create, body: `{"Node":"n1","NodeChecks":[]}`, wakes: "sessions sessions-of-node"},
		{name: "lock of another key", path: "/v1/kv/elsewhere?acquire=$0", body: "1", wakes: "session-keys"},
		{name: "lock of the key", path: "/v1/kv/dir/own?acquire=$0", body: "1", wakes: "session-keys key tree keys"},
		{name: "lock that is refused", path: "/v1/kv/dir/own?acquire=$1", body: "2"},
		{name: "unlock of the key", path: "/v1/kv/dir/own?release=$0", body: "1", wakes: "session-keys key tree keys"},
		{name: "lock by transaction", path: "/v1/txn", body: `[{"KV":{"Verb":"lock","Key":"dir/own","Session":"$0"}}]`, wakes: "session-keys key tree keys"},
		{name: "transaction that fails", path: "/v1/txn", body: `[{"KV":{"Verb":"set","Key":"dir/own"}},{"KV":{"Verb":"get","Key":"none"}}]`},
		{name: "renewal", path: "/v1/session/renew/$0"},
		{name: "another query", method: "POST", path: prepared, body: `{"Name":"find","Service":{"Service":"db"}}`, wakes: "queries"}, // $5
		{name: "the query", path: prepared + "/$2", body: `{"Name":"find-web","Service":{"Service":"web","Tags":["a"]}}`, wakes: "queries query explain execute"},
		{name: "another query goes", gone: true, method: "DELETE", path: prepared + "/$5", wakes: "queries"},
		{name: "another session goes", gone: true, path: destroy + "$3", wakes: "sessions"},
		{name: "the session goes with its lock", gone: true, path: destroy + "$0", wakes: "session session-keys sessions-of-node sessions key tree keys"},
		{name: "the check goes", gone: true, path: deregister, body: `{"Node":"n1","CheckID":"c1"}`,
			wakes: "health-node health-checks health-state health-any health-service health-passing health-cached health-tagged health-of-meta checks-of-meta execute ui-node ui-services" + all},
		{name: "the service goes", gone: true, path: deregister, body: `{"Node":"n1","ServiceID":"w1"}`,
			wakes: "services-of-nodes-filtered services services-of-meta node node-services ui-node ui-services" + all + shown},
		{name: "what is gone goes again", gone: true, path: deregister, body: `{"Node":"n1","ServiceID":"w1"}`},
		{name: "another key goes", gone: true, method: "DELETE", path: "/v1/kv/elsewhere"},
		{name: "the key goes", gone: true, method: "DELETE", path: "/v1/kv/dir/own", wakes: "key tree keys"},
		{name: "another node goes", gone: true, path: deregister, body: `{"Node":"n2"}`, wakes: "services-of-nodes-filtered services-filtered nodes-filtered nodes services health-state health-any services-of-meta checks-of-meta coordinates ui-services sessions" + all},
		{name: "the node goes", gone: true, path: deregister, body: `{"Node":"n1"}`,
			wakes: "node-filtered nodes node node-services health-node health-any checks-of-meta coordinates coordinate ui-node sessions sessions-of-node" + all},
		{name: "the query goes", gone: true, method: "DELETE", path: prepared + "/$2", wakes: "queries query explain execute"},
	}
}

// asker talks HTTP to one agent.
type asker struct {
	t      *testing.T
	base   string
	dc     string // asked for in each read; "" for the agent's own
	client *http.Client
	busy   sync.WaitGroup
	made   *made
}

// made are the IDs of the sessions and queries that were made, which requests name by their
// number: $0, $1, …
type made struct {
	mu  sync.Mutex
	ids []string
}

func (m *made) name(text string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, id := range m.ids {
		text = strings.ReplaceAll(text, "$"+strconv.Itoa(i), id)
	}
	return text
}

// note keeps the ID that something was made with.
func (m *made) note(answer string) {
	var s struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &s); err != nil || s.ID == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids = append(m.ids, s.ID)
}

// ask returns an asker that has no connection any more when the cluster stops:
// a server on its way out gives one that nothing was said on some seconds.
func ask(t *testing.T, n *testcluster.Node) *asker {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	a := &asker{t: t, base: "http://" + n.HTTPAddr(), client: &http.Client{Transport: transport}, made: &made{}}
	t.Cleanup(func() {
		a.busy.Wait()
		transport.CloseIdleConnections()
	})
	return a
}

func (a *asker) do(ctx context.Context, method, path, body string) (index uint64, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+a.made.name(path), strings.NewReader(a.made.name(body)))
	if err != nil {
		return 0, "", err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusConflict {
		return 0, "", fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	index, _ = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	return index, string(b), nil
}

func (a *asker) write(c change) {
	a.t.Helper()
	if c.method == "" {
		c.method = "PUT"
	}
	_, text, err := a.do(a.t.Context(), c.method, c.path, c.body)
	if err != nil {
		a.t.Fatalf("%s: %v", c.name, err)
	}
	if c.path == create || c.path == prepared {
		a.made.note(text)
	}
}

// read is do for a path that a datacenter and more may be added to.
func (a *asker) read(ctx context.Context, path, more string) (index uint64, text string, err error) {
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	return a.do(ctx, "GET", path+join+"dc="+a.dc+more, "")
}

// watch is one that blocks, again and again.
type watch struct {
	watched
	from string // where it is asked
	ask  *asker
	answer
	woken chan answer
}

// answer is what was answered last.
type answer struct {
	index uint64
	text  string
}

// arm waits for something newer than was answered last.
func (w *watch) arm(ctx context.Context) {
	more := "&wait=5m&index=" + strconv.FormatUint(w.index, 10)
	w.ask.busy.Go(func() {
		index, text, err := w.ask.read(ctx, w.target(), more)
		if err == nil {
			w.woken <- answer{index, text}
		}
	})
}

// check looks whether a change woke the watch as it should.
func (w *watch) check(ctx context.Context, c *change) error {
	if !slices.Contains(strings.Fields(c.wakes), w.name) {
		select {
		case <-w.woken:
			return errors.New("woken by a write elsewhere")
		default:
		}
		now, text, err := w.ask.read(ctx, w.target(), "")
		switch {
		case err != nil:
		case now < w.index && w.name != "execute": // that is a number of its own
			err = fmt.Errorf("index went back from %d to %d", w.index, now)
		case text != w.text:
			err = fmt.Errorf("not woken, but it would be answered with %s and not with %s", text, w.text)
		}
		return err
	}
	late := time.NewTimer(15 * time.Second)
	defer late.Stop()
	select {
	case got := <-w.woken:
		switch {
		case got.index <= w.index && (got.index == w.index || w.name != "execute"):
			return fmt.Errorf("woken with index %d, it knew %d", got.index, w.index)
		case got.text == w.text && w.name != "keys" && w.name != "execute": // who watches names is told of values, too, as Consul does
			return fmt.Errorf("woken with what it knew: %s", got.text)
		}
		w.answer = got
		w.arm(ctx)
		return nil
	case <-late.C:
		return errors.New("not woken")
	}
}

// registered returns an error until an agent has written all that it writes
// about itself.
func (a *asker) registered(node string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, text, err := a.read(ctx, "/v1/internal/ui/node/"+node, "")
		if err != nil || text == "" {
			return errors.Join(errors.New("not in the catalog"), err)
		}
		var n struct {
			TaggedAddresses map[string]string
			Checks          []any
		}
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			return err
		}
		if len(n.Checks) == 0 || n.TaggedAddresses["wan"] == "" {
			return errors.New("not yet: " + text)
		}
		return nil
	}
}

// Every read that blocks is woken by each write and deletion that concerns it,
// and by no other: on a server, on a client agent, and in another datacenter.
func TestEveryBlockingEndpointWakesExactly(t *testing.T) {
	t.Parallel()
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 1, RTT: 10 * time.Millisecond,
		Configure: func(c *config.Config) { c.DisableCoordinates = true }}) // agents would write theirs meanwhile
	a := ask(t, c.Node("dc1-server1"))
	client, abroad := ask(t, c.Node("dc1-client1")), ask(t, c.Node("dc2-client1"))
	abroad.dc, client.made, abroad.made = "dc1", a.made, a.made
	for _, n := range c.In("dc1") {
		eventually(t, n.Name+" has registered itself", 15*time.Second, a.registered(n.Name))
	}
	for _, b := range before() {
		a.write(b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var watches []*watch
	for from, asker := range map[string]*asker{"server": a, "client": client, "abroad": abroad} {
		for _, r := range watchedRequests() {
			index, text, err := asker.read(ctx, r.target(), "")
			if err != nil || index == 0 {
				t.Fatalf("%s %s: index %d, %v", from, r.name, index, err)
			}
			w := &watch{watched: r, from: from, ask: asker, answer: answer{index, text}, woken: make(chan answer, 1)}
			watches = append(watches, w)
			w.arm(ctx)
		}
	}
	for _, change := range changes() {
		a.write(change)
		// Those that are to be woken come first: when they are, the others were
		// passed by.
		for _, expected := range []bool{true, false} {
			for _, w := range watches {
				if slices.Contains(strings.Fields(change.wakes), w.name) != expected {
					continue
				}
				if err := w.check(ctx, &change); err != nil {
					t.Fatalf("%s: %s on %s: %v", change.name, w.name, w.from, err)
				}
			}
		}
	}
}

// The table knows every route that blocks, with a write and a deletion that wake
// it and one that does not.
func TestNoBlockingEndpointIsForgotten(t *testing.T) {
	t.Parallel()
	for _, row := range httpapi.Routes(httpapi.Config{}) {
		if !row.Blocks {
			continue
		}
		route := row.Path
		var names []string
		for _, r := range watchedRequests() {
			if r.route == route {
				names = append(names, r.name)
			}
		}
		has := func(gone, wakes bool) bool {
			return slices.ContainsFunc(changes(), func(c change) bool {
				return c.gone == gone && wakes == slices.ContainsFunc(names, func(n string) bool { return slices.Contains(strings.Fields(c.wakes), n) })
			})
		}
		if route == "/v1/health/ingress/" {
			continue // nothing says which gateway leads where: it is empty, and nothing wakes who waits
		}
		// A session never changes: only its end wakes who waits for it.
		if !has(false, true) && route != "/v1/session/info/" || !has(true, true) || !has(false, false) || !has(true, false) {
			t.Errorf("%s (requests %v): the table lacks a write or deletion that wakes it, or one that does not", route, names)
		}
	}
}

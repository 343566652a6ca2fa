package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
)

// fakeAgent answers the requests it knows ("GET /v1/path") with canned JSON
// and everything else with 404. What it has under "of" it says of datacenters. It
// keeps what it was asked.
type fakeAgent struct {
	answers map[string]string

	mu    sync.Mutex
	asked []string
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	query := r.URL.Query()
	keys := make([]string, 0, len(query))
	for key, values := range query {
		keys = append(keys, key+"="+strings.Join(values, ","))
	}
	sort.Strings(keys)
	f.mu.Lock()
	f.asked = append(f.asked, strings.TrimSpace(fmt.Sprintf("%s %s?%s %s", r.Method, r.URL.Path, strings.Join(keys, "&"), body)))
	f.mu.Unlock()
	if of := f.answers["of"]; of != "" {
		w.Header().Set("X-Legate-Datacenters", of)
	}
	answer, ok := f.answers[r.Method+" "+r.URL.Path]
	if code, text, failed := strings.Cut(answer, "!"); failed && len(code) == 3 {
		status := map[string]int{"403": 403, "500": 500}[code]
		http.Error(w, text, status)
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, answer)
}

type result struct {
	code     int
	out, err string
	asked    []string
}

// legate runs the program against a fake agent.
func legate(t *testing.T, answers map[string]string, stdin string, args ...string) result {
	t.Helper()
	f := &fakeAgent{answers: answers}
	server := httptest.NewServer(f)
	defer server.Close()
	t.Setenv("CONSUL_HTTP_ADDR", server.URL)
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, notify: func(chan<- os.Signal, ...os.Signal) {}}
	return result{code: a.run(args), out: out.String(), err: errs.String(), asked: f.asked}
}

const members = `[
{"Name":"s1","Addr":"10.0.0.1","Port":8301,"Status":1,"Tags":{"role":"consul","build":"0.1.0:abc","vsn":"2","dc":"dc1"}},
{"Name":"c1","Addr":"10.0.0.2","Port":8301,"Status":4,"Tags":{"role":"node","build":"0.1.0","vsn":"2","dc":"dc1"}}]`

const coordinates = `[{"Node":"a","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.0001}},
{"Node":"b","Segment":"","Coord":{"Vec":[0.0004,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.00011}}]`

const wanCoordinates = `[{"Datacenter":"dc1","AreaID":"wan","Coordinates":` + coordinates + `},
{"Datacenter":"dc2","AreaID":"wan","Coordinates":[{"Node":"c.dc2","Coord":{"Vec":[0.01,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.0001}}]}]`

const pair = `[{"LockIndex":2,"Key":"a/b","Flags":7,"Value":"aGVsbG8=","Session":"","CreateIndex":5,"ModifyIndex":9}]`

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		args    string
		answers map[string]string
		stdin   string
		code    int
		out     string // exact, if the code is 0
		err     string // contained
		asked   string // contained in one of the requests
	}{
		{args: "members", answers: map[string]string{"GET /v1/agent/members": members},
			out: "Node  Address        Status  Type    Build  Protocol  DC   Partition  Segment\n" +
				"c1    10.0.0.2:8301  failed  client  0.1.0  2         dc1  default    <default>\n" +
				"s1    10.0.0.1:8301  alive   server  0.1.0  2         dc1  default    <all>\n"},
		{args: "members -wan -detailed -status=alive --filter=x", answers: map[string]string{"GET /v1/agent/members": members}, asked: "filter=x&segment=_all&wan=1",
			out: "Node  Address        Status  Tags\ns1    10.0.0.1:8301  alive   build=0.1.0:abc,dc=dc1,role=consul,vsn=2\n"},
		{args: "members -status=fail", answers: map[string]string{"GET /v1/agent/members": members},
			out: "Node  Address        Status  Type    Build  Protocol  DC   Partition  Segment\nc1    10.0.0.2:8301  failed  client  0.1.0  2         dc1  default    <default>\n"},
		{args: "members -status=^live", answers: map[string]string{"GET /v1/agent/members": members}, code: 2},
		{args: "members -status=(", code: 1, err: "read -status"},
		{args: "members extra", code: 1, err: "too many arguments"},
		{args: "members -nope", code: 1, err: "flag provided but not defined: -nope"},
		{args: "members", answers: map[string]string{"GET /v1/agent/members": "403!Permission denied"}, code: 1, err: "the agent answered 403: Permission denied"},

		{args: "join 10.0.0.1 10.0.0.2", answers: map[string]string{"PUT /v1/agent/join/10.0.0.1": ""}, err: "Error joining address '10.0.0.2'",
			out: "Successfully joined cluster by contacting 1 nodes.\n"},
		{args: "join -wan x", answers: map[string]string{"PUT /v1/agent/join/x": ""}, asked: "wan=1", out: "Successfully joined cluster by contacting 1 nodes.\n"},
		{args: "join x", code: 1, err: "failed to join any nodes"},
		{args: "join", code: 1, err: "too few arguments"},

		{args: "info", answers: map[string]string{"GET /v1/agent/self": `{"Stats":{"raft":{"term":"2","commit_index":"5"},"agent":{"checks":"0"}}}`},
			out: "agent:\n\tchecks = 0\nraft:\n\tcommit_index = 5\n\tterm = 2\n"},
		{args: "info", answers: map[string]string{"GET /v1/agent/self": `{}`}, code: 1, err: "reports nothing"},
		{args: "leave -wan -all", answers: map[string]string{"PUT /v1/federation/leave": `{"Told":3,"Missed":[]}`},
			out: "3 servers left the federation and stay in their datacenter. legate join -wan takes them back.\n"},
		{args: "leave -wan", answers: map[string]string{"PUT /v1/federation/leave": `{"Told":1,"Missed":[]}`},
			out: "1 server left the federation and stays in its datacenter. legate join -wan takes it back.\n"},
		{args: "leave -all", code: 1, err: "-all goes with -wan only"},
		{args: "federation list", answers: map[string]string{"GET /v1/federation/datacenters": `[{"Datacenter":"dc1","State":"up"},{"Datacenter":"dc2","State":"removed","Reason":"by s1.dc1"}]`},
			out: "Datacenter  State    Reason\ndc1         up       -\ndc2         removed  by s1.dc1\n"},
		{args: "federation remove dc3", answers: map[string]string{"PUT /v1/federation/datacenters/dc3": `{"Told":5,"Missed":["s9.dc2"]}`},
			out: "Datacenter dc3 is removed from the federation: its servers are refused until it is allowed again\n(legate federation allow dc3).\n5 servers know it now.\nThese did not answer and will learn it by gossip: s9.dc2\n"},
		{args: "leave", answers: map[string]string{"PUT /v1/agent/leave": ""}, out: "Graceful leave complete\n"},
		{args: "leave now", code: 1, err: "too many"},
		{args: "force-leave -prune n1", answers: map[string]string{"PUT /v1/agent/force-leave/n1": ""}, asked: "prune=1"},
		{args: "force-leave", code: 1, err: "too few"},
		{args: "reload", answers: map[string]string{"PUT /v1/agent/reload": ""}, out: "Configuration reload triggered\n"},

		{args: "rtt a b", answers: map[string]string{"GET /v1/coordinate/nodes": coordinates}, out: "Estimated a <-> b rtt: 0.610 ms (using LAN coordinates)\n"},
		{args: "rtt a", answers: map[string]string{"GET /v1/coordinate/nodes": coordinates, "GET /v1/agent/self": `{"Config":{"NodeName":"b"}}`},
			out: "Estimated a <-> b rtt: 0.610 ms (using LAN coordinates)\n"},
		{args: "rtt -wan a.dc1 c.dc2", answers: map[string]string{"GET /v1/coordinate/datacenters": wanCoordinates},
			out: "Estimated a.dc1 <-> c.dc2 rtt: 10.200 ms (using WAN coordinates)\n"},
		{args: "rtt -wan -measured a.dc1 c.dc2", answers: map[string]string{"GET /v1/coordinate/datacenters": wanCoordinates, // as a.dc1 measured it
			"GET /v1/federation/status": `[{"Datacenter":"dc1","Server":"a","Probes":[{"Server":"b.dc1","RoundTripMS":1},{"Server":"c.dc2","RoundTripMS":9.5}]}]`},
			out: "Estimated a.dc1 <-> c.dc2 rtt: 10.200 ms (using WAN coordinates)\nMeasured a.dc1 -> c.dc2 rtt: 9.500 ms (median of the last gossip probes)\n"},
		{args: "rtt -wan -measured a.dc1 c.dc2", answers: map[string]string{"GET /v1/coordinate/datacenters": wanCoordinates, // another server has no say
			"GET /v1/federation/status": `[{"Datacenter":"dc1","Server":"b","Probes":[{"Server":"c.dc2","RoundTripMS":9.5}]}]`},
			code: 1, err: "(b.dc1) has measured no round trip"},
		{args: "rtt -wan a", answers: map[string]string{"GET /v1/coordinate/datacenters": wanCoordinates, "GET /v1/agent/self": `{"Config":{"NodeName":"b","Datacenter":"dc1"}}`},
			code: 1, err: "named node.datacenter"},
		{args: "rtt a z", answers: map[string]string{"GET /v1/coordinate/nodes": coordinates}, code: 1, err: `no coordinate is known for node "z"`},
		{args: "rtt", code: 1, err: "too few"},
		{args: "rtt a b c", code: 1, err: "too many"},

		{args: "catalog datacenters", answers: map[string]string{"GET /v1/catalog/datacenters": `["dc1","dc2"]`}, out: "dc1\ndc2\n"},
		{args: "catalog nodes -datacenter=dc2 -stale -near=_agent -node-meta=k=v", asked: "dc=dc2&near=_agent&node-meta=k:v&stale=",
			answers: map[string]string{"GET /v1/catalog/nodes": `[{"ID":"0d3d5d9c-1111-2222-3333-444444444444","Node":"n1","Address":"10.0.0.1","Datacenter":"dc2"}]`},
			out:     "Node  ID        Address   DC\nn1    0d3d5d9c  10.0.0.1  dc2\n"},
		{args: "catalog nodes -detailed -service=web", answers: map[string]string{"GET /v1/catalog/service/web": `[
			{"ID":"0d3d-1","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","NodeMeta":{"b":"2","a":"1"},"TaggedAddresses":{"lan":"10.0.0.1"}},{"ID":"0d3d-1","Node":"n1","Datacenter":"dc1"}]`},
			out: "Node  ID      Address   DC   TaggedAddresses  Meta\nn1    0d3d-1  10.0.0.1  dc1  lan=10.0.0.1     a=1, b=2\n"},
		{args: "catalog nodes", answers: map[string]string{"GET /v1/catalog/nodes": `[]`}, out: "No nodes match the given query - try expanding your search.\n"},
		{args: "catalog nodes -node-meta=k", code: 1, err: "want key=value"},
		{args: "catalog services -tags", answers: map[string]string{"GET /v1/catalog/services": `{"web":["b","a"],"consul":[]}`}, out: "consul  \nweb     a,b\n"},
		{args: "catalog services -node=n1", answers: map[string]string{"GET /v1/catalog/node/n1": `{"Node":{"Node":"n1"},"Services":{"w":{"ID":"w","Service":"web"}}}`}, out: "web\n"},
		{args: "catalog services -node-meta=zone=a", answers: map[string]string{"GET /v1/catalog/services": `{"web":[]}`}, asked: "GET /v1/catalog/services?node-meta=zone:a", out: "web\n"},
		{args: "catalog nodes -filter=Node==n1", answers: map[string]string{"GET /v1/catalog/nodes": `[]`}, asked: "filter=Node==n1", out: "No nodes match the given query - try expanding your search.\n"},
		{args: "catalog services -datacenter=all -tags", asked: "GET /v1/catalog/services?cached=&dc=dc2",
			answers: map[string]string{"GET /v1/catalog/datacenters": `["dc1","dc2"]`, "GET /v1/catalog/services": `{"web":["b","a"],"consul":[]}`},
			out:     "Service  DC       Tags\nconsul   dc1,dc2  \nweb      dc1,dc2  a,b\n"},
		{args: "catalog services -datacenter=dc3,dc2", asked: "dc=dc3", answers: map[string]string{"GET /v1/catalog/services": `{"web":[]}`}, out: "Service  DC\nweb      dc3,dc2\n"},
		{args: "catalog services -datacenter=nearest", answers: map[string]string{"GET /v1/catalog/datacenters": `["dc1","dc2"]`, "GET /v1/catalog/services": `{"web":[]}`},
			out: "Service  DC\nweb      dc1\n"},
		{args: "catalog services -datacenter=dc2,dc3", answers: map[string]string{"GET /v1/catalog/services": "500!No path to datacenter"}, code: 1, err: "dc3: the agent answered 500: No path to datacenter"},
		{args: "catalog services -datacenter=dc2,", code: 1, err: "a list of datacenters is"},
		{args: "catalog nodes -datacenter=all -service=web", asked: "GET /v1/catalog/service/web?dc=all",
			answers: map[string]string{"GET /v1/catalog/service/web": `[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1"},{"ID":"","Node":"n1","Address":"10.2.0.1","Datacenter":"dc2"}]`},
			out:     "Node  ID  Address   DC\nn1        10.0.0.1  dc1\nn1        10.2.0.1  dc2\n"},
		{args: "catalog nodes -datacenter=all", answers: map[string]string{"of": "dc1;ok, dc2;stale;age=41, dc3;unreachable", "GET /v1/catalog/nodes": `[{"Node":"n1","Address":"10.0.0.1","Datacenter":"dc1"}]`},
			out: "Node  ID  Address   DC\nn1        10.0.0.1  dc1\n",
			err: "Warning: dc2 cannot be reached: what is shown of it was known 41 s ago\nWarning: dc3 cannot be reached: what it has is not shown\n"},
		{args: "catalog nope", code: 1, err: `unknown subcommand "nope"`},

		{args: "kv get a/b", answers: map[string]string{"GET /v1/kv/a/b": pair}, out: "hello\n"},
		{args: "kv get -base64 /a/b", answers: map[string]string{"GET /v1/kv/a/b": pair}, out: "aGVsbG8=\n"},
		{args: "kv get -detailed a/b", answers: map[string]string{"GET /v1/kv/a/b": pair},
			out: "CreateIndex      5\nFlags            7\nKey              a/b\nLockIndex        2\nModifyIndex      9\nSession          -\nValue            hello\n"},
		{args: "kv get -recurse a/", answers: map[string]string{"GET /v1/kv/a/": pair}, asked: "recurse=", out: "a/b:hello\n"},
		{args: "kv get -keys", answers: map[string]string{"GET /v1/kv/": `["a/","c"]`}, asked: "keys=&separator=/", out: "a/\nc\n"},
		{args: "kv get none", code: 1, err: "Error: no key exists at: none"},
		{args: "kv get", code: 1, err: "missing KEY"},
		{args: "kv get a -recurse", code: 1, err: "flags go before arguments"},
		{args: "kv put a 5", answers: map[string]string{"PUT /v1/kv/a": "true"}, asked: "PUT /v1/kv/a? 5", out: "Success! Data written to: a\n"},
		{args: "kv put -flags=3 a -", stdin: "in", answers: map[string]string{"PUT /v1/kv/a": "true"}, asked: "flags=3 in", out: "Success! Data written to: a\n"},
		{args: "kv put -base64 a aGVsbG8=", answers: map[string]string{"PUT /v1/kv/a": "true"}, asked: "? hello", out: "Success! Data written to: a\n"},
		{args: "kv put -cas -modify-index=4 a x", answers: map[string]string{"PUT /v1/kv/a": "true"}, asked: "cas=4", out: "Success! Data written to: a\n"},
		{args: "kv put -cas a x", answers: map[string]string{"PUT /v1/kv/a": "false"}, asked: "cas=0", code: 1, err: "did not write to a: CAS failed"},
		{args: "kv put -acquire -session=s a", answers: map[string]string{"PUT /v1/kv/a": "true"}, asked: "acquire=s", out: "Success! Lock acquired on: a\n"},
		{args: "kv put -release -session=s a", answers: map[string]string{"PUT /v1/kv/a": "false"}, asked: "release=s", code: 1, err: "did not release lock"},
		{args: "kv put -acquire a", code: 1, err: "need -session"},
		{args: "kv put -modify-index=3 a b", code: 1, err: "-modify-index is for -cas"},
		{args: "kv put -base64 a ?", code: 1, err: "base64"},
		{args: "kv put a @/does/not/exist", code: 1, err: "no such file"},
		{args: "kv put", code: 1, err: "too few"},
		{args: "kv put -flags=x a b", code: 1, err: "invalid value"},
		{args: "kv delete a", answers: map[string]string{"DELETE /v1/kv/a": "true"}, out: "Success! Deleted key: a\n"},
		{args: "kv delete -recurse a/", answers: map[string]string{"DELETE /v1/kv/a/": "true"}, asked: "recurse=", out: "Success! Deleted keys with prefix: a/\n"},
		{args: "kv delete -cas -modify-index=3 a", answers: map[string]string{"DELETE /v1/kv/a": "false"}, asked: "cas=3", code: 1, err: "CAS failed"},
		{args: "kv delete -cas a", code: 1, err: "given together"},
		{args: "kv gte", code: 1, err: `did you mean "get"?`},

		{args: "services register -name=web -port=80 -tag=a -tag=b -meta=k=v -tagged-address=wan=1.2.3.4:81", answers: map[string]string{"PUT /v1/agent/service/register": ""},
			asked: `"Name":"web","Tags":["a","b"],"Port":80,"TaggedAddresses":{"wan":{"Address":"1.2.3.4","Port":81}},"Meta":{"k":"v"}`, out: "Registered service: web\n"},
		{args: "services register", code: 1, err: "give -name"},
		{args: "services register -name=web -tagged-address=x=y", code: 1, err: "want tag=address:port"},
		{args: "services deregister -id=web", answers: map[string]string{"PUT /v1/agent/service/deregister/web": ""}, out: "Deregistered service: web\n"},
		{args: "services deregister", code: 1, err: "give -id"},

		{args: "maint -enable -reason=disk", answers: map[string]string{"PUT /v1/agent/maintenance": ""}, asked: "enable=true&reason=disk", out: "Node maintenance is now enabled\n"},
		{args: "maint -disable -service=web", answers: map[string]string{"PUT /v1/agent/service/maintenance/web": ""}, asked: "enable=false", out: "Service maintenance is now disabled for \"web\"\n"},
		{args: "maint", answers: map[string]string{"GET /v1/agent/self": `{"Config":{"NodeName":"n1"}}`,
			"GET /v1/agent/checks": `{"_node_maintenance":{"CheckID":"_node_maintenance","Notes":"disk"},"x":{"CheckID":"x"},"_service_maintenance:w":{"CheckID":"_service_maintenance:w","ServiceID":"w","Notes":"new"}}`},
			out: "Node:\n  Name:   n1\n  Reason: disk\nService:\n  ID:     w\n  Reason: new\n"},
		{args: "maint -enable -disable", code: 1, err: "only one of -enable and -disable"},
		{args: "maint -reason=x", code: 1, err: "-reason goes with -enable"},

		{args: "watch -type=key -key=a/b", answers: map[string]string{"GET /v1/agent/self": "{}", "GET /v1/kv/a/b": pair},
			out: "{\n    \"Key\": \"a/b\",\n    \"CreateIndex\": 5,\n    \"ModifyIndex\": 9,\n    \"LockIndex\": 2,\n    \"Flags\": 7,\n    \"Value\": \"aGVsbG8=\",\n    \"Session\": \"\"\n}\n"},
		{args: "watch -type=service -service=web -tag=a -tag=b -passingonly true -filter=x -stale -datacenter=dc2", code: 1, err: "404",
			asked: "GET /v1/health/service/web?dc=dc2&filter=x&passing=1&stale=&tag=a,b"},
		{args: "watch -type=checks -state=critical", answers: map[string]string{"GET /v1/agent/self": "{}", "GET /v1/health/state/critical": "[]"}, out: "[]\n"},
		{args: "watch -type=services", answers: map[string]string{"GET /v1/agent/self": "{}", "GET /v1/catalog/services": `{"web":["a"]}`}, out: "{\n    \"web\": [\n        \"a\"\n    ]\n}\n"},
		{args: "watch -type=event -name=e -stale", code: 1, err: "404", asked: "GET /v1/event/list?name=e"},
		{args: "watch", code: 1, err: `-type is "": want one of checks, event, key, keyprefix`},
		{args: "watch -type=keyprefix", code: 1, err: "-type=keyprefix needs -prefix"},
		{args: "watch -type=nodes -service=x", code: 1, err: "-service does not go with -type=nodes"},
		{args: "watch -type=service -service=x -passingonly=maybe", code: 1, err: "want true or false"},
		{args: "watch -type=checks -service=x -state=any", code: 1, err: "only one of -service and -state"},
		{args: "monitor", answers: map[string]string{"GET /v1/agent/monitor": "500!no"}, code: 1, err: "the agent answered 500: no"},
		{args: "debug -interval=10ms", code: 1, err: "want at least 100ms"},
		{args: "debug -interval=10s -duration=5s", code: 1, err: "shorter than -interval"},
		{args: "debug -capture=all", code: 1, err: `-capture is "all": want one of agent, host`},

		{args: "memebrs", code: 1, err: `unknown command "memebrs", did you mean "members"?`},
		{args: "version -format=xml", code: 1, err: "unknown -format"},
		{args: "keygen x", code: 1, err: "too many"},
		{args: "validate", code: 1, err: "too few"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := legate(t, c.answers, c.stdin, strings.Fields(c.args)...)
			if r.code != c.code || (c.code == 0 && r.out != c.out) || !strings.Contains(r.err, c.err) {
				t.Errorf("code %d, want %d\nout: %q\nwant %q\nerr: %q\nwant %q", r.code, c.code, r.out, c.out, r.err, c.err)
			}
			if c.code != 0 && r.out != "" {
				t.Errorf("an error is no result: %q", r.out)
			}
			if c.asked != "" && !strings.Contains(strings.Join(r.asked, "\n"), c.asked) {
				t.Errorf("asked %q, want %q", r.asked, c.asked)
			}
		})
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, row := range commands() {
		r := legate(t, nil, "", append(strings.Fields(row.name), "-h")...)
		if r.code != 0 || !strings.Contains(r.out, "Usage: legate "+row.name) || !strings.Contains(r.out, "Examples:") || !strings.Contains(r.out, "legate "+row.name) {
			t.Errorf("%s -h: code %d\n%s", row.name, r.code, r.out)
		}
		if remote := strings.Contains(r.out, "-http-addr"); remote != (row.remote != local) {
			t.Errorf("%s: -http-addr in the help: %t", row.name, remote)
		}
	}
	if r := legate(t, nil, "", "-h"); r.code != 0 || !strings.Contains(r.out, "kv") || !strings.Contains(r.out, "agent -dev") {
		t.Errorf("legate -h: %d %s", r.code, r.out)
	}
	if r := legate(t, nil, "", "kv"); r.code != 1 || !strings.Contains(r.err, "delete") {
		t.Errorf("legate kv: %d %s", r.code, r.err)
	}
	if r := legate(t, nil, "", "kv", "-h"); r.code != 0 || !strings.Contains(r.out, "\n  legate kv put app/config 5\n") || !strings.Contains(r.out, "Delete a key") {
		t.Errorf("legate kv -h: %d %s", r.code, r.out)
	}
	for _, name := range []string{"kv", "lab"} { // a group, and a command that is one, too
		if r := legate(t, nil, "", name, "strt"); r.code != 1 || !strings.Contains(r.err, `unknown subcommand "strt"`) {
			t.Errorf("legate %s strt: %d %s", name, r.code, r.err)
		}
	}
	if r := legate(t, nil, ""); r.code != 1 || !strings.Contains(r.err, "Usage: legate") {
		t.Errorf("legate: %d %s", r.code, r.err)
	}
}

func TestNoAgent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	r := legate(t, nil, "", "members", "-http-addr="+addr)
	if r.code != 1 || !strings.Contains(r.err, "no agent answers at "+addr) || !strings.Contains(r.err, "legate agent -dev") {
		t.Errorf("code %d: %s", r.code, r.err)
	}
	r = legate(t, nil, "", "members", "-http-addr=unix:///does/not/exist")
	if r.code != 1 || !strings.Contains(r.err, "Is one running?") {
		t.Errorf("code %d: %s", r.code, r.err)
	}
}

func TestServicesFromFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.hcl")
	text := `service { name = "web" port = 80 checks = [{ id = "c" http = "http://localhost/" interval = "10s" disable_redirects = true }] }`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := legate(t, map[string]string{"PUT /v1/agent/service/register": ""}, "", "services", "register", path)
	if r.code != 0 || len(r.asked) != 1 {
		t.Fatalf("code %d, asked %q, %s", r.code, r.asked, r.err)
	}
	_, body, _ := strings.Cut(r.asked[0], " {")
	var got struct {
		Name   string
		Port   int
		Check  *struct{}
		Checks []struct {
			CheckID, HTTP, Interval, Timeout string
			DisableRedirects                 bool
		}
	}
	if err := json.Unmarshal([]byte("{"+body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "web" || got.Port != 80 || got.Check != nil || len(got.Checks) != 1 || got.Checks[0].Interval != "10s" ||
		got.Checks[0].CheckID != "c" || got.Checks[0].Timeout != "" || !got.Checks[0].DisableRedirects {
		t.Errorf("registered %+v", got)
	}
	r = legate(t, map[string]string{"PUT /v1/agent/service/deregister/web": ""}, "", "services", "deregister", path)
	if r.code != 0 || r.out != "Deregistered service: web\n" {
		t.Errorf("code %d: %s %s", r.code, r.out, r.err)
	}
}

func TestTools(t *testing.T) {
	r := legate(t, nil, "", "keygen")
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.out))
	if r.code != 0 || err != nil || len(key) != 32 {
		t.Errorf("keygen: %q, %v", r.out, err)
	}
	if again := legate(t, nil, "", "keygen"); again.out == r.out {
		t.Error("two keys are the same")
	}
	r = legate(t, nil, "", "version", "-format=json")
	var info map[string]any
	if err := json.Unmarshal([]byte(r.out), &info); err != nil || info["Version"] == "" {
		t.Errorf("version: %q, %v", r.out, err)
	}
	if r := legate(t, nil, "", "-version"); r.code != 0 || !strings.HasPrefix(r.out, "Legate v") {
		t.Errorf("-version: %q", r.out)
	}
	good, bad := filepath.Join(t.TempDir(), "a.hcl"), filepath.Join(t.TempDir(), "b.json")
	_ = os.WriteFile(good, []byte(`data_dir = "/d" bind_addr = "10.0.0.1" acl { enabled = true }`), 0o600)
	_ = os.WriteFile(bad, []byte(`{"data_dri":"/d","ports":{"http":-5}}`), 0o600)
	for _, command := range []string{"validate", "configtest"} {
		r = legate(t, nil, "", command, good)
		if r.code != 0 || r.out != "Configuration is valid!\n" || !strings.Contains(r.err, "acl.enabled is accepted but has no effect yet") {
			t.Errorf("%s: %d %q %q", command, r.code, r.out, r.err)
		}
		r = legate(t, nil, "", command, bad)
		if r.code != 1 || !strings.Contains(r.err, bad+`: data_dri: unknown key, did you mean "data_dir"?`) {
			t.Errorf("%s: %d %q", command, r.code, r.err)
		}
	}
	if r = legate(t, nil, "", "validate", "-quiet", good); r.out != "" || r.code != 0 {
		t.Errorf("-quiet says %q", r.out)
	}
}

package catalogcmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{Datacenters(), Nodes(), Services(), Register(), Deregister(), Maint()}
}

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "catalog datacenters", Answers: commandtest.Answers{"GET /v1/catalog/datacenters": `["dc1","dc2"]`}, Out: "dc1\ndc2\n"},
		{Args: "catalog nodes -datacenter=dc2 -stale -near=_agent -node-meta=k=v", Asked: "dc=dc2&near=_agent&node-meta=k:v&stale=",
			Answers: commandtest.Answers{"GET /v1/catalog/nodes": `[{"ID":"0d3d5d9c-1111-2222-3333-444444444444","Node":"n1","Address":"10.0.0.1","Datacenter":"dc2"}]`},
			Out:     "Node  ID        Address   DC\nn1    0d3d5d9c  10.0.0.1  dc2\n"},
		{Args: "catalog nodes -detailed -service=web", Answers: commandtest.Answers{"GET /v1/catalog/service/web": `[
			{"ID":"0d3d-1","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","NodeMeta":{"b":"2","a":"1"},"TaggedAddresses":{"lan":"10.0.0.1"}},{"ID":"0d3d-1","Node":"n1","Datacenter":"dc1"}]`},
			Out: "Node  ID      Address   DC   TaggedAddresses  Meta\nn1    0d3d-1  10.0.0.1  dc1  lan=10.0.0.1     a=1, b=2\n"},
		{Args: "catalog nodes", Answers: commandtest.Answers{"GET /v1/catalog/nodes": `[]`}, Out: "No nodes match the given query - try expanding your search.\n"},
		{Args: "catalog nodes -node-meta=k", Code: 1, Err: "want key=value"},
		{Args: "catalog services -tags", Answers: commandtest.Answers{"GET /v1/catalog/services": `{"web":["b","a"],"consul":[]}`}, Out: "consul  \nweb     a,b\n"},
		{Args: "catalog services -node=n1", Answers: commandtest.Answers{"GET /v1/catalog/node/n1": `{"Node":{"Node":"n1"},"Services":{"w":{"ID":"w","Service":"web"}}}`}, Out: "web\n"},
		{Args: "catalog services -node-meta=zone=a", Answers: commandtest.Answers{"GET /v1/catalog/services": `{"web":[]}`}, Asked: "GET /v1/catalog/services?node-meta=zone:a", Out: "web\n"},
		{Args: "catalog nodes -filter=Node==n1", Answers: commandtest.Answers{"GET /v1/catalog/nodes": `[]`}, Asked: "filter=Node==n1", Out: "No nodes match the given query - try expanding your search.\n"},
		{Args: "catalog services -datacenter=all -tags", Asked: "GET /v1/catalog/services?cached=&dc=dc2",
			Answers: commandtest.Answers{"GET /v1/catalog/datacenters": `["dc1","dc2"]`, "GET /v1/catalog/services": `{"web":["b","a"],"consul":[]}`},
			Out:     "Service  DC       Tags\nconsul   dc1,dc2  \nweb      dc1,dc2  a,b\n"},
		{Args: "catalog services -datacenter=dc3,dc2", Asked: "dc=dc3", Answers: commandtest.Answers{"GET /v1/catalog/services": `{"web":[]}`}, Out: "Service  DC\nweb      dc3,dc2\n"},
		{Args: "catalog services -datacenter=nearest", Answers: commandtest.Answers{"GET /v1/catalog/datacenters": `["dc1","dc2"]`, "GET /v1/catalog/services": `{"web":[]}`},
			Out: "Service  DC\nweb      dc1\n"},
		{Args: "catalog services -datacenter=dc2,dc3", Answers: commandtest.Answers{"GET /v1/catalog/services": "500!No path to datacenter"}, Code: 1, Err: "dc3: the agent answered 500: No path to datacenter"},
		{Args: "catalog services -datacenter=dc2,", Code: 1, Err: "a list of datacenters is"},
		{Args: "catalog nodes -datacenter=all -service=web", Asked: "GET /v1/catalog/service/web?dc=all",
			Answers: commandtest.Answers{"GET /v1/catalog/service/web": `[{"ID":"","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1"},{"ID":"","Node":"n1","Address":"10.2.0.1","Datacenter":"dc2"}]`},
			Out:     "Node  ID  Address   DC\nn1        10.0.0.1  dc1\nn1        10.2.0.1  dc2\n"},
		{Args: "catalog nodes -datacenter=all", Answers: commandtest.Answers{"of": "dc1;ok, dc2;stale;age=41, dc3;unreachable", "GET /v1/catalog/nodes": `[{"Node":"n1","Address":"10.0.0.1","Datacenter":"dc1"}]`},
			Out: "Node  ID  Address   DC\nn1        10.0.0.1  dc1\n",
			Err: "Warning: dc2 cannot be reached: what is shown of it was known 41 s ago\nWarning: dc3 cannot be reached: what it has is not shown\n"},
		{Args: "services register -name=web -port=80 -tag=a -tag=b -meta=k=v -tagged-address=wan=1.2.3.4:81", Answers: commandtest.Answers{"PUT /v1/agent/service/register": ""},
			Asked: `"Name":"web","Tags":["a","b"],"Port":80,"TaggedAddresses":{"wan":{"Address":"1.2.3.4","Port":81}},"Meta":{"k":"v"}`, Out: "Registered service: web\n"},
		{Args: "services register", Code: 1, Err: "give -name"},
		{Args: "services register -name=web -tagged-address=x=y", Code: 1, Err: "want tag=address:port"},
		{Args: "services deregister -id=web", Answers: commandtest.Answers{"PUT /v1/agent/service/deregister/web": ""}, Out: "Deregistered service: web\n"},
		{Args: "services deregister", Code: 1, Err: "give -id"},
		{Args: "maint -enable -reason=disk", Answers: commandtest.Answers{"PUT /v1/agent/maintenance": ""}, Asked: "enable=true&reason=disk", Out: "Node maintenance is now enabled\n"},
		{Args: "maint -disable -service=web", Answers: commandtest.Answers{"PUT /v1/agent/service/maintenance/web": ""}, Asked: "enable=false", Out: "Service maintenance is now disabled for \"web\"\n"},
		{Args: "maint", Answers: commandtest.Answers{"GET /v1/agent/self": `{"Config":{"NodeName":"n1"}}`,
			"GET /v1/agent/checks": `{"_node_maintenance":{"CheckID":"_node_maintenance","Notes":"disk"},"x":{"CheckID":"x"},"_service_maintenance:w":{"CheckID":"_service_maintenance:w","ServiceID":"w","Notes":"new"}}`},
			Out: "Node:\n  Name:   n1\n  Reason: disk\nService:\n  ID:     w\n  Reason: new\n"},
		{Args: "maint -enable -disable", Code: 1, Err: "only one of -enable and -disable"},
		{Args: "maint -reason=x", Code: 1, Err: "-reason goes with -enable"},
	})
}

func TestServicesFromFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.hcl")
	text := `service { name = "web" port = 80 checks = [{ id = "c" http = "http://localhost/" interval = "10s" disable_redirects = true }] }`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := commandtest.Run(t, commands(), commandtest.Answers{"PUT /v1/agent/service/register": ""}, "", "services", "register", path)
	if r.Code != 0 || len(r.Asked) != 1 {
		t.Fatalf("code %d, asked %q, %s", r.Code, r.Asked, r.Err)
	}
	_, body, _ := strings.Cut(r.Asked[0], " {")
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
	r = commandtest.Run(t, commands(), commandtest.Answers{"PUT /v1/agent/service/deregister/web": ""}, "", "services", "deregister", path)
	if r.Code != 0 || r.Out != "Deregistered service: web\n" {
		t.Errorf("code %d: %s %s", r.Code, r.Out, r.Err)
	}
}

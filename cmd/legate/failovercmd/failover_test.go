package failovercmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func TestCommands(t *testing.T) {
	const rules = `[{"Service":"shop-*","Datacenters":["dc2","nearest"],"CreateIndex":5,"ModifyIndex":5}]`
	const why = `{"Service":"web","Rule":null,"Configured":null,"Looked":[{"Datacenter":"dc1","Healthy":0,"Passing":0,"Age":0},` +
		`{"Datacenter":"dc2","Healthy":2,"Passing":1,"Age":41.2},{"Datacenter":"dc3","Healthy":0,"Passing":0,"Age":0,"Error":"No path to datacenter"}],"DNS":"dc2","HTTP":"dc2","Why":"dc1 has none"}`
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "failover list", Answers: commandtest.Answers{"GET /v1/failover": rules}, Out: "Service  Datacenters\nshop-*   dc2, nearest\n"},
		{Args: "failover list", Answers: commandtest.Answers{"GET /v1/failover": "[]"}, Err: "No service fails over."},
		{Args: "failover list -format=xml", Code: 1, Err: "want pretty or json"},
		{Args: "failover set -service=shop-* -to=dc2,nearest -datacenter=dc3", Answers: commandtest.Answers{"PUT /v1/failover/shop-*": `{"Service":"shop-*","Datacenters":["dc2","nearest"]}`, "GET /v1/catalog/datacenters": `["dc1","dc3"]`}, Out: "shop-* fails over to dc2, nearest\n", Err: "Warning: no datacenter dc2 is known here now"},
		{Args: "failover set -service=web", Code: 1, Err: "want -service and -to"},
		{Args: "failover delete -service=shop-*", Answers: commandtest.Answers{"DELETE /v1/failover/shop-*": "true"}, Out: "There is no rule for shop-*\n"},
		{Args: "failover delete -service=web", Answers: commandtest.Answers{"DELETE /v1/failover/web": "true"}, Out: "There is no rule for web\n"},
		{Args: "failover delete", Code: 1, Err: "want -service"},
		{Args: "failover explain -service=web", Answers: commandtest.Answers{"GET /v1/failover/explain/web": why},
			Out: "Datacenter  Healthy  Passing  As of     Answers\ndc1         0        0        now       \ndc2         2        1        41 s ago  DNS, HTTP\ndc3         -        -        -         No path to datacenter\n\ndc1 has none.\n"},
		{Args: "failover explain", Code: 1, Err: "want -service"},
	})
}

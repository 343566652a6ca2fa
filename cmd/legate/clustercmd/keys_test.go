package clustercmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

// The status of the federation says how far behind keys of other datacenters are.
func TestTheStatusHasTheKeysThatFollow(t *testing.T) {
	const views = `[{"Datacenter":"dc2","Server":"s1","Leader":"s1","Links":[]}]`
	const none = "Datacenter dc2, led by s1, as s1 sees the others:\nno other datacenter is known\n"
	const rules = `{"Datacenter":"dc2","Rules":[{"Datacenter":"dc1","Prefix":"config/","Target":"c/","Mode":"mirror","State":"following","Bytes":2048},` +
		`{"Datacenter":"dc3","Prefix":"","Target":"all/","Mode":"mirror","State":"failing","Error":"No path to datacenter","LagSeconds":90,"LagEntries":3,"Conflicts":2}]}`
	commandtest.Check(t, []command.Command{FederationStatus()}, []commandtest.Case{
		{Args: "federation status", Answers: commandtest.Answers{"GET /v1/federation/status": views, "GET /v1/operator/kv-replication": rules}, Out: none +
			"Keys \"config/\" of dc1 at \"c/\": following, 0.0 s and 0 behind, 2.0 kB came, 0 conflicts\n" +
			"Keys \"\" of dc3 at \"all/\": failing, 90 s and 3 behind, 0 B came, 2 conflicts: No path to datacenter\n"},
		{Args: "federation status", Answers: commandtest.Answers{"GET /v1/federation/status": views}, Out: none},
	})
}

package clustercmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

func commands() []command.Command {
	return []command.Command{Members(), Join(), Leave(), ForceLeave(), Reload(), Ready(), RTT(), Keyring(),
		FederationStatus(), FederationList(), FederationRemove(), FederationAllow(), FederationPrimary()}
}

const members = `[
{"Name":"s1","Addr":"10.0.0.1","Port":8301,"Status":1,"Tags":{"role":"consul","build":"0.1.0:abc","vsn":"2","dc":"dc1"}},
{"Name":"c1","Addr":"10.0.0.2","Port":8301,"Status":4,"Tags":{"role":"node","build":"0.1.0","vsn":"2","dc":"dc1"}}]`

const coordinates = `[{"Node":"a","Segment":"","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.0001}},
{"Node":"b","Segment":"","Coord":{"Vec":[0.0004,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.00011}}]`

const wanCoordinates = `[{"Datacenter":"dc1","AreaID":"wan","Coordinates":` + coordinates + `},
{"Datacenter":"dc2","AreaID":"wan","Coordinates":[{"Node":"c.dc2","Coord":{"Vec":[0.01,0,0,0,0,0,0,0],"Error":1,"Adjustment":0,"Height":0.0001}}]}]`

func TestCommands(t *testing.T) {
	commandtest.Check(t, commands(), []commandtest.Case{
		{Args: "members", Answers: commandtest.Answers{"GET /v1/agent/members": members},
			Out: "Node  Address        Status  Type    Build  Protocol  DC   Partition  Segment\n" +
				"c1    10.0.0.2:8301  failed  client  0.1.0  2         dc1  default    <default>\n" +
				"s1    10.0.0.1:8301  alive   server  0.1.0  2         dc1  default    <all>\n"},
		{Args: "members -wan -detailed -status=alive --filter=x", Answers: commandtest.Answers{"GET /v1/agent/members": members}, Asked: "filter=x&segment=_all&wan=1",
			Out: "Node  Address        Status  Tags\ns1    10.0.0.1:8301  alive   build=0.1.0:abc,dc=dc1,role=consul,vsn=2\n"},
		{Args: "members -status=fail", Answers: commandtest.Answers{"GET /v1/agent/members": members},
			Out: "Node  Address        Status  Type    Build  Protocol  DC   Partition  Segment\nc1    10.0.0.2:8301  failed  client  0.1.0  2         dc1  default    <default>\n"},
		{Args: "members -status=^live", Answers: commandtest.Answers{"GET /v1/agent/members": members}, Code: 2},
		{Args: "members -status=(", Code: 1, Err: "read -status"},
		{Args: "members extra", Code: 1, Err: "too many arguments"},
		{Args: "members -nope", Code: 1, Err: "flag provided but not defined: -nope"},
		{Args: "members", Answers: commandtest.Answers{"GET /v1/agent/members": "403!Permission denied"}, Code: 1, Err: "the agent answered 403: Permission denied"},
		{Args: "ready", Answers: commandtest.Answers{"GET /v1/agent/ready": `{"Status":"ready"}`}, Out: "ready\n"},
		{Args: "ready -wait=1ms", Answers: commandtest.Answers{"GET /v1/agent/ready": `503!{"Status":"leaving","Reason":"The agent leaves or ends"}`}, Code: 1, Err: "the agent is not ready: leaving: The agent leaves"},
		{Args: "ready", Answers: commandtest.Answers{"GET /v1/agent/ready": "403!Endpoint is blocked"}, Code: 1, Err: "the agent answered 403: Endpoint is blocked"},
		{Args: "join 10.0.0.1 10.0.0.2", Answers: commandtest.Answers{"PUT /v1/agent/join/10.0.0.1": ""}, Err: "Error joining address '10.0.0.2'",
			Out: "Successfully joined cluster by contacting 1 nodes.\n"},
		{Args: "join -wan x", Answers: commandtest.Answers{"PUT /v1/agent/join/x": ""}, Asked: "wan=1", Out: "Successfully joined cluster by contacting 1 nodes.\n"},
		{Args: "join x", Code: 1, Err: "failed to join any nodes"},
		{Args: "join", Code: 1, Err: "too few arguments"},
		{Args: "leave -wan -all", Answers: commandtest.Answers{"PUT /v1/federation/leave": `{"Told":3,"Missed":[]}`},
			Out: "3 servers left the federation and stay in their datacenter. legate join -wan takes them back.\n"},
		{Args: "leave -wan", Answers: commandtest.Answers{"PUT /v1/federation/leave": `{"Told":1,"Missed":[]}`},
			Out: "1 server left the federation and stays in its datacenter. legate join -wan takes it back.\n"},
		{Args: "leave -all", Code: 1, Err: "-all goes with -wan only"},
		{Args: "federation list", Answers: commandtest.Answers{"GET /v1/federation/datacenters": `[{"Datacenter":"dc1","State":"up"},{"Datacenter":"dc2","State":"removed","Reason":"by s1.dc1"}]`},
			Out: "Datacenter  State    Reason\ndc1         up       -\ndc2         removed  by s1.dc1\n"},
		{Args: "federation remove dc3", Answers: commandtest.Answers{"PUT /v1/federation/datacenters/dc3": `{"Told":5,"Missed":["s9.dc2"]}`},
			Out: "Datacenter dc3 is removed from the federation: its servers are refused until it is allowed again\n(legate federation allow dc3).\n5 servers know it now.\nThese did not answer and will learn it by gossip: s9.dc2\n"},
		{Args: "federation primary", Answers: commandtest.Answers{"GET /v1/federation/primary": `{"Home":"dc2","Version":1700000000000,"By":"s1.dc2","Datacenters":[
			{"Datacenter":"dc1","Enabled":true,"Running":true,"ReplicatedIndex":7},{"Datacenter":"dc2"},{"Datacenter":"dc3","Error":"No path to datacenter"},
			{"Datacenter":"dc4","Enabled":true,"ReplicatedIndex":5,"LastErrorMessage":"No cluster leader"}]}`},
			Out: "The home of access control is dc2, since 2023-11-14T22:13:20Z, by s1.dc2.\n" +
				"Datacenter  Copies        Index of the home  Known to be current  Last error\n" +
				"dc1         followed      7                  -                    -\n" +
				"dc2         home          -                  -                    -\n" +
				"dc3         unknown       -                  -                    No path to datacenter\n" +
				"dc4         not followed  5                  -                    No cluster leader\n"},
		{Args: "federation primary -force dc3", Answers: commandtest.Answers{"PUT /v1/federation/primary/dc3": `{"Home":"dc3","From":"dc1","Told":3,"Missed":["s1.dc1"]}`},
			Out: "Datacenter dc3 is the home of access control now, after dc1.\n3 servers know it now.\nThese did not answer and will learn it by gossip: s1.dc1\n"},
		{Args: "federation primary -force", Code: 1, Err: "-force needs"},
		{Args: "leave", Answers: commandtest.Answers{"PUT /v1/agent/leave": ""}, Out: "Graceful leave complete\n"},
		{Args: "leave now", Code: 1, Err: "too many"},
		{Args: "force-leave -prune n1", Answers: commandtest.Answers{"PUT /v1/agent/force-leave/n1": ""}, Asked: "prune=1"},
		{Args: "force-leave", Code: 1, Err: "too few"},
		{Args: "reload", Answers: commandtest.Answers{"PUT /v1/agent/reload": ""}, Out: "Configuration reload triggered\n"},
		{Args: "rtt a b", Answers: commandtest.Answers{"GET /v1/coordinate/nodes": coordinates}, Out: "Estimated a <-> b rtt: 0.610 ms (using LAN coordinates)\n"},
		{Args: "rtt a", Answers: commandtest.Answers{"GET /v1/coordinate/nodes": coordinates, "GET /v1/agent/self": `{"Config":{"NodeName":"b"}}`},
			Out: "Estimated a <-> b rtt: 0.610 ms (using LAN coordinates)\n"},
		{Args: "rtt -wan a.dc1 c.dc2", Answers: commandtest.Answers{"GET /v1/coordinate/datacenters": wanCoordinates},
			Out: "Estimated a.dc1 <-> c.dc2 rtt: 10.200 ms (using WAN coordinates)\n"},
		{Args: "rtt -wan -measured a.dc1 c.dc2", Answers: commandtest.Answers{"GET /v1/coordinate/datacenters": wanCoordinates, // as a.dc1 measured it
			"GET /v1/federation/status": `[{"Datacenter":"dc1","Server":"a","Probes":[{"Server":"b.dc1","RoundTripMS":1},{"Server":"c.dc2","RoundTripMS":9.5}]}]`},
			Out: "Estimated a.dc1 <-> c.dc2 rtt: 10.200 ms (using WAN coordinates)\nMeasured a.dc1 -> c.dc2 rtt: 9.500 ms (median of the last gossip probes)\n"},
		{Args: "rtt -wan -measured a.dc1 c.dc2", Answers: commandtest.Answers{"GET /v1/coordinate/datacenters": wanCoordinates, // another server has no say
			"GET /v1/federation/status": `[{"Datacenter":"dc1","Server":"b","Probes":[{"Server":"c.dc2","RoundTripMS":9.5}]}]`},
			Code: 1, Err: "(b.dc1) has measured no round trip"},
		{Args: "rtt -wan a", Answers: commandtest.Answers{"GET /v1/coordinate/datacenters": wanCoordinates, "GET /v1/agent/self": `{"Config":{"NodeName":"b","Datacenter":"dc1"}}`},
			Code: 1, Err: "named node.datacenter"},
		{Args: "rtt a z", Answers: commandtest.Answers{"GET /v1/coordinate/nodes": coordinates}, Code: 1, Err: `no coordinate is known for node "z"`},
		{Args: "rtt", Code: 1, Err: "too few"},
		{Args: "rtt a b c", Code: 1, Err: "too many"},
	})
}

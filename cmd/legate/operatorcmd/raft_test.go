package operatorcmd

import (
	"testing"

	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

const group = `{"Index":7,"Servers":[
{"ID":"a","Node":"s1","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"3","Voter":true,"LastIndex":90},
{"ID":"b","Node":"s2","Address":"10.0.0.2:8300","ProtocolVersion":"3","Voter":true,"LastIndex":89},
{"ID":"c","Node":"(unknown)","Address":"10.0.0.3:8300","ProtocolVersion":"3","Voter":false,"LastIndex":0}]}`

func TestCommands(t *testing.T) {
	const configuration, peer, transfer, members = "GET /v1/operator/raft/configuration", "DELETE /v1/operator/raft/peer", "POST /v1/operator/raft/transfer-leader", "GET /v1/agent/members"
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "operator raft list-peers", Answers: commandtest.Answers{configuration: group},
			Out: "Node       ID  Address        State     Voter  RaftProtocol  Commit Index  Trails Leader By\n" +
				"s1         a   10.0.0.1:8300  leader    true   3             90            -\n" +
				"s2         b   10.0.0.2:8300  follower  true   3             89            1 commit\n" +
				"(unknown)  c   10.0.0.3:8300  follower  false  3             -             -\n"},
		{Args: "operator raft list-peers", Answers: commandtest.Answers{configuration: "500!No cluster leader"}, Code: 1, Err: "the agent answered 500: No cluster leader"},
		{Args: "operator raft remove-peer -id=c", Answers: commandtest.Answers{configuration: group, peer: "", members: `[]`}, Out: "Removed peer with id \"c\"\n"},
		{Args: "operator raft remove-peer -address=10.0.0.2:8300", Asked: "address=10.0.0.2:8300",
			Answers: commandtest.Answers{configuration: group, peer: "", members: `[{"Name":"s2","Status":1,"Tags":{"id":"b"}}]`},
			Out:     "Removed peer with address \"10.0.0.2:8300\"\n", Err: "It is alive, so it will be added again"},
		{Args: "operator raft remove-peer", Code: 1, Err: "either -id or -address"},
		{Args: "operator raft remove-peer -id=a -address=b", Code: 1, Err: "either -id or -address"},
		{Args: "operator raft remove-peer -id=x", Answers: commandtest.Answers{configuration: group, peer: `500!id "x" was not found in the Raft configuration`}, Code: 1, Err: `id "x" was not found in the Raft configuration`},
		{Args: "operator raft transfer-leader -id=b", Answers: commandtest.Answers{transfer: `{"Success":true}`}, Asked: "id=b", Out: "Success\n"},
		{Args: "operator raft transfer-leader", Answers: commandtest.Answers{transfer: `{"Success":false}`}, Code: 1, Err: "leadership was not transferred"},
	})
}

package operator

import (
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/state/status"
)

func TestTheRaftConfigurationIsShown(t *testing.T) {
	caller := &resttest.Caller{Answers: map[string]any{
		"status.raft": &status.RaftConfiguration{Servers: []status.RaftServer{{ID: "id", Node: "n1", Address: "10.0.0.1:8300", Leader: true, Voter: true}}, Index: 1}}}
	resttest.Serve(t, (&API{Caller: caller}).Routes()).Check(t, resttest.Case{"GET", "/v1/operator/raft/configuration", "", 200, `{"Servers":[{"ID":"id","Node":"n1","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"","Voter":true,"LastIndex":0}],"Index":1}`})
}

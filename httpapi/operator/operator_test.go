package operator

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/state/status"
)

func TestTheRaftConfigurationIsShown(t *testing.T) {
	caller := &resttest.Caller{Answers: map[string]any{
		"status.raft": &status.RaftConfiguration{Servers: []status.RaftServer{{ID: "id", Node: "n1", Address: "10.0.0.1:8300", Leader: true, Voter: true}}, Index: 1}}}
	resttest.Serve(t, (&API{Caller: caller}).Routes()).Check(t, resttest.Case{"GET", "/v1/operator/raft/configuration", "", 200, `{"Servers":[{"ID":"id","Node":"n1","Address":"10.0.0.1:8300","Leader":true,"ProtocolVersion":"","Voter":true,"LastIndex":0}],"Index":1}`})
}

func TestTheConsensusGroupIsChanged(t *testing.T) {
	caller := &resttest.Caller{Answers: map[string]any{"status.remove-peer": &status.RaftServer{ID: "id"}, "status.transfer-leader": nil}}
	resttest.Serve(t, (&API{Caller: caller}).Routes()).Check(t,
		resttest.Case{"DELETE", "/v1/operator/raft/peer?id=x", "", 200, ""},
		resttest.Case{"DELETE", "/v1/operator/raft/peer?address=10.0.0.1:8300", "", 200, ""},
		resttest.Case{"DELETE", "/v1/operator/raft/peer", "", 400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"},
		resttest.Case{"DELETE", "/v1/operator/raft/peer?id=x&address=y", "", 400, "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove"},
		resttest.Case{"POST", "/v1/operator/raft/transfer-leader", "", 200, `{"Success":true}`},
		resttest.Case{"PUT", "/v1/operator/raft/transfer-leader?id=x", "", 200, `{"Success":true}`},
	)
}

// Clocks are beside that of the agent that is asked: what a server measured of others is
// shifted by how its own stands.
func TestClocksAreShown(t *testing.T) {
	now := time.Now().Add(time.Hour)
	caller := &resttest.Caller{Answers: map[string]any{"status.clock": &status.Clocks{Server: "s1", Datacenter: "dc1", Received: now, Sent: now,
		Others: []status.Clock{{Server: "s2", Datacenter: "dc1", OffsetMS: -3_600_000, WithinMS: 1}, {Datacenter: "dc2", Error: "silent"}}}}}
	s := resttest.Serve(t, (&API{Caller: caller}).Routes())
	var shown []status.Clock
	if err := json.Unmarshal(s.Do("GET", "/v1/operator/clocks", "").Body.Bytes(), &shown); err != nil || len(shown) != 3 {
		t.Fatalf("%v: %+v", err, shown)
	}
	if c := shown[0]; c.Server != "s1" || math.Abs(c.OffsetMS-3_600_000) > 60_000 {
		t.Errorf("the server that was asked: %+v", c)
	}
	if c := shown[1]; c.Server != "s2" || math.Abs(c.OffsetMS) > 60_000 || c.WithinMS < 1 {
		t.Errorf("one that it asked: %+v", c)
	}
	if c := shown[2]; c.Error != "silent" || c.OffsetMS != 0 {
		t.Errorf("one that is silent: %+v", c)
	}
}

func TestKeyringsAreShownAndChanged(t *testing.T) {
	lan := status.Keyring{Datacenter: "dc1", Keys: map[string]int{"a": 2}, PrimaryKeys: map[string]int{"a": 2}, NumNodes: 2}
	away := status.Keyring{Datacenter: "dc2", Error: "it cannot be reached", Messages: map[string]string{"dc2": "it cannot be reached"}, Keys: map[string]int{}, PrimaryKeys: map[string]int{}}
	mute := lan
	mute.Members = []status.KeyringMember{{Name: "n2", Status: "alive"}, {Name: "n3", Status: "failed"}, {Name: "n4", Status: "alive", Answered: true, Error: "full"}}
	const shown = `[{"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"a":2},"PrimaryKeys":{"a":2},"NumNodes":2}]`
	const body = `{"Key":"MTIzNDU2Nzg5MDEyMzQ1Ng=="}`
	caller := &resttest.Caller{Answers: map[string]any{
		"keyring.list": &status.Keyrings{Keyrings: []status.Keyring{lan}}, "keyring.change": &status.Keyrings{Keyrings: []status.Keyring{lan}},
		"keyring.wan": &status.Keyrings{Keyrings: []status.Keyring{lan}}}}
	s := resttest.Serve(t, (&API{Caller: caller}).Routes())
	s.Check(t,
		resttest.Case{"GET", "/v1/operator/keyring?relay-factor=5", "", 200, shown},
		resttest.Case{"GET", "/v1/operator/keyring?relay-factor=6", "", 400, "Relay factor must be in range: [0, 5]"},
		resttest.Case{"GET", "/v1/operator/keyring?relay-factor=x", "", 400, "Invalid value for ?relay-factor: want a whole number from 0"},
		resttest.Case{"GET", "/v1/operator/keyring?local-only=maybe", "", 400, "Invalid value for ?local-only"},
		resttest.Case{"POST", "/v1/operator/keyring", body, 200, shown},
		resttest.Case{"PUT", "/v1/operator/keyring", body, 200, shown},
		resttest.Case{"DELETE", "/v1/operator/keyring?force", body, 200, shown},
		resttest.Case{"GET", "/v1/operator/keyring/wan", "", 200, shown},
		resttest.Case{"POST", "/v1/operator/keyring/wan?force", body, 200, shown},
		resttest.Case{"PUT", "/v1/operator/keyring/wan", body, 200, shown},
		resttest.Case{"DELETE", "/v1/operator/keyring/wan", body, 200, shown},
		resttest.Case{"DELETE", "/v1/operator/keyring?local-only", body, 400, "local-only goes with listing keys only: a key is changed everywhere"},
		resttest.Case{"POST", "/v1/operator/keyring", `{"Key":"no key!"}`, 400, "Invalid Key: want a gossip key of 16, 24 or 32 bytes in base64"},
		resttest.Case{"POST", "/v1/operator/keyring", `{}`, 400, "Invalid Key: want a gossip key of 16, 24 or 32 bytes in base64"},
		resttest.Case{"POST", "/v1/operator/keyring", `nothing`, 400, "Request decode failed: invalid character 'o' in literal null (expecting 'u')"},
	)
	caller.Answers["keyring.list"] = &status.Keyrings{Keyrings: []status.Keyring{away}}
	caller.Answers["keyring.change"] = &status.Keyrings{Keyrings: []status.Keyring{lan, mute, away}}
	s.Check(t, resttest.Case{"GET", "/v1/operator/keyring", "", 200, `[{"WAN":false,"Datacenter":"dc2","Segment":"","Messages":{"dc2":"it cannot be reached"},"Keys":{},"PrimaryKeys":{},"NumNodes":0,"Error":"it cannot be reached"}]`},
		resttest.Case{"POST", "/v1/operator/keyring", body, 500, "not done everywhere (install): LAN pool of dc1: n2 did not answer; LAN pool of dc1: n4: full; LAN pool of dc2: it cannot be reached"},
	)
	caller.Answers["keyring.change"] = &status.Keyrings{Keyrings: []status.Keyring{mute}}
	s.Check(t,
		resttest.Case{"POST", "/v1/operator/keyring?report", body, 200,
			`[{"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"a":2},"PrimaryKeys":{"a":2},"NumNodes":2,"Members":[{"Name":"n2","Status":"alive","Server":false,"Answered":false},{"Name":"n3","Status":"failed","Server":false,"Answered":false},{"Name":"n4","Status":"alive","Server":false,"Answered":true,"Error":"full"}]}]`},
	)
}

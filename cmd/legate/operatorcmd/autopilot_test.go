package operatorcmd

import (
	"strings"
	"testing"

	"github.com/legate-project/legate/cmd/legate/command/commandtest"
)

const (
	configured = `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":3,"ServerStabilizationTime":"10s","RedundancyZoneTag":"zone","ModifyIndex":7}`
	health     = `{"Healthy":false,"FailureTolerance":1,"OptimisticFailureTolerance":2,"Leader":"a","Voters":["a"],"ReadReplicas":["b"],
"RedundancyZones":{"z1":{"Servers":["a","b"],"Voters":["a"],"FailureTolerance":1}},"Servers":{
"a":{"ID":"a","Name":"s1","Address":"10.0.0.1:8300","NodeStatus":"alive","Version":"1.21.0","LastContact":"0s","LastTerm":2,"LastIndex":30,"Healthy":true,
"StableSince":"2026-11-01T02:03:04Z","RedundancyZone":"z1","Status":"leader","NodeType":"zone-voter","Meta":{"k":"v"}},
"b":{"ID":"b","Name":"s2","NodeStatus":"failed","LastContact":"3s","Status":"non-voter","NodeType":"read-replica"}}}`
	pretty = `Healthy:                      false
Failure Tolerance:            1
Optimistic Failure Tolerance: 2
Leader:                       a
Voters:
   a
Read Replicas:
   b
Redundancy Zones:
   z1
      Servers:           a, b
      Voters:            a
      Failure Tolerance: 1
Servers:
   a
      Name:            s1
      Address:         10.0.0.1:8300
      Version:         1.21.0
      Status:          leader
      Node Type:       zone-voter
      Node Status:     alive
      Healthy:         true
      Stable Since:    2026-11-01T02:03:04Z
      Last Contact:    0s
      Last Term:       2
      Last Index:      30
      Redundancy Zone: z1
      Meta "k": "v"
   b
      Name:            s2
      Address:         
      Version:         
      Status:          non-voter
      Node Type:       read-replica
      Node Status:     failed
      Healthy:         false
      Stable Since:    never
      Last Contact:    3s
      Last Term:       0
      Last Index:      0
`
	counted = `{"Usage":{"dc1":{"Services":4,"BillableServiceInstances":3,"ConnectServiceInstances":{"connect-proxy":1,"connect-native":2}},"dc2":{"Services":1,"BillableServiceInstances":5}}}`
)

func TestAutopilotAndUsage(t *testing.T) {
	const get, set, state, usage = "GET /v1/operator/autopilot/configuration", "PUT /v1/operator/autopilot/configuration", "GET /v1/operator/autopilot/state", "GET /v1/operator/usage"
	commandtest.Check(t, Commands(), []commandtest.Case{
		{Args: "operator autopilot get-config", Answers: commandtest.Answers{get: configured},
			Out: "CleanupDeadServers = true\nLastContactThreshold = 200ms\nMaxTrailingLogs = 250\nMinQuorum = 3\nServerStabilizationTime = 10s\n" +
				"RedundancyZoneTag = \"zone\"\nDisableUpgradeMigration = false\nUpgradeVersionTag = \"\"\n"},
		{Args: "operator autopilot set-config -min-quorum=5 -cleanup-dead-servers=false -server-stabilization-time=1m -redundancy-zone-tag=", Answers: commandtest.Answers{get: configured, set: "true"},
			Asked: `cas=7 {"CleanupDeadServers":false,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":5,"ServerStabilizationTime":"1m0s","RedundancyZoneTag":"",`, Out: "Configuration updated!\n"},
		{Args: "operator autopilot set-config -last-contact-threshold=1s -max-trailing-logs=9 -disable-upgrade-migration -upgrade-version-tag=v", Answers: commandtest.Answers{get: configured, set: "true"},
			Asked: `"LastContactThreshold":"1s","MaxTrailingLogs":9,"MinQuorum":3,"ServerStabilizationTime":"10s","RedundancyZoneTag":"zone","DisableUpgradeMigration":true,"UpgradeVersionTag":"v"`, Out: "Configuration updated!\n"},
		{Args: "operator autopilot set-config -min-quorum=5", Answers: commandtest.Answers{get: configured, set: "false"}, Code: 1, Err: "somebody else changed the configuration meanwhile"},
		{Args: "operator autopilot set-config", Code: 1, Err: "say what is to change"},
		{Args: "operator autopilot set-config -min-quorum=-1", Code: 1, Err: `invalid value "-1" for flag -min-quorum`},
		{Args: "operator autopilot state", Answers: commandtest.Answers{state: health}, Out: pretty},
		{Args: "operator autopilot state -format=xml", Code: 1, Err: `-format is "xml"`},
		{Args: "operator usage instances", Answers: commandtest.Answers{usage: counted}, Out: "Billable Service Instances Total: 8\n\nBillable Services\n" +
			"Datacenter  Services  Service instances\ndc1         4         3\ndc2         1         5\n\nConnect Services\n" +
			"Datacenter  Type            Service instances\ndc1         connect-native  2\ndc1         connect-proxy   1\n"},
		{Args: "operator usage instances -only-billable -all-datacenters", Answers: commandtest.Answers{usage: counted}, Asked: "global=", Out: "Billable Service Instances Total: 8\n\nBillable Services\n" +
			"Datacenter  Services  Service instances\ndc1         4         3\ndc2         1         5\n"},
		{Args: "operator usage instances -only-connect", Answers: commandtest.Answers{usage: counted}, Out: "Connect Services\n" +
			"Datacenter  Type            Service instances\ndc1         connect-native  2\ndc1         connect-proxy   1\n"},
		{Args: "operator usage instances -only-connect -only-billable", Code: 1, Err: "either -only-billable or -only-connect"},
	})
	got := commandtest.Run(t, Commands(), commandtest.Answers{state: health}, "", "operator", "autopilot", "state", "-format=json")
	if got.Code != 0 || !strings.Contains(got.Out, `"FailureTolerance": 1`) || !strings.Contains(got.Out, `"NodeType": "read-replica"`) {
		t.Errorf("%+v", got)
	}
}

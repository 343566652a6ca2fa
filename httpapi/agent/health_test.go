package agent

import (
	"testing"

	"github.com/legate-project/legate/httpapi/resttest"
)

func TestServicesOfTheAgent(t *testing.T) {
	start(t).Check(t, []resttest.Case{
		{"PUT", "/v1/agent/service/register", `{"ID":"w1","Name":"web","Tags":["a"],"Port":80,"Unknown":1,
			"Check":{"CheckID":"c1","TTL":"30s","DeregisterCriticalServiceAfter":"1m"},
			"Checks":[{"Name":"second","HTTP":"http://127.0.0.1:1/","Interval":"10s","Timeout":""}]}`, 200, ""},
		{"PUT", "/v1/agent/service/register", `{"name":"db","enable_tag_override":true,"tagged_addresses":{"lan":{"address":"1.2.3.4","port":5}},"check":{"ttl":15000000000}}`, 200, ""},
		{"GET", "/v1/agent/services", "", 200, `~"w1":{"ID":"w1","Service":"web","Tags":["a"],"Meta":{},"Port":80,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}`},
		{"GET", "/v1/agent/services?filter=Service==db", "", 200, `{"db":{"ID":"db","Service":"db","Tags":[],"Meta":{},"Port":0,"Address":"","TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":5}},"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":true,"Datacenter":"dc1"}}`},
		{"GET", "/v1/agent/checks", "", 200, `~"c1":{"Node":"n1","CheckID":"c1"`},
		{"GET", "/v1/agent/health/service/id/w1", "", 503, `~{"AggregatedStatus":"critical","Service":{"ID":"w1"`},
		{"PUT", "/v1/agent/check/pass/c1?note=fine", "", 200, ""},
		{"PUT", "/v1/agent/check/update/service:w1:2", `{"Status":"passing"}`, 500, `CheckID "service:w1:2" does not have associated TTL`},
		{"PUT", "/v1/agent/check/deregister/service:w1:2", "", 200, ""},
		{"GET", "/v1/agent/health/service/id/w1?format=text", "", 200, "passing"},
		{"PUT", "/v1/agent/check/warn/c1", "", 200, ""},
		{"GET", "/v1/agent/health/service/name/web?format=text", "", 429, "warning"},
		{"PUT", "/v1/agent/check/update/c1", `{"Status":"critical","Output":"bad"}`, 200, ""},
		{"GET", "/v1/agent/checks?filter=Output==bad", "", 200, `~"c1"`},
		{"PUT", "/v1/agent/check/register", `{"ID":"_node_maintenance","Name":"m","TTL":"1h"}`, 400, "~/v1/agent/maintenance"},
		{"PUT", "/v1/agent/maintenance?enable=true", "", 200, ""},
		{"GET", "/v1/agent/health/service/name/web?format=text", "", 503, "maintenance"},
		{"GET", "/v1/agent/health/service/name/none", "", 404, "ServiceName none Not Found"},
		{"PUT", "/v1/agent/service/deregister/w1", "", 200, ""},
		{"GET", "/v1/agent/service/w1", "", 404, "unknown service ID: w1"},
	}...)
}

// Maintenance of the node and of one service, and a failed TTL check, show in the
// health of an agent's services: that of a name is its worst instance's.
func TestMaintenanceAndFailuresOfTheAgent(t *testing.T) {
	start(t).Check(t, []resttest.Case{
		{"PUT", "/v1/agent/service/register", `{"ID":"w1","Name":"web","Check":{"CheckID":"c1","TTL":"30s","Status":"passing"}}`, 200, ""},
		{"PUT", "/v1/agent/service/register", `{"ID":"w2","Name":"web","Check":{"CheckID":"c2","TTL":"30s","Status":"passing"}}`, 200, ""},
		{"GET", "/v1/agent/health/service/name/web", "", 200, `~[{"AggregatedStatus":"passing","Service":{"ID":"w1"`},
		{"PUT", "/v1/agent/check/fail/c2?note=worse", "", 200, ""},
		{"GET", "/v1/agent/checks?filter=CheckID==c2", "", 200, `~"Status":"critical","Notes":"","Output":"worse"`},
		{"GET", "/v1/agent/health/service/id/w1", "", 200, `~{"AggregatedStatus":"passing"`},
		{"GET", "/v1/agent/health/service/name/web", "", 503, `~},{"AggregatedStatus":"critical","Service":{"ID":"w2"`},
		{"GET", "/v1/agent/health/service/name/web?format=text", "", 503, "critical"},
		{"PUT", "/v1/agent/check/pass/c2", "", 200, ""},

		{"PUT", "/v1/agent/service/maintenance/w2", "", 400, "Missing value for enable"},
		{"PUT", "/v1/agent/service/maintenance/w2?enable=perhaps", "", 400, `Invalid value for enable: "perhaps"`},
		{"PUT", "/v1/agent/service/maintenance/none?enable=true", "", 404, "~none"},
		{"PUT", "/v1/agent/service/maintenance/w2?enable=true&reason=disk", "", 200, ""},
		{"GET", "/v1/agent/checks", "", 200, `~"_service_maintenance:w2":{"Node":"n1","CheckID":"_service_maintenance:w2","Name":"Service Maintenance Mode","Status":"critical","Notes":"disk"`},
		{"GET", "/v1/agent/health/service/id/w1?format=text", "", 200, "passing"},
		{"GET", "/v1/agent/health/service/id/w2?format=text", "", 503, "maintenance"},
		{"PUT", "/v1/agent/service/maintenance/w2?enable=false", "", 200, ""},
		{"GET", "/v1/agent/health/service/id/w2?format=text", "", 200, "passing"},

		{"PUT", "/v1/agent/maintenance", "", 400, "Missing value for enable"},
		{"PUT", "/v1/agent/maintenance?enable=true&reason=kernel", "", 200, ""},
		{"GET", "/v1/agent/checks?filter=Notes==kernel", "", 200, `~"Name":"Node Maintenance Mode","Status":"critical","Notes":"kernel"`},
		{"GET", "/v1/agent/health/service/id/w1?format=text", "", 503, "maintenance"},
		{"PUT", "/v1/agent/maintenance?enable=false", "", 200, ""},
		{"GET", "/v1/agent/health/service/name/web?format=text", "", 200, "passing"},
	}...)
}

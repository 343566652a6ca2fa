package testcluster_test

// routeRow is one request to a route with what it takes.
type routeRow struct {
	route  string // method and row of the list of routes
	target string // what is asked for instead of the row's path, "" for that
	body   string
	enough string // the rules that are exactly enough
	// hides is in the answer to who has enough, and left out for who has less; without
	// it who has less is refused.
	hides string
	// everybody says why everybody may ask, "" if not everybody may.
	everybody string
	// want is the status of the answer to who has enough; 0 is 200, or any that is no
	// refusal if everybody may ask.
	want int
	// server is set if client agents have something else to say.
	server bool
	// last ends the agent or what others need: only refusals are looked at.
	last bool
}

const (
	nothingOf = "it says nothing of what the datacenter has"
	harmless  = "the answer is the same for everybody"
)

// Rules that are needed more than once; $NODE is the agent that is asked.
const (
	agentRead     = `agent "$NODE" { policy = "read" }`
	agentWrite    = `agent "$NODE" { policy = "write" }`
	nodeRead      = `node "$NODE" { policy = "read" }`
	nodeWrite     = `node "$NODE" { policy = "write" }`
	webRead       = `service "web" { policy = "read" }`
	webWrite      = `service "web" { policy = "write" }`
	operatorRead  = `operator = "read"`
	operatorWrite = `operator = "write"`
	aclRead       = `acl = "read"`
	aclWrite      = `acl = "write"`
	sessionRead   = `session "$NODE" { policy = "read" }`
	sessionWrite  = `session "$NODE" { policy = "write" }`
)

// askedRoutes has rows for all routes; the order is that in which they are asked.
func askedRoutes() []routeRow {
	var all []routeRow
	for _, area := range [][]routeRow{frontRoutes(), keyRoutes(), catalogRoutes(), agentRoutes(), operatorRoutes(), aclRoutes(), lastRoutes()} {
		all = append(all, area...)
	}
	return all
}

func frontRoutes() []routeRow {
	return []routeRow{
		{route: "GET /", everybody: harmless},
		{route: "GET /robots.txt", everybody: harmless},
		{route: "GET /metrics", enough: agentRead},
		{route: "GET /debug/pprof/", enough: operatorRead},
		{route: "GET /v1/status/leader", everybody: nothingOf},
		{route: "GET /v1/status/peers", everybody: nothingOf},
		{route: "GET /v1/agent/version", everybody: harmless},
		{route: "GET /v1/agent/ready", everybody: nothingOf},
		{route: "GET /v1/catalog/datacenters", everybody: nothingOf},
		{route: "GET /v1/coordinate/datacenters", everybody: nothingOf},
		{route: "GET /v1/agent/connect/ca/roots", everybody: "who is to trust the authority needs its certificate"},
		{route: "GET /v1/connect/ca/roots", everybody: "who is to trust the authority needs its certificate"},
		{route: "GET /v1/acl/replication", everybody: nothingOf},
		{route: "POST /v1/internal/acl/authorize", body: `[]`, everybody: "it says what who asks may do"},
		{route: "POST /v1/acl/login", body: `{}`, everybody: "who has no token gets one by a credential"},
		{route: "POST /v1/acl/logout", everybody: "who shows the secret", want: 401},
		{route: "PUT /v1/acl/bootstrap", everybody: "the first token is made without one, once", want: 403},
		{route: "GET /v1/acl/token/self", everybody: "who shows the secret"},
	}
}

func keyRoutes() []routeRow {
	return []routeRow{
		{route: "GET /v1/kv/", target: "/v1/kv/k", enough: `key "k" { policy = "read" }`},
		{route: "GET /v1/kv/", target: "/v1/kv/?recurse", enough: `key "k" { policy = "read" }`, hides: `"Key":"k"`},
		{route: "GET /v1/kv/", target: "/v1/kv/?keys", enough: `key "k" { policy = "read" }`, hides: `"k"`},
		{route: "PUT /v1/kv/", target: "/v1/kv/k", enough: `key "k" { policy = "write" }`},
		{route: "DELETE /v1/kv/", target: "/v1/kv/other", enough: `key "other" { policy = "write" }`},
		{route: "DELETE /v1/kv/", target: "/v1/kv/other?recurse", enough: `key_prefix "other" { policy = "write" }`},
		{route: "PUT /v1/txn", body: `[{"KV":{"Verb":"set","Key":"t"}}]`, enough: `key "t" { policy = "write" }`},
		{route: "PUT /v1/session/create", enough: sessionWrite},
		{route: "GET /v1/session/info/", target: "/v1/session/info/$SESSION", enough: sessionRead, hides: "$SESSION"},
		{route: "GET /v1/session/node/", target: "/v1/session/node/$NODE", enough: sessionRead, hides: "$SESSION"},
		{route: "GET /v1/session/keys/", target: "/v1/session/keys/$SESSION", enough: sessionRead + `key "held-$NODE" { policy = "read" }`, hides: `"held-`},
		{route: "GET /v1/session/list", enough: sessionRead, hides: "$SESSION"},
		{route: "PUT /v1/session/renew/", target: "/v1/session/renew/$SESSION", enough: sessionWrite},
		{route: "PUT /v1/session/destroy/", target: "/v1/session/destroy/$SESSION", enough: sessionWrite},
		{route: "PUT /v1/event/fire/", target: "/v1/event/fire/deploy", enough: `event "deploy" { policy = "write" }`},
		{route: "GET /v1/event/list", enough: `event "deploy" { policy = "read" }`, hides: `"deploy"`},
	}
}

func catalogRoutes() []routeRow {
	return []routeRow{
		{route: "PUT /v1/catalog/register", body: `{"Node":"x","Address":"10.0.0.9"}`, enough: `node "x" { policy = "write" }`},
		{route: "PUT /v1/catalog/deregister", body: `{"Node":"x"}`, enough: `node "x" { policy = "write" }`},
		{route: "GET /v1/catalog/nodes", enough: nodeRead, hides: `"Node":"$NODE"`},
		{route: "GET /v1/catalog/services", enough: webRead, hides: `"web"`},
		{route: "GET /v1/catalog/service/", target: "/v1/catalog/service/web", enough: nodeRead + webRead, hides: `"Node":"$NODE"`},
		{route: "GET /v1/dns/explain/", target: "/v1/dns/explain/web.service.consul", enough: nodeRead + webRead, hides: `"Type":"A","TTL"`},
		{route: "GET /v1/catalog/connect/", target: "/v1/catalog/connect/web", enough: webRead},
		{route: "GET /v1/catalog/node/", target: "/v1/catalog/node/$NODE", enough: nodeRead + webRead, hides: `"web"`},
		{route: "GET /v1/catalog/node-services/", target: "/v1/catalog/node-services/$NODE", enough: nodeRead + webRead, hides: `"web"`},
		{route: "GET /v1/health/node/", target: "/v1/health/node/$NODE", enough: nodeRead + webRead, hides: `"c1"`},
		{route: "GET /v1/health/checks/", target: "/v1/health/checks/web", enough: nodeRead + webRead, hides: `"c1"`},
		{route: "GET /v1/health/state/", target: "/v1/health/state/any", enough: nodeRead + webRead, hides: `"c1"`},
		{route: "GET /v1/health/service/", target: "/v1/health/service/web", enough: nodeRead + webRead, hides: `"w1"`},
		{route: "GET /v1/health/connect/", target: "/v1/health/connect/web", enough: webRead},
		{route: "GET /v1/health/ingress/", target: "/v1/health/ingress/web", enough: webRead},
		{route: "GET /v1/internal/ui/nodes", enough: nodeRead, hides: `"Node":"$NODE"`},
		{route: "GET /v1/internal/ui/nodes", enough: nodeRead + webRead, hides: `"c1"`},
		{route: "GET /v1/internal/ui/node/", target: "/v1/internal/ui/node/$NODE", enough: nodeRead + webRead, hides: `"c1"`},
		{route: "GET /v1/internal/ui/services", enough: nodeRead + webRead, hides: `"web"`},
		{route: "GET /v1/internal/ui/catalog-overview", enough: operatorRead},
		{route: "GET /v1/coordinate/nodes", enough: nodeRead, hides: `"Node":"$NODE"`},
		{route: "GET /v1/coordinate/node/", target: "/v1/coordinate/node/$NODE", enough: nodeRead},
		{route: "PUT /v1/coordinate/update", body: `{"Node":"$NODE","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Height":0.00001}}`, enough: nodeWrite},
		{route: "GET /v1/query", enough: `query "q" { policy = "read" }`, hides: `"q"`},
		{route: "POST /v1/query", body: `{"Name":"q2-$NODE","Service":{"Service":"web"}}`, enough: `query "q2-$NODE" { policy = "write" }`},
		{route: "GET /v1/query/", target: "/v1/query/$QUERY", enough: `query "q" { policy = "read" }`},
		{route: "PUT /v1/query/", target: "/v1/query/$QUERY", body: `{"Name":"q","Service":{"Service":"web"}}`, enough: `query "q" { policy = "write" }`},
		{route: "GET /v1/query/*/execute", target: "/v1/query/q/execute", enough: nodeRead + webRead, hides: `"w1"`},
		{route: "GET /v1/query/*/explain", target: "/v1/query/q/explain", enough: `query "q" { policy = "read" }`},
		{route: "DELETE /v1/query/", target: "/v1/query/$QUERY", enough: `query "q" { policy = "write" }`},
	}
}

func agentRoutes() []routeRow {
	return []routeRow{
		{route: "GET /v1/agent/self", enough: agentRead},
		{route: "GET /v1/agent/host", enough: operatorRead},
		{route: "GET /v1/agent/metrics", enough: agentRead},
		{route: "GET /v1/agent/metrics/stream", enough: agentRead},
		{route: "GET /v1/agent/monitor", target: "/v1/agent/monitor?loglevel=ERROR", enough: agentRead},
		{route: "GET /v1/agent/members", enough: nodeRead, hides: `"Name":"$NODE"`},
		{route: "PUT /v1/agent/maintenance", target: "/v1/agent/maintenance?enable=false", enough: nodeWrite},
		{route: "PUT /v1/agent/token/", target: "/v1/agent/token/dns", body: `{"Token":""}`, enough: agentWrite},
		{route: "PUT /v1/agent/join/", target: "/v1/agent/join/$SERVER", enough: agentWrite},
		{route: "PUT /v1/agent/force-leave/", target: "/v1/agent/force-leave/nobody", enough: operatorWrite, want: 500},
		{route: "PUT /v1/agent/reload", enough: agentWrite, want: 500},
		{route: "GET /v1/agent/services", enough: webRead, hides: `"w1"`},
		{route: "GET /v1/agent/service/", target: "/v1/agent/service/w1", enough: webRead},
		{route: "GET /v1/agent/checks", enough: webRead, hides: `"c1"`},
		{route: "GET /v1/agent/checks", enough: nodeRead, hides: `"nc"`},
		{route: "GET /v1/agent/health/service/id/", target: "/v1/agent/health/service/id/w1", enough: webRead},
		{route: "GET /v1/agent/health/service/name/", target: "/v1/agent/health/service/name/web", enough: webRead},
		{route: "PUT /v1/agent/service/register", body: `{"Name":"new"}`, enough: `service "new" { policy = "write" }`},
		{route: "PUT /v1/agent/service/register", body: `{"ID":"w1","Name":"other"}`, enough: webWrite + `service "other" { policy = "write" }`},
		{route: "PUT /v1/agent/service/register", body: `{"ID":"w1","Name":"web","Check":{"CheckID":"c1","TTL":"1h"}}`, enough: webWrite + `service "other" { policy = "write" }`},
		{route: "PUT /v1/agent/service/register", body: `{"Name":"new","Check":{"CheckID":"nc","TTL":"1h"}}`, enough: nodeWrite + `service "new" { policy = "write" }`},
		{route: "PUT /v1/agent/check/register", body: `{"CheckID":"nc","TTL":"1h","Name":"nc"}`, enough: nodeWrite + `service "new" { policy = "write" }`},
		{route: "PUT /v1/agent/service/register", body: `{"Name":"p","Kind":"connect-proxy","Port":1,"Proxy":{"DestinationServiceName":"web"}}`, enough: webWrite + `service "p" { policy = "write" }`},
		{route: "PUT /v1/agent/service/register", body: `{"Name":"s","Connect":{"SidecarService":{}}}`, enough: `service "s" { policy = "write" } service "s-sidecar-proxy" { policy = "write" }`},
		{route: "PUT /v1/agent/service/deregister/", target: "/v1/agent/service/deregister/new", enough: `service "new" { policy = "write" }`},
		{route: "PUT /v1/agent/service/maintenance/", target: "/v1/agent/service/maintenance/w1?enable=false", enough: webWrite},
		{route: "PUT /v1/agent/check/register", body: `{"Name":"nc2","TTL":"1h"}`, enough: nodeWrite},
		{route: "PUT /v1/agent/check/register", body: `{"Name":"c2","TTL":"1h","ServiceID":"w1"}`, enough: webWrite},
		{route: "PUT /v1/agent/check/register", body: `{"Name":"nc2","TTL":"1h","ServiceID":"w1"}`, enough: webWrite + nodeWrite},
		{route: "PUT /v1/agent/check/pass/", target: "/v1/agent/check/pass/c1", enough: webWrite},
		{route: "PUT /v1/agent/check/warn/", target: "/v1/agent/check/warn/nc", enough: nodeWrite},
		{route: "PUT /v1/agent/check/fail/", target: "/v1/agent/check/fail/c1", enough: webWrite},
		{route: "PUT /v1/agent/check/update/", target: "/v1/agent/check/update/c1", body: `{"Status":"passing"}`, enough: webWrite},
		{route: "PUT /v1/agent/check/deregister/", target: "/v1/agent/check/deregister/c1", enough: webWrite},
		{route: "PUT /v1/agent/check/deregister/", target: "/v1/agent/check/deregister/nc", enough: nodeWrite},
	}
}

func operatorRoutes() []routeRow {
	return []routeRow{
		{route: "GET /v1/operator/raft/configuration", enough: operatorRead},
		{route: "DELETE /v1/operator/raft/peer", target: "/v1/operator/raft/peer?id=none", enough: operatorWrite, want: 400},
		{route: "POST /v1/operator/raft/transfer-leader", target: "/v1/operator/raft/transfer-leader?id=none", enough: operatorWrite, want: 400},
		{route: "PUT /v1/operator/raft/transfer-leader", target: "/v1/operator/raft/transfer-leader?id=none", enough: operatorWrite, want: 400},
		{route: "GET /v1/operator/autopilot/configuration", enough: operatorRead},
		{route: "PUT /v1/operator/autopilot/configuration", body: `{"CleanupDeadServers":true}`, enough: operatorWrite},
		{route: "GET /v1/operator/autopilot/health", enough: operatorRead},
		{route: "GET /v1/operator/autopilot/state", enough: operatorRead},
		{route: "GET /v1/operator/kv-replication", enough: operatorRead},
		{route: "PUT /v1/operator/kv-replication", body: `{"Datacenter":"dc1","Prefix":"r/"}`, enough: operatorWrite + ` key_prefix "r/" { policy = "write" }`, want: 400},
		{route: "PUT /v1/operator/kv-replication/pause", body: `{"Target":"r/"}`, enough: operatorWrite + ` key_prefix "r/" { policy = "write" }`, want: 404},
		{route: "PUT /v1/operator/kv-replication/resume", body: `{"Target":"r/"}`, enough: operatorWrite + ` key_prefix "r/" { policy = "write" }`, want: 404},
		{route: "PUT /v1/operator/kv-replication/remove", body: `{"Target":"r/"}`, enough: operatorWrite + ` key_prefix "r/" { policy = "write" }`, want: 404},
		{route: "GET /v1/operator/usage", enough: operatorRead},
		{route: "PUT /v1/failover/", target: "/v1/failover/web", body: `{"Datacenters":["dc2"]}`, enough: operatorWrite},
		{route: "GET /v1/failover", enough: webRead, hides: `"web"`},
		{route: "GET /v1/failover/explain/", target: "/v1/failover/explain/web", enough: webRead},
		{route: "DELETE /v1/failover/", target: "/v1/failover/web", enough: operatorWrite},
		{route: "GET /v1/operator/clocks", enough: operatorRead},
		{route: "GET /v1/operator/keyring", enough: `keyring = "read"`},
		{route: "PUT /v1/operator/keyring", body: `{"Key":"AAAA"}`, enough: `keyring = "write"`, want: 400},
		{route: "POST /v1/operator/keyring", body: `{"Key":"AAAA"}`, enough: `keyring = "write"`, want: 400},
		{route: "DELETE /v1/operator/keyring", body: `{"Key":"AAAA"}`, enough: `keyring = "write"`, want: 400},
		{route: "GET /v1/operator/keyring/wan", enough: `keyring = "read"`, server: true},
		{route: "PUT /v1/operator/keyring/wan", body: `{"Key":"AAAA"}`, enough: `keyring = "write"`, server: true, want: 400},
		{route: "POST /v1/operator/keyring/wan", body: `{"Key":"AAAA"}`, enough: `keyring = "write"`, server: true, want: 400},
		{route: "DELETE /v1/operator/keyring/wan", body: `{"Key":"AAAA"}`, enough: `keyring = "write"`, server: true, want: 400},
		{route: "GET /v1/federation/status", enough: operatorRead},
		{route: "GET /v1/federation/datacenters", enough: operatorRead},
		{route: "PUT /v1/federation/datacenters/", target: "/v1/federation/datacenters/dc9", body: `{"Removed":false}`, enough: operatorWrite, want: 404},
		{route: "DELETE /v1/federation/datacenters/", target: "/v1/federation/datacenters/dc9?force", enough: operatorWrite, want: 404},
		{route: "GET /v1/federation/primary", enough: operatorRead},
		{route: "PUT /v1/federation/primary/", target: "/v1/federation/primary/dc1", enough: operatorWrite + aclWrite},
		{route: "GET /v1/snapshot", enough: aclWrite},
		{route: "PUT /v1/snapshot", body: "no snapshot", enough: aclWrite, want: 400},
	}
}

func aclRoutes() []routeRow {
	return []routeRow{
		{route: "GET /v1/acl/policies", enough: aclRead},
		{route: "PUT /v1/acl/policy", body: `{"Name":"new-$NODE"}`, enough: aclWrite},
		{route: "GET /v1/acl/policy/", target: "/v1/acl/policy/$POLICY", enough: aclRead},
		{route: "GET /v1/acl/policy/name/", target: "/v1/acl/policy/name/p-$NODE", enough: aclRead},
		{route: "PUT /v1/acl/policy/", target: "/v1/acl/policy/$POLICY", body: `{"Name":"p-$NODE"}`, enough: aclWrite},
		{route: "GET /v1/acl/roles", enough: aclRead},
		{route: "PUT /v1/acl/role", body: `{"Name":"new-$NODE"}`, enough: aclWrite},
		{route: "GET /v1/acl/role/", target: "/v1/acl/role/$ROLE", enough: aclRead},
		{route: "GET /v1/acl/role/name/", target: "/v1/acl/role/name/r-$NODE", enough: aclRead},
		{route: "PUT /v1/acl/role/", target: "/v1/acl/role/$ROLE", body: `{"Name":"r-$NODE"}`, enough: aclWrite},
		{route: "GET /v1/acl/auth-methods", enough: aclRead},
		{route: "PUT /v1/acl/auth-method", body: `{"Name":"new-$NODE","Type":"jwt","Config":` + methodConfig + `}`, enough: aclWrite},
		{route: "GET /v1/acl/auth-method/", target: "/v1/acl/auth-method/m-$NODE", enough: aclRead},
		{route: "PUT /v1/acl/auth-method/", target: "/v1/acl/auth-method/m-$NODE", body: `{"Name":"m-$NODE","Type":"jwt","Config":` + methodConfig + `}`, enough: aclWrite},
		{route: "GET /v1/acl/binding-rules", enough: aclRead},
		{route: "PUT /v1/acl/binding-rule", body: `{"AuthMethod":"m-$NODE","BindType":"role","BindName":"x"}`, enough: aclWrite},
		{route: "GET /v1/acl/binding-rule/", target: "/v1/acl/binding-rule/$BINDING", enough: aclRead},
		{route: "PUT /v1/acl/binding-rule/", target: "/v1/acl/binding-rule/$BINDING", body: `{"AuthMethod":"m-$NODE","BindType":"role","BindName":"x"}`, enough: aclWrite},
		{route: "DELETE /v1/acl/binding-rule/", target: "/v1/acl/binding-rule/$BINDING", enough: aclWrite},
		{route: "DELETE /v1/acl/auth-method/", target: "/v1/acl/auth-method/m-$NODE", enough: aclWrite},
		{route: "DELETE /v1/acl/role/", target: "/v1/acl/role/$ROLE", enough: aclWrite},
		{route: "DELETE /v1/acl/policy/", target: "/v1/acl/policy/$POLICY", enough: aclWrite},
		{route: "GET /v1/acl/tokens", enough: aclRead},
		{route: "PUT /v1/acl/token", body: `{}`, enough: aclWrite},
		{route: "GET /v1/acl/token/", target: "/v1/acl/token/$TOKEN", enough: aclRead},
		{route: "POST /v1/internal/acl/authorize", target: "/v1/internal/acl/authorize?accessor=$TOKEN", body: `[{"Resource":"key","Access":"read"}]`, enough: aclRead},
		{route: "PUT /v1/acl/token/", target: "/v1/acl/token/$TOKEN", body: `{"Description":"d"}`, enough: aclWrite},
		{route: "PUT /v1/acl/token/*/clone", target: "/v1/acl/token/$TOKEN/clone", body: `{}`, enough: aclWrite},
		{route: "DELETE /v1/acl/token/", target: "/v1/acl/token/$TOKEN", enough: aclWrite},
		{route: "GET /v1/acl/templated-policies", enough: aclRead},
		{route: "GET /v1/acl/templated-policy/name/", target: "/v1/acl/templated-policy/name/builtin/service", enough: aclRead},
		{route: "POST /v1/acl/templated-policy/preview/", target: "/v1/acl/templated-policy/preview/builtin/service", body: `{"Name":"web"}`, enough: aclRead},
		{route: "POST /v1/internal/acl/rules", body: `acl = "read"`, enough: aclRead},
	}
}

// lastRoutes end something.
func lastRoutes() []routeRow {
	return []routeRow{
		{route: "PUT /v1/federation/leave", enough: operatorWrite, last: true, server: true},
		{route: "PUT /v1/agent/leave", target: "/v1/agent/leave?wan", enough: agentWrite + operatorWrite, last: true, server: true},
		{route: "PUT /v1/agent/leave", enough: agentWrite, last: true},
	}
}

// methodConfig is one that an auth method takes. Its key signs nothing.
const methodConfig = `{"JWTValidationPubKeys":["-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0aBltQQXqvdUPMvXVIZx8HQ5ENcj\n5aPClTOstcf4QRDCRHN+h11KF5xcIuQEELb7eLq/IzLNvWVjwnXYQD1txg==\n-----END PUBLIC KEY-----"]}`

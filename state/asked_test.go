package state

import (
	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/state/txn"
)

// Asking is a request with the rules that are exactly enough for it.
type Asking struct {
	Request   any
	Enough    string
	Everybody string // why everybody may ask, "" if not everybody may
	Nobody    bool   // a leader alone does this: nobody may ask for it
}

// Rules that requests of the table need.
const (
	readNode    = `node "n1" { policy = "read" }`
	writeNode   = `node "n1" { policy = "write" }`
	readNodes   = `node_prefix "" { policy = "read" }`
	readWeb     = `service "web" { policy = "read" }`
	writeWeb    = `service "web" { policy = "write" }`
	readAll     = readNodes + ` service_prefix "" { policy = "read" }`
	readKey     = `key "k" { policy = "read" }`
	writeKey    = `key "k" { policy = "write" }`
	readKeys    = `key_prefix "" { policy = "read" }`
	writeQuery  = `query "q" { policy = "write" }`
	readACL     = `acl = "read"`
	writeACL    = `acl = "write"`
	readCluster = `operator = "read"`
	runCluster  = `operator = "write"`
)

// Everything lists all operations that a server answers.
func Everything() []op.Operation {
	return append(Operations(), &events.Fire, &catalog.GetDigest, &acl.Follow, &replication.Follow)
}

// Asked holds requests for every operation, by name: what Fill writes is asked for or
// changed by them.
func Asked() map[string][]Asking {
	leaders := func(request any) []Asking { return []Asking{{Request: request, Nobody: true}} }
	everybody := func(request any, why string) []Asking { return []Asking{{Request: request, Everybody: why}} }
	one := func(request any, enough string) []Asking { return []Asking{{Request: request, Enough: enough}} }
	node, web := &catalog.NodeRequest{Node: "n1"}, &catalog.ServiceRequest{Service: "web"}
	return map[string][]Asking{
		"state.collect":       leaders(&CollectRequest{UpTo: 1}),
		"state.restore-begin": leaders(&RestoreBeginRequest{ID: "i"}), "state.restore-abort": leaders(&RestoreBeginRequest{ID: "i"}),
		"state.restore-rows": leaders(&RestoreRowsRequest{ID: "i"}), "state.restore-finish": leaders(&RestoreFinishRequest{ID: "i"}),
		"catalog.register": {
			{Request: registerWeb("n1", "w1", catalog.Warning), Enough: writeWeb},
			{Request: registerWeb("n9", "w9", catalog.Passing), Enough: writeWeb + `node "n9" { policy = "write" }`},
			{Request: &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.7"}, Enough: writeNode},
			{Request: &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true}, Enough: writeNode},
			{Request: &catalog.RegisterRequest{Node: "n9", Address: "10.0.0.9", SkipNodeUpdate: true}, Enough: `node "n9" { policy = "write" }`},
			{Request: &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Checks: []catalog.Check{{CheckID: "c", ServiceID: "w1"}}}, Enough: writeWeb},
			{Request: &catalog.RegisterRequest{Node: "n1", SkipNodeUpdate: true, Service: &catalog.Service{Service: "p", Kind: mesh.ConnectProxy,
				Proxy: mesh.Proxy{DestinationServiceName: "web"}}}, Enough: writeWeb + `service "p" { policy = "write" }`},
		},
		"catalog.deregister": {
			{Request: &catalog.DeregisterRequest{Node: "n1"}, Enough: writeNode},
			{Request: &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}, Enough: writeWeb},
			{Request: &catalog.DeregisterRequest{Node: "n1", ServiceID: "w1"}, Enough: writeNode},
			{Request: &catalog.DeregisterRequest{Node: "n1", CheckID: "c-w1"}, Enough: writeWeb},
			{Request: &catalog.DeregisterRequest{Node: "n1", ServiceID: "none"}, Enough: writeNode},
			{Request: &catalog.DeregisterRequest{Node: "n1", CheckID: "none"}, Enough: writeNode},
		},
		"catalog.nodes":             one(&op.Empty{}, readNodes),
		"catalog.node":              one(node, readNode),
		"catalog.services":          one(&catalog.ServicesRequest{}, `service_prefix "" { policy = "read" }`),
		"catalog.all-service-nodes": one(&catalog.ServicesRequest{}, readAll),
		"catalog.service-nodes":     one(web, readNode+readWeb),
		"catalog.node-services":     one(node, readNode+readWeb),
		"catalog.names-by-address":  one(&catalog.AddressRequest{Address: "10.0.0.1"}, readNodes),
		"catalog.digest":            one(&op.Empty{}, readCluster),
		"health.service":            one(web, readNode+readWeb),
		"health.node":               one(node, readNode+readWeb),
		"health.checks":             one(web, readNode+readWeb),
		"health.state":              one(&catalog.StateRequest{State: catalog.AnyState}, readAll),
		"ui.nodes":                  one(&op.Empty{}, readAll),
		"ui.node":                   one(node, readNode+readWeb),
		"ui.services":               one(&op.Empty{}, readAll),
		"ui.catalog-overview":       one(&op.Empty{}, readCluster),
		"catalog.usage":             one(&op.Empty{}, readCluster),
		"coordinate.nodes":          one(&op.Empty{}, readNodes),
		"coordinate.node":           one(&coordinate.NodeRequest{Node: "n1"}, readNode),
		"coordinate.update":         one(&coordinate.Entry{Node: "n1"}, writeNode),
		"coordinate.batch":          leaders(&coordinate.Entries{{Node: "n1"}}),
		"coordinate.datacenters":    everybody(&op.Empty{}, "how far datacenters are from each other says nothing of what is in them"),
		"kv.apply": {
			{Request: &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: "k"}}, Enough: writeKey},
			{Request: &kv.ApplyRequest{Verb: kv.DeleteTree, Entry: kv.Entry{Key: "k"}}, Enough: `key_prefix "k" { policy = "write" }`},
		},
		"kv.get":               one(&kv.GetRequest{Key: "k"}, readKey),
		"kv.list":              one(&kv.ListRequest{Prefix: "k"}, readKey),
		"kv.keys":              one(&kv.KeysRequest{Prefix: "k"}, readKey),
		"kv.held":              one(&kv.HeldRequest{Session: "id-1"}, `session "n1" { policy = "read" } key "held" { policy = "read" }`),
		"kv.pass":              leaders(&kv.PassRequest{Clock: 1}),
		"kv.settle":            leaders(&op.Empty{}),
		"kv.forget":            leaders(&kv.ForgetRequest{}),
		"kv.copy":              leaders(&kv.CopyRequest{Target: "k"}),
		"replication.list":     one(&op.Empty{}, readCluster),
		"replication.create":   one(&replication.CreateRequest{Datacenter: "dc2", Target: "k"}, runCluster+`key_prefix "k" { policy = "write" }`),
		"replication.change":   one(&replication.ChangeRequest{Target: "k", Change: replication.Pause}, runCluster+`key_prefix "k" { policy = "write" }`),
		"replication.may-read": one(&replication.ReadRequest{Prefix: "k"}, `key_prefix "k" { policy = "read" }`),
		"replication.set":      leaders(&replication.SetRequest{}),
		"replication.follow":   leaders(&replication.FollowRequest{}),
		"session.create":       one(&session.CreateRequest{Session: session.Session{Node: "n1"}}, `session "n1" { policy = "write" }`),
		"session.bind":         one(&session.CreateRequest{Session: session.Session{Node: "n1", NodeDatacenter: "dc2"}}, `session "n1" { policy = "write" }`),
		"session.destroy":      one(&session.DestroyRequest{ID: "id-1"}, `session "n1" { policy = "write" }`),
		"session.expire":       leaders(&session.ExpireRequest{Sessions: []session.Expiry{{ID: "id-1"}}}),
		"session.get":          one(&session.IDRequest{ID: "id-1"}, `session "n1" { policy = "read" }`),
		"session.list":         one(&op.Empty{}, `session "n1" { policy = "read" }`),
		"session.node":         one(&session.NodeRequest{Node: "n1"}, `session "n1" { policy = "read" }`),
		"session.renew":        one(&session.IDRequest{ID: "id-1"}, `session "n1" { policy = "write" }`),
		"txn.read":             askedTogether(readers()),
		"txn.apply":            askedTogether(writers()),
		"query.create":         one(&query.SetRequest{Query: query.Query{Name: "r", Service: query.Service{Service: "web"}}}, `query "r" { policy = "write" }`),
		"query.update":         one(&query.SetRequest{Query: query.Query{ID: "id-2", Session: "id-1", Service: query.Service{Service: "web"}}}, writeQuery),
		"query.delete":         one(&query.IDRequest{ID: "ID-2"}, writeQuery),
		"query.get":            one(&query.IDRequest{ID: "id-2"}, writeACL),
		"query.list":           one(&op.Empty{}, writeACL),
		"query.explain": {
			{Request: &query.NameRequest{Name: "id-2"}, Enough: writeACL},
			{Request: &query.NameRequest{Name: "q"}, Enough: writeACL}},
		"query.execute-remote":  one(&query.SelectRequest{Service: "web"}, readNode+readWeb),
		"query.execute":         one(&query.ExecuteRequest{Name: "plain"}, readNode+readWeb),
		"event.fire":            one(&events.Event{Name: "deploy"}, `event "deploy" { policy = "write" }`),
		"event.announce":        one(&events.Announcement{Event: events.Event{Name: "deploy"}, Datacenters: "all"}, `event "deploy" { policy = "write" }`),
		"acl.token":             one(&acl.TokenRequest{Accessor: "id-5"}, writeACL),
		"acl.tokens":            one(&acl.TokensRequest{}, writeACL),
		"acl.token-set":         {{Request: &acl.SetTokenRequest{Create: true}, Enough: writeACL}, {Request: &acl.SetTokenRequest{Token: acl.Token{AccessorID: "id-5"}}, Enough: writeACL}},
		"acl.token-delete":      one(&acl.AccessorRequest{Accessor: "id-5"}, writeACL),
		"acl.login":             everybody(&acl.LoginRequest{}, "who has no token gets one by a credential"),
		"acl.logout":            everybody(&acl.SecretRequest{Secret: "id-6"}, "who shows the secret"),
		"acl.authorize":         everybody(&acl.Questions{}, "it says what who asks may do"),
		"acl.authorize-token":   one(&acl.TokenQuestions{AccessorID: "id-5"}, readACL),
		"acl.resolve":           everybody(&acl.ResolveRequest{Secret: "id-6"}, "who shows the secret"),
		"acl.bootstrap":         everybody(&acl.BootstrapRequest{}, "the first token is made without one, once"),
		"acl.replication":       everybody(&op.Empty{}, "it says nothing of which records there are"),
		"acl.copy":              leaders(&acl.CopyRequest{}),
		"acl.home-step":         leaders(&acl.StepRequest{}),
		"acl.follow":            leaders(&acl.FollowRequest{}),
		"acl.home":              one(&op.Empty{}, readCluster),
		"acl.home-move":         one(&acl.MoveRequest{}, runCluster+writeACL),
		"acl.home-yield":        one(&acl.YieldRequest{}, runCluster+writeACL),
		"acl.home-settle":       everybody(&acl.SettleRequest{}, "who asks shows the ticket of a move"),
		"acl.expire":            leaders(&acl.ExpireRequest{}),
		"acl.mint":              leaders(&acl.SetTokenRequest{Create: true}),
		"acl.begin":             leaders(&acl.BeginRequest{}),
		"acl.policy":            {{Request: &acl.NamedRequest{ID: "id-4"}, Enough: readACL}, {Request: &acl.NamedRequest{Name: "p"}, Enough: readACL}},
		"acl.policies":          one(&op.Empty{}, readACL),
		"acl.policy-set":        one(&acl.SetPolicyRequest{Create: true, Policy: acl.Policy{Name: "q"}}, writeACL),
		"acl.policy-delete":     one(&acl.NamedRequest{ID: "id-4"}, writeACL),
		"acl.role":              {{Request: &acl.NamedRequest{ID: "id-7"}, Enough: readACL}, {Request: &acl.NamedRequest{Name: "r"}, Enough: readACL}},
		"acl.roles":             one(&acl.RolesRequest{}, readACL),
		"acl.role-set":          one(&acl.SetRoleRequest{Create: true, Role: acl.Role{Name: "s"}}, writeACL),
		"acl.role-delete":       one(&acl.NamedRequest{ID: "id-7"}, writeACL),
		"acl.method":            one(&acl.NamedRequest{Name: "m"}, readACL),
		"acl.methods":           one(&op.Empty{}, readACL),
		"acl.method-set":        one(&acl.SetMethodRequest{Method: acl.Method{Name: "m"}}, writeACL),
		"acl.method-delete":     one(&acl.NamedRequest{Name: "m"}, writeACL),
		"acl.binding":           one(&acl.NamedRequest{ID: "id-8"}, readACL),
		"acl.bindings":          one(&acl.BindingsRequest{}, readACL),
		"acl.binding-set":       one(&acl.SetBindingRequest{Create: true, Binding: acl.Binding{AuthMethod: "m", BindType: acl.BindRole, BindName: "r"}}, writeACL),
		"acl.binding-delete":    one(&acl.NamedRequest{ID: "id-8"}, writeACL),
		status.Leader.Name:      everybody(&op.Empty{}, "clients find servers by it, and load balancers the leader"),
		status.Peers.Name:       everybody(&op.Empty{}, "clients find servers by it"),
		status.Datacenters.Name: everybody(&op.Empty{}, "the names of datacenters are asked for to name one"),
		status.Ping.Name:        everybody(&op.Empty{}, "it says that somebody is there"),
		status.Raft.Name:        one(&op.Empty{}, readCluster),
		status.RemovePeer.Name:  one(&status.Peer{ID: "i"}, runCluster), status.TransferLeader.Name: one(&status.Peer{}, runCluster),
		status.Federation.Name: one(&status.FederationRequest{}, readCluster),
		status.CompareClocks.Name: {{Request: &status.ClockRequest{}, Everybody: "each answer over HTTP says the time"},
			{Request: &status.ClockRequest{Each: true}, Enough: readCluster}},
		status.Change.Name: one(&status.Membership{}, runCluster),
		status.Quit.Name:   one(&status.QuitRequest{}, runCluster),

		failover.List.Name:         one(&op.Empty{}, `service "web" { policy = "read" }`),
		failover.Set.Name:          one(&failover.Rule{Service: "web", Datacenters: []string{"dc2"}}, runCluster),
		failover.Delete.Name:       one(&failover.ServiceRequest{Service: "web"}, runCluster),
		autopilot.Get.Name:         one(&op.Empty{}, readCluster),
		autopilot.Set.Name:         one(&autopilot.SetRequest{Config: autopilot.Default()}, runCluster),
		autopilot.Show.Name:        one(&op.Empty{}, readCluster),
		autopilot.ServerStats.Name: everybody(&op.Empty{}, "the leader asks, which has no token; it says how far the log of a server goes"),

		status.KeyringList.Name:   one(&status.KeyringRequest{}, `keyring = "read"`),
		status.KeyringChange.Name: one(&status.KeyringRequest{}, `keyring = "write"`),
		status.KeyringWAN.Name: {{Request: &status.KeyringRequest{Action: status.KeysList}, Enough: `keyring = "read"`},
			{Request: &status.KeyringRequest{Action: status.KeysInstall}, Enough: `keyring = "write"`}},
		status.Gateway.Name: one(&status.GatewayRequest{Node: "n1"}, writeNode),
	}
}

// transaction is one with the rules that it takes.
type transaction struct {
	enough string
	ops    []txn.Op
}

func askedTogether(all []transaction) (out []Asking) {
	for _, t := range all {
		out = append(out, Asking{Request: &txn.Request{Ops: t.ops}, Enough: t.enough})
	}
	return out
}

func readers() []transaction {
	return []transaction{
		{readKey, []txn.Op{{KV: &txn.KVOp{Verb: txn.Get, Key: "k"}}}},
		{readWeb + readKeys, []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Get, Node: "n1", Service: catalog.Service{ID: "w1"}}}, {KV: &txn.KVOp{Verb: txn.GetTree}}}},
		{readNode + readWeb, []txn.Op{{Check: &txn.CheckOp{Verb: txn.Get, Check: catalog.Check{Node: "n1", CheckID: "c-w1"}}}}},
		{readKeys, []txn.Op{{KV: &txn.KVOp{Verb: txn.GetTree}}}},
		{readNode, []txn.Op{{Node: &txn.NodeOp{Verb: txn.Get, Node: catalog.Node{Node: "n1"}}}}},
	}
}

func writers() []transaction {
	return []transaction{
		{writeKey, []txn.Op{{KV: &txn.KVOp{Verb: kv.Set, Key: "k"}}}},
		{writeKey, []txn.Op{{Refused: "said by the caller", KV: &txn.KVOp{Verb: kv.Set, Key: "k"}}}},
		{`key "" { policy = "write" }`, nil},
		{`key "" { policy = "write" }`, []txn.Op{{}}},
		{writeKey, []txn.Op{{KV: &txn.KVOp{Verb: "improve", Key: "k"}}}},
		{`node "" { policy = "write" }`, []txn.Op{{Node: &txn.NodeOp{Verb: "improve"}}}},
		{`service "" { policy = "write" }`, []txn.Op{{Service: &txn.ServiceOp{Verb: "improve"}}}},
		{`node "" { policy = "write" }`, []txn.Op{{Check: &txn.CheckOp{Verb: "improve"}}}},
		{readNode, []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Get, Node: "n1", Service: catalog.Service{ID: "none"}}}}},
		{readNode, []txn.Op{{Check: &txn.CheckOp{Verb: txn.Get, Check: catalog.Check{Node: "n1", CheckID: "none"}}}}},
		{writeNode, []txn.Op{{Node: &txn.NodeOp{Verb: txn.Set, Node: catalog.Node{Node: "n1", Address: "10.0.0.1"}}}}},
		{writeWeb, []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Set, Node: "n1", Service: catalog.Service{Service: "web"}}}}},
		{writeWeb, []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Delete, Node: "n1", Service: catalog.Service{ID: "w1"}}}}},
		{readWeb, []txn.Op{{Service: &txn.ServiceOp{Verb: txn.Get, Node: "n1", Service: catalog.Service{ID: "w1"}}}}},
		{readNode + readWeb, []txn.Op{{Check: &txn.CheckOp{Verb: txn.Get, Check: catalog.Check{Node: "n1", CheckID: "c-w1"}}}}},
		{readKeys, []txn.Op{{KV: &txn.KVOp{Verb: txn.GetTree}}}},
		{writeNode + writeWeb, []txn.Op{{Check: &txn.CheckOp{Verb: txn.Set, Check: catalog.Check{Node: "n1", CheckID: "c-w1", Status: catalog.Critical}}}}},
	}
}

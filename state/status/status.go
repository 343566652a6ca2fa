// Package status declares what a server says of its datacenter's consensus and
// of the datacenters it knows. Nothing here is replicated.
package status

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o status_gen.go -file status.go
//msgp:limit arrays:4096 maps:64

// RaftServer is one member of the consensus group.
type RaftServer struct {
	ID              string `msg:"id"`
	Node            string `msg:"n"`
	Address         string `msg:"a"`
	Leader          bool   `msg:"l"`
	ProtocolVersion string `msg:"p"`
	Voter           bool   `msg:"v"`
	LastIndex       uint64 `msg:"li"`
}

// RaftConfiguration is the consensus group with the log index that set it.
type RaftConfiguration struct {
	Servers []RaftServer `msg:"s"`
	Index   uint64       `msg:"i"`
}

// Leader returns the leader's host:port, empty if there is none.
var Leader = op.Direct[op.Empty, op.Text]{Name: "status.leader", Authorize: open}

// Peers returns the host:port of every member of the consensus group.
var Peers = op.Direct[op.Empty, op.Texts]{Name: "status.peers", Authorize: open}

// Raft returns the consensus group.
var Raft = op.Direct[op.Empty, RaftConfiguration]{Name: "status.raft", Authorize: operatorRead}

// Datacenters returns the names of all known datacenters, nearest first, the
// server's own at the head.
var Datacenters = op.Direct[op.Empty, op.Texts]{Name: "status.datacenters", Authorize: open}

// Ping answers as soon as the server can.
var Ping = op.Direct[op.Empty, op.Empty]{Name: "status.ping", Authorize: open}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Leader, &Peers, &Raft, &Datacenters, &Ping, &Federation, &Change, &Quit}
}

// open is for what every caller may know.
func open(rules.Authorizer, *op.Empty) error { return nil }

func operatorRead(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}

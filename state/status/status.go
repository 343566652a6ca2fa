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

// Peer names a member of the consensus group, by one of both.
type Peer struct {
	ID      string `msg:"id"`
	Address string `msg:"a"`
}

// Leader returns the leader's host:port, empty if there is none.
var Leader = op.Direct[op.Empty, op.Text]{Name: "status.leader", Authorize: open}

// Peers returns the host:port of every member of the consensus group.
var Peers = op.Direct[op.Empty, op.Texts]{Name: "status.peers", Authorize: open}

// Raft returns the consensus group. The leader alone knows where the logs of others end.
var Raft = op.Direct[op.Empty, RaftConfiguration]{Name: "status.raft", Authorize: operatorRead, Reads: true}

// RemovePeer takes a server out of the consensus group: one that is dead or lost. One
// that lives is added again. CodeInvalid without a name, or for the leader, or for one
// that is not in the group.
var RemovePeer = op.Direct[Peer, RaftServer]{Name: "status.remove-peer", Authorize: mayChangeRaft}

// TransferLeader has another voter lead: the one that is named by its ID, else the one
// with the most of the log. CodeInvalid where there is no other, or the ID is of none;
// CodeConflict where it could not be done, and who leads may be another or the same.
var TransferLeader = op.Direct[Peer, op.Empty]{Name: "status.transfer-leader", Authorize: mayChangeRaft}

// Datacenters returns the names of all known datacenters, nearest first, the
// server's own at the head.
var Datacenters = op.Direct[op.Empty, op.Texts]{Name: "status.datacenters", Authorize: open}

// Ping answers as soon as the server can.
var Ping = op.Direct[op.Empty, op.Empty]{Name: "status.ping", Authorize: open}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Leader, &Peers, &Raft, &RemovePeer, &TransferLeader, &Datacenters, &Ping, &Federation, &Change, &Quit, &KeyringList, &KeyringChange, &KeyringWAN, &Gateway, &CompareClocks}
}

// open is for what every caller may know.
func open(rules.Authorizer, *op.Empty) error { return nil }

func mayChangeRaft(a rules.Authorizer, _ *Peer) error {
	return rules.Require(a, rules.Operator, rules.Write, "")
}

func operatorRead(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}

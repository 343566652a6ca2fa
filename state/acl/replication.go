package acl

import (
	"time"

	"github.com/legate-project/legate/op"
)

//go:generate go tool msgp -tests=false -io=false -o replication_gen.go -file replication.go
//msgp:limit arrays:64 maps:64

// ReplicationTokens is the type of replication that there is: of all that is global.
const ReplicationTokens = "tokens"

// Replication says how the copies of what is global stand in a datacenter.
type Replication struct {
	// Enabled is false in the home, which copies nothing, and without access control.
	Enabled bool
	// Running is whether the home is followed at this time.
	Running          bool
	SourceDatacenter string // the home
	ReplicationType  string // ReplicationTokens
	// The index of the home up to which the copies have everything. Policies, roles and
	// tokens come together, so that they are one number.
	ReplicatedIndex      uint64
	ReplicatedRoleIndex  uint64
	ReplicatedTokenIndex uint64
	// LastSuccess is when the copies were last known to be what the home has.
	LastSuccess      time.Time
	LastError        time.Time
	LastErrorMessage string
	// Home is what the datacenter takes for the home, itself included; "" without access
	// control, and from earlier versions.
	Home string `msg:"hm,omitempty" json:"-"`
}

// ReplicationStatus asks a datacenter's leader how its copies stand. Everybody may.
var ReplicationStatus = op.Direct[op.Empty, Replication]{Name: "acl.replication", Authorize: anybody[op.Empty], Reads: true}

package autopilot

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o health_gen.go -file health.go
//msgp:limit arrays:4096 maps:4096

// Stats is what a server says of its place in the consensus group.
type Stats struct {
	// LastContact is the time since it heard its leader; 0 on the leader.
	LastContact time.Duration `msg:"c"`
	// LastTerm and LastIndex are those of the last entry of its log.
	LastTerm  uint64 `msg:"t"`
	LastIndex uint64 `msg:"i"`
}

// What a server is in the consensus group.
const (
	Leader   = "leader"
	Voter    = "voter"
	NonVoter = "non-voter"
)

// What a server is meant for.
const (
	TypeVoter       = "voter"
	TypeReadReplica = "read-replica"
	// With zones: the one that votes for its zone, one that votes because another zone
	// has nobody who could, and one that waits.
	TypeZoneVoter   = "zone-voter"
	TypeZoneExtra   = "zone-extra-voter"
	TypeZoneStandby = "zone-standby"
)

// Server is a server of the consensus group as the leader sees it.
type Server struct {
	ID      string `msg:"id"`
	Name    string `msg:"n"`
	Address string `msg:"a"`
	// Gossip is what that says: alive, failed, left; unknown for who is no member.
	Gossip  string `msg:"g"`
	Version string `msg:"v"`
	Stats   Stats  `msg:"st"`
	Healthy bool   `msg:"h"`
	// StableSince is when Healthy changed last, as far as this leader knows.
	StableSince time.Time `msg:"ss"`
	// State is Leader, Voter or NonVoter; Type is what it is meant for.
	State string            `msg:"s"`
	Type  string            `msg:"ty"`
	Zone  string            `msg:"z,omitempty"`
	Meta  map[string]string `msg:"m,omitempty"`
}

// Zone is a redundancy zone.
type Zone struct {
	Servers []string `msg:"s"`
	Voters  []string `msg:"v"`
	// FailureTolerance is how many of its servers may fail before nobody votes for it.
	FailureTolerance int `msg:"f"`
}

// State is how the servers of a datacenter are.
type State struct {
	Healthy bool `msg:"h"`
	// FailureTolerance is how many voters may fail at once, Optimistic how many may
	// fail one after another, each replaced by a healthy server of its zone.
	FailureTolerance int             `msg:"f"`
	Optimistic       int             `msg:"o"`
	Leader           string          `msg:"l"`
	Voters           []string        `msg:"v"`
	Servers          []Server        `msg:"s"` // voters first
	Zones            map[string]Zone `msg:"z,omitempty"`
}

// ServerStats returns what the server that is asked says of itself.
var ServerStats = op.Direct[op.Empty, Stats]{Name: "autopilot.stats", Authorize: func(rules.Authorizer, *op.Empty) error { return nil }}

// Show returns how the servers are, as the leader knows.
var Show = op.Direct[op.Empty, State]{Name: "autopilot.state", Authorize: mayRead, Reads: true}

// Operations lists what this package declares.
func Operations() []op.Operation { return []op.Operation{&Get, &Set, &ServerStats, &Show} }

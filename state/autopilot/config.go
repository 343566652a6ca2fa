// Package autopilot keeps how a datacenter looks after its servers: what counts as
// healthy, when a new one votes, whether dead ones are removed. It declares what the
// leader tells of that, too.
//
// It decides about no server: that is server/votes.
package autopilot

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o config_gen.go -file config.go
//msgp:limit arrays:64 maps:64

// Config is how the datacenter looks after its servers. The names of fields are those
// of Consul, whose snapshots are read by them.
type Config struct {
	// CleanupDeadServers has dead servers removed where that raises how many more may
	// fail.
	CleanupDeadServers bool `msg:"cd"`
	// LastContactThreshold is the longest silence between a healthy server and its
	// leader.
	LastContactThreshold time.Duration `msg:"lc"`
	// MaxTrailingLogs is how many entries of the log a healthy server may lack.
	MaxTrailingLogs uint64 `msg:"mt"`
	// MinQuorum is how many voters there must be after dead ones are removed.
	MinQuorum uint64 `msg:"mq"`
	// ServerStabilizationTime is how long a server must be healthy before it votes.
	ServerStabilizationTime time.Duration `msg:"st"`
	// RedundancyZoneTag is the key of the nodes' metadata that names the zone of a
	// server; empty for no zones. Of each zone one server votes.
	RedundancyZoneTag string `msg:"rz,omitempty"`
	// DisableUpgradeMigration and UpgradeVersionTag are kept for clients and have no
	// effect.
	DisableUpgradeMigration bool   `msg:"du,omitempty"`
	UpgradeVersionTag       string `msg:"uv,omitempty"`

	CreateIndex uint64 `msg:"ci"`
	ModifyIndex uint64 `msg:"mi"`
}

// Bounds of a configuration.
const (
	maxTag  = 128 // bytes; keys of metadata are no longer
	maxTime = 10 * 365 * 24 * time.Hour
)

// Default is the configuration of who says nothing, which is that of Consul.
func Default() Config {
	return Config{CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250, ServerStabilizationTime: 10 * time.Second}
}

// Check says what is wrong with a configuration.
func (c *Config) Check() error {
	switch {
	case c.LastContactThreshold <= 0 || c.LastContactThreshold > maxTime:
		return op.Errorf(op.CodeInvalid, "LastContactThreshold is %v: want a time above 0, or no server but the leader is ever healthy", c.LastContactThreshold)
	case c.ServerStabilizationTime < 0 || c.ServerStabilizationTime > maxTime:
		return op.Errorf(op.CodeInvalid, "ServerStabilizationTime is %v: want a time from 0", c.ServerStabilizationTime)
	case len(c.RedundancyZoneTag) > maxTag || len(c.UpgradeVersionTag) > maxTag:
		return op.Errorf(op.CodeInvalid, "a tag of the autopilot configuration is longer than %d bytes", maxTag)
	}
	return nil
}

// SetRequest writes the configuration.
type SetRequest struct {
	Config Config `msg:"c"`
	// CAS writes only if ModifyIndex is still that of Config, or there is no
	// configuration for 0.
	CAS bool `msg:"cas,omitempty"`
}

// SetResult says whether the configuration was written; a compare that failed is no
// error.
type SetResult struct {
	OK bool `msg:"ok"`
}

// Get returns the configuration, or none before the first leader has written it.
var Get = op.Read[op.Empty, Config]{Name: "autopilot.config", Authorize: mayRead, Query: func(r storage.Reader, _ *op.Empty) (*Config, error) { return Find(r) }}

// Set writes the configuration.
var Set = op.Write[SetRequest, SetResult]{Name: "autopilot.configure",
	Authorize: func(a rules.Authorizer, _ *SetRequest) error {
		return rules.Require(a, rules.Operator, rules.Write, "")
	},
	Prepare: func(_ op.Leader, r *SetRequest) error { return r.Config.Check() },
}

// configs has one row.
var configs = storage.NewTable[Config](19, "autopilot")

func mayRead(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}

// Find returns the configuration, nil before there is one.
func Find(r storage.Reader) (*Config, error) { return configs.Get(r, nil) }

// ApplySet carries out Set.
func ApplySet(tx *storage.Txn, r *SetRequest) (*SetResult, error) {
	old, err := configs.Get(tx, nil)
	if err != nil {
		return nil, err
	}
	if old == nil {
		old = &Config{}
	}
	if r.CAS && r.Config.ModifyIndex != old.ModifyIndex {
		return &SetResult{}, nil
	}
	c := r.Config
	c.CreateIndex, c.ModifyIndex = old.CreateIndex, tx.Index()
	if c.CreateIndex == 0 {
		c.CreateIndex = tx.Index()
	}
	return &SetResult{OK: true}, configs.Put(tx, nil, &c)
}

// Rows returns the rows of a configuration: what a state holds that was made elsewhere.
func Rows(c *Config) ([]storage.Row, error) { return configs.Rows(nil, c.ModifyIndex, c) }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{configs} }

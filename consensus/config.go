package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// Errors that callers tell apart.
var (
	// ErrNotLeader: this node does not lead, or has not yet applied an entry of
	// its own term. Nothing was applied; another node may be asked.
	ErrNotLeader = errors.New("consensus: not the leader")
	// ErrLost: the command may or may not have been applied, or may still be.
	ErrLost = errors.New("consensus: the outcome of the command is unknown")
	// ErrOverloaded: too many commands wait. Nothing was applied.
	ErrOverloaded = errors.New("consensus: too many commands wait")
	// ErrTooLarge: the command exceeds MaxCommandBytes. Nothing was applied.
	ErrTooLarge = errors.New("consensus: the command is too large")
	// ErrUnknownServer: no other voter of the group has the ID. Nothing was done.
	ErrUnknownServer = errors.New("consensus: no other voter has this ID")
	// ErrSilent: the server does not answer. Nothing was done.
	ErrSilent = errors.New("consensus: no answer")
	// ErrStopped: the node has stopped or failed. Nothing was applied.
	ErrStopped = errors.New("consensus: the node has stopped")
	// ErrBootstrapped: the node has a log, a term or a state already.
	ErrBootstrapped = errors.New("consensus: the node has been part of a cluster")
	// ErrMissingEntries: the log begins after the state ends, so that committed
	// commands are gone from this node.
	ErrMissingEntries = errors.New("consensus: entries between the state and the log are missing")
	// ErrBadEntry: a committed entry cannot be decoded; a newer version wrote it.
	ErrBadEntry = errors.New("consensus: a log entry cannot be decoded")
)

// Machine is the replicated state machine.
type Machine interface {
	// Level is the feature level of a command; an error for one that this build does not
	// know, after which the node has failed.
	Level(command []byte) (uint16, error)
	// Apply runs one command in the transaction, deterministically. After an
	// error what the command wrote is rolled back; the proposer gets value and
	// error as they are. It must not keep or change command.
	Apply(tx *storage.Txn, command []byte) (value any, err error)
}

// Server is a member of the Raft configuration.
type Server struct {
	ID      string
	Address string // host:port as last configured; a hint, see TCPConfig.AddressOf
	Voter   bool
	// LastIndex is where its log ends, as the leader knows from its last answer; 0 if
	// that is not known here.
	LastIndex uint64
}

// Timing are Raft's times where they are not derived from Multiplier.
type Timing struct {
	Heartbeat time.Duration // without word from a leader before an election
	Election  time.Duration // before a candidate tries again
	Lease     time.Duration // without a quorum before a leader steps down; at most Heartbeat
	Commit    time.Duration // between commit notices to an idle follower
}

// Config describes a node. Zero means what each comment says.
type Config struct {
	NodeID    string         // identity, for ever. Required
	Address   string         // what peers are told. Required
	Log       *raftlog.Log   // Required; closed by the caller after Stop
	State     *storage.State // Required; closed by the caller after Stop
	Machine   Machine        // Required
	Transport raft.Transport // Required; closed by Stop

	// Multiplier scales heartbeat 0.5 s, election 0.5 s and lease 0.4 s; 0 is 1.
	Multiplier uint
	// Timing replaces what Multiplier gives, where not 0: for tests and development.
	Timing Timing

	// PreVoteDisabled lets a node raise the term without asking whether it could win.
	PreVoteDisabled bool

	SnapshotThreshold uint64        // entries after which the log is cut; 0 is 50,000
	SnapshotInterval  time.Duration // between looks at that; 0 is 30 s
	TrailingLogs      uint64        // entries kept for slow followers; 0 is 10,240, NoTrailingLogs none

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: no metrics are exported. Stop unregisters
	// NameOf is what people call a server, for metrics; "" if that is not known.
	// nil: IDs are shown.
	NameOf func(id string) string

	// OnLeadership is told of each gain, after all entries of earlier terms are
	// applied, and of each loss, in order, by one goroutine. It may block, but
	// a loss waits for the call before it: watch LeaseRead. nil: nobody is told.
	OnLeadership func(leader bool)
	// OnLeader is told when it becomes known that another server, or this one, leads. It
	// must not block. nil: nobody is told.
	OnLeader func()
}

// NoTrailingLogs as TrailingLogs keeps nothing that the state has: for tests.
const NoTrailingLogs = ^uint64(0)

// Defaults of Config. Cutting the log is nearly free here, so it is done often
// and keeps a generous tail: 10,240 entries hold at least as many commands.
const (
	defaultHeartbeat         = 500 * time.Millisecond
	defaultElection          = 500 * time.Millisecond
	defaultLease             = 400 * time.Millisecond
	defaultCommit            = 50 * time.Millisecond
	defaultSnapshotThreshold = 50_000
	defaultSnapshotInterval  = 30 * time.Second
	defaultTrailingLogs      = 10_240
	maxMultiplier            = 10
)

// Bounds of one AppendEntries and of what it takes to catch up with less of them.
const maxAppendEntries = 512

func (c *Config) validate() error {
	var errs []error
	missing := func(name string, absent bool) {
		if absent {
			errs = append(errs, fmt.Errorf("consensus: Config.%s is missing", name))
		}
	}
	missing("NodeID", c.NodeID == "")
	missing("Address", c.Address == "")
	missing("Log", c.Log == nil)
	missing("State", c.State == nil)
	missing("Machine", c.Machine == nil)
	missing("Transport", c.Transport == nil)
	if c.Multiplier > maxMultiplier {
		errs = append(errs, fmt.Errorf("consensus: Config.Multiplier is %d, above %d", c.Multiplier, maxMultiplier))
	}
	return errors.Join(errs...)
}

func (c *Config) withDefaults() {
	scale := time.Duration(max(c.Multiplier, 1))
	orElse := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	orElse(&c.Timing.Heartbeat, scale*defaultHeartbeat)
	orElse(&c.Timing.Election, scale*defaultElection)
	orElse(&c.Timing.Lease, scale*defaultLease)
	orElse(&c.Timing.Commit, defaultCommit)
	orElse(&c.SnapshotInterval, defaultSnapshotInterval)
	if c.SnapshotThreshold == 0 {
		c.SnapshotThreshold = defaultSnapshotThreshold
	}
	switch c.TrailingLogs {
	case 0:
		c.TrailingLogs = defaultTrailingLogs
	case NoTrailingLogs:
		c.TrailingLogs = 0
	}
	if c.Logger == nil {
		c.Logger = logging.Discard()
	}
	c.Logger = c.Logger.With("component", "raft")
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	if c.NameOf == nil {
		c.NameOf = func(string) string { return "" }
	}
	if c.OnLeadership == nil {
		c.OnLeadership = func(bool) {}
	}
	if c.OnLeader == nil {
		c.OnLeader = func() {}
	}
}

// raftConfig is the library's. Restarts do not restore snapshots, because the
// State is one already; RestoreCommittedLogs stays off, it loses the configuration.
func (c *Config) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.HeartbeatTimeout = c.Timing.Heartbeat
	rc.ElectionTimeout = c.Timing.Election
	rc.LeaderLeaseTimeout = c.Timing.Lease
	rc.CommitTimeout = c.Timing.Commit
	rc.MaxAppendEntries = maxAppendEntries
	rc.BatchApplyCh = true
	rc.ShutdownOnRemove = false // a removed server keeps answering stale reads until it is told to leave
	rc.TrailingLogs = c.TrailingLogs
	rc.SnapshotInterval = c.SnapshotInterval
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.NoSnapshotRestoreOnStart = true
	rc.NoLegacyTelemetry = true
	rc.PreVoteDisabled = c.PreVoteDisabled
	rc.Logger = logging.HCLog(c.Logger)
	return rc
}

package version

// What builds that work together have agreed on. docs/upgrading.md has this as a table,
// and says how a number is raised.
const (
	// Level is the highest feature level that this build knows. A level is a set of
	// commands of the replicated state, and what applying them writes; a higher one holds
	// all lower ones. A leader writes no command of a level that a server of its group does
	// not know, and no server opens a state of a level that it does not know.
	Level = 2

	// StateFormat is the format of both Pebble instances of a server. An instance of a
	// higher one cannot be opened: it is raised one release after all builds can read it.
	StateFormat = 24

	// StreamFormat is the format of a whole state on its way to a follower.
	StreamFormat = 1
	// ArchiveFormat is the newest format of snapshots that are saved; older ones are read.
	ArchiveFormat = 2

	// The protocols over QUIC, and those of Raft and of tunnels over TLS, by the names that TLS agrees on
	// (RFC 7301). Messages may gain fields, which who does not know them skips; whatever
	// changes the meaning of a field takes a protocol of a new number beside the old one.
	RPC      = "legate-rpc/1"      // calls
	Bulk     = "legate-bulk/1"     // calls with much to carry, between datacenters
	Parts    = "legate-parts/1"    // answers in parts
	View     = "legate-view/1"     // results that are followed
	Snapshot = "legate-snapshot/1" // snapshots that are saved and restored
	Gossip   = "legate-gossip/1"   // the WAN pool
	Removal  = "legate-removal/1"  // records of removed datacenters and of the home
	Enroll   = "legate-enroll/1"   // certificates of client agents
	Relay    = "legate-relay/1"    // which packets gateways carry
	Gateway  = "legate-gateway/1"  // what a gateway is between datacenters
	Tunnel   = "legate-tunnel/1"   // packets over TCP between servers and gateways
	Raft     = "legate-raft/1"
)

// levels are the releases that each level came with.
func levels() []string { return []string{1: "0.1.0", 2: "0.2.0"} }

// OfLevel is the first release that knows the level; "a later release" for one that this
// build does not know.
func OfLevel(level uint16) string {
	if of := levels(); level > 0 && int(level) < len(of) {
		return of[level]
	}
	return "a later release"
}

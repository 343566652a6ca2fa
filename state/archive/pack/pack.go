// Package pack is the container of a snapshot: a gzip'd tar of meta.json,
// state.bin and SHA256SUMS, in this order, as Consul writes it and as its tools
// verify it (github.com/hashicorp/consul/snapshot, documented in the command
// reference of snapshot inspect). meta.json is Raft's SnapshotMeta in JSON
// (github.com/hashicorp/raft, SnapshotMeta), SHA256SUMS what the command
// sha256sum prints for the two others.
//
// It promises that what Read accepts is whole and unaltered, and that neither
// writing nor reading holds more than a buffer. It does not know what is in
// state.bin.
package pack

import (
	"errors"
	"fmt"
	"time"
)

// Names of the files in the tar.
const (
	metaName  = "meta.json"
	StateName = "state.bin"
	sumsName  = "SHA256SUMS"
)

// Bounds of what is read.
const (
	maxMeta = 1 << 20 // bytes of meta.json: the servers of one Raft group
	maxSums = 4 << 10 // bytes of the checksums: two lines
	// MaxBytes bounds the state, unpacked: far above what a datacenter holds, and
	// below what a small upload can unpack to.
	MaxBytes = 64 << 30
)

// ErrInvalid wraps everything that is wrong with a container itself.
var ErrInvalid = errors.New("not a valid snapshot")

// version of SnapshotMeta that is written, Raft's SnapshotVersionMax.
const version = 1

// Meta is Raft's description of a snapshot.
type Meta struct {
	Version int
	// ID is made by Describe: term, index and milliseconds since 1970.
	ID    string
	Index uint64
	Term  uint64
	// Peers was the configuration before version 1.
	Peers              []byte
	Configuration      Configuration
	ConfigurationIndex uint64
	// Size of state.bin, in bytes.
	Size int64
}

// Configuration is who takes part in the Raft group.
type Configuration struct{ Servers []Server }

// Server is one of them.
type Server struct {
	// Suffrage is 0 for a voter, 1 for a server without a vote.
	Suffrage int
	ID       string
	Address  string
}

// Describe fills in version and ID.
func (m *Meta) Describe(made time.Time) {
	m.Version = version
	m.ID = fmt.Sprintf("%d-%d-%d", m.Term, m.Index, made.UnixMilli())
}

// Made is when the snapshot was made by its ID; zero if that does not say.
func (m *Meta) Made() time.Time {
	var term, index uint64
	var ms int64
	if _, err := fmt.Sscanf(m.ID, "%d-%d-%d", &term, &index, &ms); err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Package archive is the portable form of a datacenter's state: a description,
// all records and checksums, in the container that Consul's tools know. DESIGN.md
// is its format, which later versions go on reading.
//
// It promises that what Verify accepts is whole, unaltered and in the order in
// which it was written, and that neither writing nor reading holds more than
// one record in memory. It does not know what the records mean and reaches no
// storage.
package archive

import (
	"errors"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/state/archive/pack"
)

// Format is the number of the format that is written.
const Format = version.ArchiveFormat

// Bounds of what is read.
const (
	maxMeta = 1 << 20 // bytes of the description: some dozen tables
	// maxKey and maxValue are above what a command can write, in bytes.
	maxKey   = 256 << 10
	maxValue = 16 << 20
	// MaxBytes bounds the records of one archive, unpacked.
	MaxBytes = pack.MaxBytes
)

// ErrInvalid wraps everything that is wrong with an archive itself.
var ErrInvalid = pack.ErrInvalid

// ErrConsul is returned for a snapshot that Consul wrote: package consulsnap
// reads it.
var ErrConsul = errors.New("a snapshot of Consul")

// Meta describes an archive.
type Meta struct {
	Format int
	// Version of the program that wrote it.
	Version string
	// Datacenter and Node whose state it is.
	Datacenter string
	Node       string
	// Index is the datacenter's index; RaftIndex and Term are those of the last
	// entry of the Raft log in it.
	Index     uint64
	RaftIndex uint64
	Term      uint64
	Time      time.Time
	// Servers of the Raft group, and the index of the entry that made them so.
	Servers            []pack.Server `json:",omitempty"`
	ConfigurationIndex uint64        `json:",omitempty"`
	// Rows and Bytes of all records, as Tables says for each.
	Rows   uint64
	Bytes  uint64
	Tables []Table
}

// Table is how much of a table there is. Index rows count with Indexes set,
// apart from the records that they point to.
type Table struct {
	ID      int
	Name    string
	Indexes bool `json:",omitempty"`
	Rows    uint64
	Bytes   uint64 // of keys and values
}

// Row is one row as it stands in the state: DESIGN.md says what is in it.
type Row struct{ Key, Value []byte }

// The first byte of a key.
const (
	spaceIndex  = 'i'
	spaceRecord = 'r'
	keyHeader   = 2 // space and table
	valueHeader = 9 // index and flag
)

// Record reports whether the row is a record; else it is an index row, which
// only points to one.
func (r Row) Record() bool { return r.Key[0] == spaceRecord }

// Table is the number of the row's table.
func (r Row) Table() int { return int(r.Key[1]) }

// Body is the record in MessagePack; empty for an index row.
func (r Row) Body() []byte { return r.Value[valueHeader:] }

// PrimaryKey is the key of a record in its table.
func (r Row) PrimaryKey() []byte { return r.Key[keyHeader:] }

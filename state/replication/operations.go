package replication

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o operations_gen.go -file operations.go
//msgp:limit arrays:65536 maps:64

// CreateRequest asks for a rule.
type CreateRequest struct {
	Datacenter string `msg:"d"`
	Prefix     string `msg:"p"`
	// Target is the prefix here.
	Target string `msg:"t"`
	// Mode is Mirror if it is empty.
	Mode string `msg:"m,omitempty"`
	// Force has a mirror take the place of keys that are there.
	Force bool `msg:"f,omitempty"`
}

// The states of a rule.
const (
	StatePaused    = "paused"
	StateComparing = "comparing" // checksums of ranges of keys are compared
	StateCopying   = "copying"   // what is not here yet is on its way
	StateFollowing = "following" // everything that was told of is here
	StateFailing   = "failing"   // it is tried again and again: see Error
)

// Status is a rule with what its leader knows of it. Counts are since the leader leads.
type Status struct {
	Rule
	State string `msg:"st"`
	// Error is why it fails, since when, if it does.
	Error string    `msg:"er,omitempty"`
	Since time.Time `msg:"si"`
	// Index of the other datacenter up to which everything is here.
	Index uint64 `msg:"ix"`
	// LagSeconds is how long it is not known that everything is here; 0 while it is.
	LagSeconds float64 `msg:"ls"`
	// LagEntries is how many keys that were told of are not here yet.
	LagEntries uint64 `msg:"le"`
	Written    uint64 `msg:"w"` // keys
	Deleted    uint64 `msg:"x"` // keys
	Bytes      uint64 `msg:"b"` // of keys and values that came
	// Conflicts is how many writes and deletions came that were older than what is here.
	Conflicts uint64 `msg:"c"`
	// Comparisons is how often everything was compared, Mended how many keys such
	// comparisons wrote or deleted.
	Comparisons uint64 `msg:"co"`
	Mended      uint64 `msg:"me"`
	// Compared is when that was done last; zero for never.
	Compared time.Time `msg:"cp"`
}

// Listing are the rules of a datacenter.
type Listing struct {
	Datacenter string   `msg:"d"`
	Rules      []Status `msg:"r"`
}

// ReadRequest names a prefix.
type ReadRequest struct {
	Prefix string `msg:"p"`
}

// Range is a range of keys without their prefix: those from From on that are below To.
// Without To it goes to the end.
type Range struct {
	From string `msg:"f"`
	To   string `msg:"t,omitempty"`
	End  bool   `msg:"e,omitempty"` // there is no To
}

// FollowRequest says what is wanted: checksums of ranges, or what is in some ranges and
// what changed after an index.
type FollowRequest struct {
	Prefix string `msg:"p"`
	// Target is where the follower copies to.
	Target string `msg:"t,omitempty"`
	// Newest asks for times of writes and deletions, too.
	Newest bool `msg:"n,omitempty"`
	// Sums asks for checksums of the Ranges and nothing else.
	Sums bool `msg:"s,omitempty"`
	// Ranges are those of which everything is wanted, or checksums.
	Ranges []Range `msg:"r,omitempty"`
	// Index up to which the follower has everything but what is in the Ranges.
	Index uint64 `msg:"i,omitempty"`
	// Chain asks whether the keys come from where it begins, and for nothing else: each place
	// is copied from the next one, the last one from the Prefix here. Builds that do not know
	// it answer for checksums, so Sums and one empty range are asked for beside it.
	Chain []Place `msg:"ch,omitempty"`
	// Asks is how many datacenters may be asked yet to find out.
	Asks uint64 `msg:"as,omitempty"`
}

// Place is where keys are copied to.
type Place struct {
	Datacenter string `msg:"d"`
	Prefix     string `msg:"p"`
	Mode       string `msg:"m,omitempty"` // of the rule that copies there
}

// Item is a key as it is told of.
type Item struct {
	Key   string `msg:"k"` // without the prefix
	Gone  bool   `msg:"x,omitempty"`
	Flags uint64 `msg:"f,omitempty"`
	Value []byte `msg:"v,omitempty,limit=4194304"` // as that of kv.Entry
	// Origin is where it was written by somebody other than replication, OriginIndex of
	// that datacenter when.
	Origin      string `msg:"o,omitempty"`
	OriginIndex uint64 `msg:"oi,omitempty"`
	// Time is that of Origin's clock, in nanoseconds since 1970; 0 where it is not known.
	Time int64 `msg:"tm,omitempty"`
	// Own says that the key is there as the follower wrote it itself; nothing else is
	// said of it.
	Own bool `msg:"w,omitempty"`
}

// Piece is a part of a range with the number of its keys and the XOR of their checksums.
type Piece struct {
	Range
	Count uint64 `msg:"n"`
	Sum   uint64 `msg:"s"`
}

// Told is what the datacenter that has the keys says.
type Told struct {
	// Index up to which, after the last part, the follower has everything.
	Index uint64 `msg:"i"`
	Items []Item `msg:"it,omitempty"`
	// Covers says that no keys but Items are in this range.
	Covers *Range `msg:"c,omitempty"`
	// Left is how many items there were to tell of, this part's and those to come.
	Left uint64 `msg:"l,omitempty"`
	// Sum is the checksum of everything as of Index, if Summed.
	Sum    uint64 `msg:"s,omitempty"`
	Summed bool   `msg:"d,omitempty"`
	// Forgotten says that it is not known what was deleted since the follower's index.
	Forgotten bool `msg:"fg,omitempty"`
	// Pieces answer for checksums.
	Pieces []Piece `msg:"pc,omitempty"`
	// Traced says that this answers for a Chain: with the Ring that it is part of, if it is,
	// and how many datacenters may be asked yet.
	Traced bool    `msg:"tr,omitempty"`
	Ring   []Place `msg:"rg,omitempty"`
	Asks   uint64  `msg:"as,omitempty"`
	More   bool    `msg:"m,omitempty"` // the next one belongs to it
}

// List returns the rules and how they stand. The leader knows.
var List = op.Direct[op.Empty, Listing]{Name: "replication.list", Reads: true, Authorize: func(a rules.Authorizer, _ *op.Empty) error {
	return rules.Require(a, rules.Operator, rules.Read, "")
}}

// Create makes a rule, after the other datacenter was asked whether the caller may read
// the keys there.
var Create = op.Direct[CreateRequest, Rule]{Name: "replication.create", Authorize: func(a rules.Authorizer, r *CreateRequest) error {
	return mayWrite(a, r.Target)
}}

// Set makes a rule. The leader does, after it has asked.
var Set = op.Internal[SetRequest, Rule]{Name: "replication.set"}

// Change pauses, resumes or removes a rule.
var Change = op.Write[ChangeRequest, op.Empty]{Name: "replication.change",
	Authorize: func(a rules.Authorizer, r *ChangeRequest) error { return mayWrite(a, r.Target) },
	Prepare: func(_ op.Leader, r *ChangeRequest) error {
		if r.Change != Pause && r.Change != Resume && r.Change != Remove {
			return op.Errorf(op.CodeInvalid, "a rule of replication is paused, resumed or removed: %.64q is unknown", r.Change)
		}
		return nil
	},
}

// MayRead asks whether the caller may read everything below a prefix: who may not is
// refused.
var MayRead = op.Direct[ReadRequest, op.Empty]{Name: "replication.may-read", Reads: true, Authorize: func(a rules.Authorizer, r *ReadRequest) error {
	if err := rules.Require(a, rules.Key, rules.Recurse, r.Prefix); err != nil {
		return err
	}
	return rules.Require(a, rules.Key, rules.ReadAll, r.Prefix)
}}

// Follow is followed at a server of the datacenter that has the keys, by servers of the
// federation alone: it is not asked who may read what. It cannot be asked.
var Follow = op.Read[FollowRequest, Told]{Name: "replication.follow",
	Authorize: func(a rules.Authorizer, _ *FollowRequest) error {
		return &rules.DeniedError{Who: a.Who(), Resource: rules.Operator, Access: rules.Write, Name: "replication.follow"}
	},
	Query: func(storage.Reader, *FollowRequest) (*Told, error) {
		return nil, op.Errorf(op.CodeUnsupported, "keys for replication can be followed, not asked for")
	}}

// Operations lists what this package declares, but what only servers follow.
func Operations() []op.Operation {
	return []op.Operation{&List, &Create, &Set, &Change, &MayRead}
}

func mayWrite(a rules.Authorizer, target string) error {
	if err := rules.Require(a, rules.Operator, rules.Write, ""); err != nil {
		return err
	}
	return rules.Require(a, rules.Key, rules.WriteAll, target)
}

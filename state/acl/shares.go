package acl

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o shares_gen.go -file shares.go
//msgp:limit arrays:1048576 maps:16

// Kind is a kind of what is global.
type Kind uint8

// The kinds of what is global.
const (
	KindPolicy Kind = iota
	KindRole
	KindMethod
	KindBinding
	KindToken
	kinds
)

// String is the word for it in logs.
func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return [...]string{"policies", "roles", "auth methods", "binding rules", "tokens"}[k]
}

// Name names a record of what is global.
type Name struct {
	Kind Kind   `msg:"k"`
	Key  string `msg:"n"` // its ID, of a method its name, in lower case
}

// Records are records of what is global.
type Records struct {
	Policies Policies `msg:"p,omitempty"`
	Roles    Roles    `msg:"r,omitempty"`
	Methods  Methods  `msg:"m,omitempty"`
	Bindings Bindings `msg:"b,omitempty"`
	Tokens   Tokens   `msg:"t,omitempty"`
}

// Len counts the records.
func (r *Records) Len() int {
	return len(r.Policies) + len(r.Roles) + len(r.Methods) + len(r.Bindings) + len(r.Tokens)
}

// Bucket is a part of what is global, by the names of all that is in it.
type Bucket struct {
	Number uint16 `msg:"b"`
	Names  []Name `msg:"n"`
}

// FollowRequest says what the follower has.
type FollowRequest struct {
	// Version of the record that says who is home, by which the source is asked.
	Version int64 `msg:"v"`
	// Index of the home up to which the follower has everything; 0 for none. Who does
	// not have that much itself is no source.
	Index uint64 `msg:"i"`
	// Sums are the checksums of the follower's buckets, 8 bytes each, big-endian.
	Sums []byte `msg:"s"`
}

// Changes say what the home has and the follower has not: first whole buckets, then
// what changes.
type Changes struct {
	// Index up to which, after the last part, the follower has everything.
	Index uint64 `msg:"i"`
	// Sum is the checksum of everything at this time, if Summed.
	Sum    uint64 `msg:"s,omitempty"`
	Summed bool   `msg:"d,omitempty"`
	// Buckets that differ: what is not in them is not there. The records themselves
	// follow.
	Buckets []Bucket `msg:"b,omitempty,limit=4096"`
	Deletes []Name   `msg:"x,omitempty"`
	Records Records  `msg:"r"`
	// Begun is set in last parts where there was a first management token: nobody makes
	// another one then, wherever the home is.
	Begun bool `msg:"bg,omitempty"`
	More  bool `msg:"m,omitempty"` // the next one belongs to it
}

// Follow is followed at a server of the home, by servers of the federation alone: it
// has the secrets of all global tokens. It cannot be asked.
var Follow = op.Read[FollowRequest, Changes]{Name: "acl.follow", Authorize: func(a authorizer, _ *FollowRequest) error { return denied(a) },
	Query: func(storage.Reader, *FollowRequest) (*Changes, error) {
		return nil, op.Errorf(op.CodeUnsupported, "what is global can be followed, not asked for")
	}}

// CopyRequest writes what came from the home.
type CopyRequest struct {
	// Version of the record that says who is home: what a former home sent is refused.
	Version int64 `msg:"v"`
	// Index of the home up to which there is everything now; 0 says nothing of it.
	Index   uint64  `msg:"i,omitempty"`
	Deletes []Name  `msg:"x,omitempty"`
	Records Records `msg:"r"`
	// Begun says that there was a first management token.
	Begun bool `msg:"bg,omitempty"`
}

// CopyResult says what gave way.
type CopyResult struct {
	// Lost are the accessors of local tokens that had the accessor or the secret of a
	// global one.
	Lost []string `msg:"l,omitempty"`
}

// Copy writes what came from the home. Only a datacenter that is not the home does.
var Copy = op.Internal[CopyRequest, CopyResult]{Name: "acl.copy"}

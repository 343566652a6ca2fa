// Package kv is the key/value store of a datacenter: its records and its
// operations.
//
// It knows nothing of HTTP, of sessions' life or of how commands are
// replicated.
package kv

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o kv_gen.go -file kv.go
//msgp:limit arrays:4194304 maps:64

// Entry is one key with its value.
type Entry struct {
	// LockIndex counts how often the lock of this key was acquired.
	LockIndex uint64 `msg:"l,omitempty"`
	Key       string `msg:"k"`
	// Flags belong to the client; they are stored and returned.
	Flags uint64 `msg:"f,omitempty"`
	Value []byte `msg:"v"`
	// Session that holds the lock, or empty.
	Session     string `json:",omitempty" msg:"s,omitempty"`
	CreateIndex uint64 `msg:"ci"`
	ModifyIndex uint64 `msg:"mi"`
	// Origin is the datacenter of which it is a copy, where somebody wrote it, and
	// OriginIndex its ModifyIndex there; empty for what was written here.
	Origin      string `json:"-" msg:"o,omitempty"`
	OriginIndex uint64 `json:"-" msg:"oi,omitempty"`
	// Time is when somebody wrote it, by the clock of the leader there, in nanoseconds
	// since 1970; later than whatever it took the place of. 0 where that is not known.
	Time int64 `json:"-" msg:"t,omitempty"`
	// Via is the datacenter that a rule of mode newest has copied it from.
	Via string `json:"-" msg:"via,omitempty"`
}

// Entries are entries in key order.
type Entries []Entry

// Keys are keys in order.
type Keys []string

// The verbs of Apply.
const (
	Set        = "set"         // write
	CAS        = "cas"         // write if ModifyIndex is still Entry.ModifyIndex, or absent for 0
	Delete     = "delete"      // delete one key
	DeleteCAS  = "delete-cas"  // delete if ModifyIndex is still Entry.ModifyIndex, or already absent
	DeleteTree = "delete-tree" // delete every key with the prefix Entry.Key
	Lock       = "lock"        // write and hold for Entry.Session, if nobody else holds the key
	Unlock     = "unlock"      // write and let go, if Entry.Session holds the key
)

// ApplyRequest writes or deletes.
type ApplyRequest struct {
	Verb  string `msg:"verb"`
	Entry Entry  `msg:"e"`
	// Clock is the leader's, see op.Leader; for Lock alone.
	Clock time.Duration `msg:"clk,omitempty"`
	// Now is the time of the leader's clock, in nanoseconds since 1970.
	Now int64 `msg:"now,omitempty"`
}

// ApplyResult says whether a write took place; a compare that failed is not an
// error.
type ApplyResult struct {
	OK bool `msg:"ok"`
	// Index of the command.
	Index uint64 `msg:"idx"`
}

// GetRequest names one key.
type GetRequest struct {
	Key string `msg:"k"`
}

// ListRequest names a prefix.
type ListRequest struct {
	Prefix string `msg:"p"`
}

// KeysRequest names a prefix. With a Separator, what follows its first
// occurrence behind the prefix is folded.
type KeysRequest struct {
	Prefix    string `msg:"p"`
	Separator string `msg:"sep,omitempty"`
}

// Apply writes, deletes or compares and writes.
var Apply = op.Write[ApplyRequest, ApplyResult]{Name: "kv.apply", Authorize: authorizeApply, Prepare: prepareApply}

// Get returns one entry, or none.
var Get = op.Read[GetRequest, Entry]{Name: "kv.get", Authorize: authorizeGet, Query: getEntry}

// List returns the entries below a prefix.
var List = op.Read[ListRequest, Entries]{Name: "kv.list", Authorize: authorizeList, Query: listEntries, Part: partOfEntries, Filter: filterEntries}

// ListKeys returns the keys below a prefix.
var ListKeys = op.Read[KeysRequest, Keys]{Name: "kv.keys", Authorize: authorizeKeys, Query: listKeys, Part: partOfKeys, Filter: filterKeys}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Apply, &Get, &List, &ListKeys, &ListHeld, &Pass, &Copy, &Forget, &Settle}
}

// entries holds all keys; the row key is the key itself. Listing keys is
// common, and reads no values.
var entries = storage.NewTable(1, "kv", bySession).WithHeads()

func authorizeApply(a rules.Authorizer, r *ApplyRequest) error {
	if r.Verb == DeleteTree {
		return rules.Require(a, rules.Key, rules.WriteAll, r.Entry.Key)
	}
	return rules.Require(a, rules.Key, rules.Write, r.Entry.Key)
}

func authorizeGet(a rules.Authorizer, r *GetRequest) error {
	return rules.Require(a, rules.Key, rules.Read, r.Key)
}

// What the caller may not read is removed from lists.
func authorizeList(a rules.Authorizer, r *ListRequest) error {
	return rules.Require(a, rules.Key, rules.Recurse, r.Prefix)
}

func authorizeKeys(a rules.Authorizer, r *KeysRequest) error {
	return rules.Require(a, rules.Key, rules.Recurse, r.Prefix)
}

func filterEntries(a rules.Authorizer, es *Entries) bool {
	kept := (*es)[:0:0]
	for _, e := range *es {
		if a.Allow(rules.Key, rules.Read, e.Key) {
			kept = append(kept, e)
		}
	}
	filtered := len(kept) < len(*es)
	*es = kept
	return filtered
}

func filterKeys(a rules.Authorizer, ks *Keys) bool {
	kept := (*ks)[:0:0]
	for _, k := range *ks {
		if a.Allow(rules.Key, rules.List, k) {
			kept = append(kept, k)
		}
	}
	filtered := len(kept) < len(*ks)
	*ks = kept
	return filtered
}

func prepareApply(l op.Leader, r *ApplyRequest) error {
	r.Clock, r.Now = 0, l.Now.UnixNano()
	switch r.Verb {
	case Lock, Unlock:
		if r.Entry.Session == "" {
			return op.Errorf(op.CodeInvalid, "missing session")
		}
		if r.Verb == Lock {
			r.Clock = l.Clock
		}
		fallthrough
	case Set, CAS, Delete, DeleteCAS:
		if r.Entry.Key == "" {
			return op.Errorf(op.CodeInvalid, "Missing key name")
		}
	case DeleteTree:
	default:
		return op.Errorf(op.CodeInvalid, "unknown KV verb %q", r.Verb)
	}
	return nil
}

func getEntry(r storage.Reader, req *GetRequest) (*Entry, error) {
	return entries.Get(r, []byte(req.Key))
}

// ApplyEntry carries out Apply on the state. What a mirror has is not written.
func ApplyEntry(tx *storage.Txn, r *ApplyRequest) (*ApplyResult, error) {
	res := &ApplyResult{OK: true, Index: tx.Index()}
	if r.Verb == DeleteTree {
		return res, deleteTree(tx, r)
	}
	rule, err := replication.Guard(tx, r.Entry.Key)
	if err != nil {
		return nil, err
	}
	key := []byte(r.Entry.Key)
	old, err := entries.Get(tx, key)
	if err != nil {
		return nil, err
	}
	switch r.Verb {
	case Delete, DeleteCAS:
		if old == nil {
			return res, nil
		}
		if res.OK = r.Verb == Delete || old.ModifyIndex == r.Entry.ModifyIndex; res.OK {
			err = remove(tx, rule, old, r.Now)
		}
		return res, err
	}
	row := renewed(tx, old, &r.Entry)
	if row.Time, err = stampOf(tx, rule, old, r); err != nil {
		return nil, err
	}
	switch r.Verb {
	case CAS:
		res.OK = compares(old, r.Entry.ModifyIndex)
	case Lock:
		res.OK, err = lock(tx, r, old, row)
	case Unlock:
		res.OK = old != nil && holds(old, r.Entry.Session)
		row.Session = ""
	}
	if err != nil || !res.OK {
		return res, err
	}
	if rule != nil {
		if _, err := graves.Delete(tx, key); err != nil {
			return nil, err
		}
	}
	return res, entries.Replace(tx, key, old, row)
}

// ApplyUnstamped is ApplyEntry without the time of the leader's clock, as servers that do
// not know it carry Apply out: those delete large trees key by key, too.
func ApplyUnstamped(tx *storage.Txn, r *ApplyRequest) (*ApplyResult, error) {
	r.Now = 0
	return ApplyEntry(tx, r)
}

// compares reports whether a write on condition of index may go ahead.
func compares(old *Entry, index uint64) bool {
	if old == nil {
		return index == 0
	}
	return index != 0 && old.ModifyIndex == index
}

// renewed is the entry with the client's part of e and what belongs to the store.
func renewed(tx *storage.Txn, old, e *Entry) *Entry {
	row := &Entry{Key: e.Key, Flags: e.Flags, Value: e.Value, CreateIndex: tx.Index(), ModifyIndex: tx.Index()}
	if old != nil {
		row.CreateIndex, row.LockIndex, row.Session = old.CreateIndex, old.LockIndex, old.Session
	}
	return row
}

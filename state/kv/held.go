package kv

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o held_gen.go -file held.go
//msgp:limit arrays:1024 maps:64

// Bounds of one answer about what a session holds: keys, and bytes of their values, which are read with
// them.
const (
	MaxHeld      = 1000
	maxHeldBytes = 64 << 20
)

// HeldRequest names a session, and how many keys are wanted: 0, or more than MaxHeld, is MaxHeld.
type HeldRequest struct {
	Session string `msg:"s"`
	Limit   int    `msg:"l,omitempty"`
}

// Held is what a session holds.
type Held struct {
	// Node of the session: who may read it may know of its keys. Empty where there is no such session.
	Node string    `json:"-" msg:"n"`
	Keys []HeldKey `msg:"k"` // in order
	// More says that it holds more than these.
	More bool `msg:"m,omitempty"`
}

// HeldKey is a key that is locked.
type HeldKey struct {
	Key         string `msg:"k"`
	LockIndex   uint64 `msg:"l"`
	ModifyIndex uint64 `msg:"mi"`
}

// ListHeld returns the keys that a session holds. One that is not there holds none, as one that the caller may
// not see.
var ListHeld = op.Read[HeldRequest, Held]{Name: "kv.held", Authorize: authorizeHeld, Query: listHeld, Filter: filterHeld}

// authorizeHeld leaves it to filterHeld: the stored session's node decides, and each key.
func authorizeHeld(rules.Authorizer, *HeldRequest) error { return nil }

func listHeld(r storage.Reader, req *HeldRequest) (*Held, error) {
	s, err := session.Find(r, req.Session)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return &Held{}, nil
	}
	limit, size := req.Limit, 0
	if limit <= 0 || limit > MaxHeld {
		limit = MaxHeld
	}
	out := &Held{Node: s.Node}
	for e, err := range bySession.Scan(r, storage.Key(s.ID)) {
		if err != nil {
			return nil, err
		}
		if size += len(e.Value); len(out.Keys) == limit || size > maxHeldBytes {
			out.More = true
			break
		}
		out.Keys = append(out.Keys, HeldKey{e.Key, e.LockIndex, e.ModifyIndex})
	}
	return out, nil
}

// filterHeld leaves out the keys that the caller may not read, and all of a session that he may not.
func filterHeld(a rules.Authorizer, h *Held) bool {
	if h.Node == "" {
		return false
	}
	if !a.Allow(rules.Session, rules.Read, h.Node) {
		*h = Held{}
		return true
	}
	var kept []HeldKey
	for _, k := range h.Keys {
		if a.Allow(rules.Key, rules.Read, k.Key) {
			kept = append(kept, k)
		}
	}
	filtered := len(kept) < len(h.Keys)
	h.Keys = kept
	return filtered
}

// Package session knows the sessions of a datacenter, by which locks are held,
// and the axis of time that lock-delays are measured on.
//
// It decides whether a session may be made and which sessions a node or a check
// carries. It does not end them: what follows from that (locks, keys) is called
// from package state, and TTLs are timers of the leader.
package session

import (
	"strings"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o session_gen.go -file session.go
//msgp:limit arrays:1048576 maps:64

// What becomes of the keys that a session holds when it ends.
const (
	Release = "release" // they stay, unlocked
	Delete  = "delete"  // they are deleted
)

// Bounds of a session: how long keys stay locked behind it unless it says so
// itself, how long its TTL may be, how many checks it may depend on, and how long
// its texts may be, in bytes.
const (
	DefaultLockDelay = 15 * time.Second
	MaxTTL           = 24 * time.Hour
	DefaultMinTTL    = 10 * time.Second
	maxChecks        = 64
	maxName          = 4096
	maxWord          = 128 // of a TTL or a namespace as the client wrote it, in bytes
)

// ServiceCheck names a check of a service on the session's node.
type ServiceCheck struct {
	ID        string
	Namespace string `json:",omitempty" msg:",omitempty"` // accepted and returned; there are no namespaces
}

// Session is a session: it lives as long as its node, its checks and its TTL
// let it. The node may be one of another datacenter: see Bind.
type Session struct {
	ID   string
	Name string
	Node string
	// NodeDatacenter is where the node is, if that is another datacenter than the
	// session's; else empty.
	NodeDatacenter string `json:",omitempty" msg:",omitempty"`
	// LockDelay is for how long nobody can lock the keys that were held when the
	// session was invalidated; nanoseconds in JSON.
	LockDelay time.Duration
	Behavior  string // Release or Delete
	// TTL as the client wrote it; empty for none. The session ends when it was
	// not renewed for between one and two times as long.
	TTL           string
	NodeChecks    []string       `msg:",limit=1024"` // maxChecks is less, and says so
	ServiceChecks []ServiceCheck `msg:",limit=1024"`
	CreateIndex   uint64
	ModifyIndex   uint64
}

// Sessions are sessions in the order of their IDs.
type Sessions []Session

// CreateRequest makes a session. The ID and the indexes are fixed by the leader.
type CreateRequest struct {
	Session Session `msg:"s"`
}

// CreateResult names the new session.
type CreateResult struct {
	ID string `msg:"id"`
}

// DestroyRequest ends a session. That there is none is no error.
type DestroyRequest struct {
	ID    string        `msg:"id"`
	Clock time.Duration `msg:"clk,omitempty"` // the leader's, see op.Leader
}

// ExpireRequest ends sessions whose TTL has passed.
type ExpireRequest struct {
	Sessions []Expiry      `msg:"s,limit=128"`
	Clock    time.Duration `msg:"clk,omitempty"` // the leader's, see op.Leader
}

// Expiry names a session as it was made: one that was made since is another.
type Expiry struct {
	ID          string `msg:"id"`
	CreateIndex uint64 `msg:"ci"`
}

// MaxExpiries is how many sessions one command ends, at most: a commit that ends
// thousands would hold the others up.
const MaxExpiries = 128

// IDRequest names a session.
type IDRequest struct {
	ID string `msg:"id"`
}

// NodeRequest names a node.
type NodeRequest struct {
	Node string `msg:"n"`
}

// Axis is how far time has got, as the replicated state knows it. It has no
// relation to any wall clock and never goes back.
type Axis struct {
	Clock time.Duration `msg:"c"`
}

// Create makes a session.
var Create = op.Write[CreateRequest, CreateResult]{Name: "session.create", Authorize: authorizeCreate,
	AuthorizeStored: authorizeNode, Prepare: prepareCreate}

// Destroy ends a session.
var Destroy = op.Write[DestroyRequest, op.Empty]{Name: "session.destroy", Authorize: later[DestroyRequest],
	AuthorizeStored: authorizeDestroy, Prepare: prepareDestroy}

// Expire ends sessions whose TTL has passed.
var Expire = op.Internal[ExpireRequest, op.Empty]{Name: "session.expire"}

// Renew starts the TTL of a session anew. The leader answers it, and authorizes
// it by the node of the session.
var Renew = op.Direct[IDRequest, Session]{Name: "session.renew", Authorize: later[IDRequest]}

// Get returns one session, or an empty list.
var Get = op.Read[IDRequest, Sessions]{Name: "session.get", Authorize: later[IDRequest], Query: getOne, Filter: filterSessions}

// List returns all sessions.
var List = op.Read[op.Empty, Sessions]{Name: "session.list", Authorize: later[op.Empty], Query: list, Filter: filterSessions, Shared: true}

// ListNode returns the sessions of a node.
var ListNode = op.Read[NodeRequest, Sessions]{Name: "session.node", Authorize: later[NodeRequest], Query: listNode, Filter: filterSessions}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Create, &Bind, &Destroy, &Expire, &Renew, &Get, &List, &ListNode}
}

var (
	byNode = storage.NewIndex(1, "session-node", func(s *Session) [][]byte {
		if s.NodeDatacenter != "" { // a node of that name here is another one
			return nil
		}
		return [][]byte{nodeKey(s.Node)}
	})
	byCheck = storage.NewIndex(2, "session-check", func(s *Session) [][]byte {
		if s.NodeDatacenter != "" {
			return nil
		}
		var keys [][]byte
		for id := range s.checks {
			keys = append(keys, checkKey(s.Node, id))
		}
		return keys
	})
	withTTL = storage.NewIndex(3, "session-ttl", func(s *Session) [][]byte {
		if !s.Timed() {
			return nil
		}
		return [][]byte{{}}
	})
	abroad = storage.NewIndex(4, "session-abroad", func(s *Session) [][]byte {
		if s.NodeDatacenter == "" {
			return nil
		}
		return [][]byte{storage.Key(s.NodeDatacenter, strings.ToLower(s.Node))}
	})

	sessions = storage.NewTable(8, "sessions", byNode, byCheck, withTTL, abroad)
	axis     = storage.NewTable[Axis](9, "axis")
)

func nodeKey(node string) []byte         { return storage.Key(strings.ToLower(node)) }
func checkKey(node, check string) []byte { return storage.Key(strings.ToLower(node), check) }
func idKey(id string) []byte             { return storage.Key(strings.ToLower(id)) }

// checks yields the IDs of all checks that the session depends on.
func (s *Session) checks(yield func(string) bool) {
	for _, id := range s.NodeChecks {
		if !yield(id) {
			return
		}
	}
	for _, c := range s.ServiceChecks {
		if !yield(c.ID) {
			return
		}
	}
}

// Timed reports whether the session ends by itself after a time in which nobody stood
// up for it.
func (s *Session) Timed() bool { return s.TTL != "" || s.NodeDatacenter != "" }

// Lifetime is the TTL of the session; 0 for none.
func (s *Session) Lifetime() time.Duration {
	d, err := time.ParseDuration(s.TTL)
	if err != nil { // checked when it was made
		return 0
	}
	return d
}

func authorizeCreate(a rules.Authorizer, r *CreateRequest) error {
	return rules.Require(a, rules.Session, rules.Write, r.Session.Node)
}

// authorizeNode asks by the name of the node as the catalog spells it, too:
// nodes are found by any spelling, rules are not.
func authorizeNode(a rules.Authorizer, r storage.Reader, req *CreateRequest) error {
	n, err := catalog.FindNode(r, &catalog.Node{Node: req.Session.Node})
	if err != nil || n == nil {
		return err
	}
	return rules.Require(a, rules.Session, rules.Write, n.Node)
}

// later is for what the stored session's node decides.
func later[Req any](rules.Authorizer, *Req) error { return nil }

func authorizeDestroy(a rules.Authorizer, r storage.Reader, req *DestroyRequest) error {
	s, err := Find(r, req.ID)
	if err != nil || s == nil {
		return err
	}
	return rules.Require(a, rules.Session, rules.Write, s.Node)
}

func filterSessions(a rules.Authorizer, list *Sessions) bool {
	shown := Sessions{}
	for i := range *list {
		if a.Allow(rules.Session, rules.Read, (*list)[i].Node) {
			shown = append(shown, (*list)[i])
		}
	}
	filtered := len(shown) < len(*list)
	*list = shown
	return filtered
}

func prepareCreate(l op.Leader, r *CreateRequest) error {
	if dc := r.Session.NodeDatacenter; dc != "" {
		return op.Errorf(op.CodeInvalid, "session.create is for nodes of the session's own datacenter, session.bind for those of datacenter %.64q", dc)
	}
	return prepare(l, &r.Session)
}

func prepare(l op.Leader, s *Session) error {
	if s.Node == "" {
		return op.Errorf(op.CodeInvalid, "Must provide Node")
	}
	if len(s.Name) > maxName {
		return op.Errorf(op.CodeInvalid, "Session name is longer than %d bytes", maxName)
	}
	if n := len(s.NodeChecks) + len(s.ServiceChecks); n > maxChecks {
		return op.Errorf(op.CodeInvalid, "Session depends on %d checks, at most %d are allowed", n, maxChecks)
	}
	for _, c := range s.ServiceChecks {
		if len(c.Namespace) > maxWord {
			return op.Errorf(op.CodeInvalid, "Namespace of check '%s' is longer than %d bytes", c.ID, maxWord)
		}
	}
	switch s.Behavior {
	case "":
		s.Behavior = Release
	case Release, Delete:
	default:
		return op.Errorf(op.CodeInvalid, "Invalid Behavior setting '%s'", s.Behavior)
	}
	if s.LockDelay < 0 {
		return op.Errorf(op.CodeInvalid, "Invalid LockDelay '%v', must be 0s or more", s.LockDelay)
	}
	if err := prepareTTL(l, s); err != nil {
		return err
	}
	s.ID = l.NewID()
	s.CreateIndex, s.ModifyIndex = 0, 0
	return nil
}

func prepareTTL(l op.Leader, s *Session) error {
	if s.TTL == "" {
		return nil
	}
	shortest := l.MinTTL
	if shortest == 0 {
		shortest = DefaultMinTTL
	}
	d, err := time.ParseDuration(s.TTL)
	switch {
	case len(s.TTL) > maxWord:
		return op.Errorf(op.CodeInvalid, "Session TTL is longer than %d bytes", maxWord)
	case err != nil:
		return op.Errorf(op.CodeInvalid, "Session TTL '%s' invalid: invalid duration: use a number with a unit, such as 30s", s.TTL)
	case d == 0:
		s.TTL = ""
	case d < shortest || d > MaxTTL:
		return op.Errorf(op.CodeInvalid, "Invalid Session TTL '%s', must be between [%v=%v]", s.TTL, shortest, MaxTTL)
	}
	return nil
}

func prepareDestroy(l op.Leader, r *DestroyRequest) error {
	r.Clock = l.Clock
	return nil
}

func getOne(r storage.Reader, req *IDRequest) (*Sessions, error) {
	s, err := Find(r, req.ID)
	if err != nil || s == nil {
		return &Sessions{}, err
	}
	return &Sessions{*s}, nil
}

func list(r storage.Reader, _ *op.Empty) (*Sessions, error) {
	out := Sessions{}
	for s, err := range sessions.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return &out, nil
}

func listNode(r storage.Reader, req *NodeRequest) (*Sessions, error) {
	out, err := OnNode(r, req.Node)
	return &out, err
}

// Find returns a session, or nil.
func Find(r storage.Reader, id string) (*Session, error) { return sessions.Get(r, idKey(id)) }

// OnNode returns the sessions of a node.
func OnNode(r storage.Reader, node string) (Sessions, error) {
	return collect(byNode, r, nodeKey(node))
}

// OnCheck returns the sessions that depend on a check of a node.
func OnCheck(r storage.Reader, node, check string) (Sessions, error) {
	return collect(byCheck, r, checkKey(node, check))
}

// WithTTL returns the sessions that end by themselves: see Session.Timed.
func WithTTL(r storage.Reader) (Sessions, error) { return collect(withTTL, r, nil) }

func collect(ix *storage.Index[Session, *Session], r storage.Reader, prefix []byte) (Sessions, error) {
	out := Sessions{}
	for s, err := range ix.Scan(r, prefix) {
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, nil
}

// ApplyCreate makes the session if its node and checks are there and none of
// the checks is critical.
func ApplyCreate(tx *storage.Txn, r *CreateRequest) (*CreateResult, error) {
	s := r.Session
	s.NodeDatacenter = "" // it means nothing in this command
	n, err := catalog.FindNode(tx, &catalog.Node{Node: s.Node})
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, op.Errorf(op.CodeConflict, "Missing node registration: node %q is not in this datacenter's catalog; a session needs a node of the datacenter it is made in", s.Node)
	}
	s.Node = n.Node
	if err := Stands(tx, &s); err != nil {
		return nil, err
	}
	return add(tx, s)
}

func add(tx *storage.Txn, s Session) (*CreateResult, error) {
	old, err := Find(tx, s.ID)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return nil, op.Errorf(op.CodeConflict, "Session %q exists already", s.ID)
	}
	s.CreateIndex, s.ModifyIndex = tx.Index(), tx.Index()
	return &CreateResult{ID: s.ID}, sessions.Replace(tx, idKey(s.ID), nil, &s)
}

// Stands returns a *op.Error unless every check that the session depends on is
// there and none is critical.
func Stands(r storage.Reader, s *Session) error {
	for id := range s.checks {
		c, err := catalog.FindCheck(r, s.Node, id)
		if err == nil {
			err = passes(id, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// passes returns a *op.Error unless a session may depend on the check.
func passes(id string, c *catalog.Check) error {
	switch {
	case c == nil:
		return op.Errorf(op.CodeConflict, "Missing check '%s' registration", id)
	case c.Status == catalog.Critical:
		return op.Errorf(op.CodeConflict, "Check '%s' is in critical state", id)
	}
	return nil
}

// Remove takes the session away and reports whether it was there. What it holds
// is the caller's business.
func Remove(tx *storage.Txn, id string) (bool, error) { return sessions.Delete(tx, idKey(id)) }

// Reached returns how far the axis of time has got.
func Reached(r storage.Reader) (time.Duration, error) {
	a, err := axis.Get(r, []byte("now"))
	if err != nil || a == nil {
		return 0, err
	}
	return a.Clock, nil
}

// Advance moves the axis to the clock of a command, unless it is past that
// already, and returns how far it has got.
func Advance(tx *storage.Txn, clock time.Duration) (time.Duration, error) {
	now, err := Reached(tx)
	if err != nil || clock <= now {
		return now, err
	}
	return clock, axis.Put(tx, []byte("now"), &Axis{Clock: clock})
}

// Rows returns the rows of a session with the indexes that it has: what a state
// holds that was made elsewhere.
func Rows(s *Session) ([]storage.Row, error) { return sessions.Rows(idKey(s.ID), s.ModifyIndex, s) }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{sessions, axis} }

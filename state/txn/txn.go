// Package txn declares transactions: up to 128 operations on keys, nodes,
// services and checks that are carried out all or not at all.
//
// It says what an operation asks for and carries out those that only read.
// Writes are carried out in package state, with what follows from them in other
// domains. A transaction does not wait for anything to change.
package txn

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o txn_gen.go -file txn.go
//msgp:limit arrays:4194304 maps:64

// MaxOps is how many operations one transaction has, at most.
const MaxOps = 128

// The verbs. For keys there are also those of kv.ApplyRequest.
const (
	Get            = "get"
	GetOrEmpty     = "get-or-empty"     // of keys, like those below
	GetTree        = "get-tree"         // everything below a prefix
	CheckIndex     = "check-index"      // fail unless ModifyIndex is Index
	CheckSession   = "check-session"    // fail unless Session holds the key
	CheckNotExists = "check-not-exists" // fail if there is such a key

	Set       = "set" // of nodes, services and checks, like those below
	CAS       = "cas" // fail unless ModifyIndex is that of the record; 0: unless there is none
	Delete    = "delete"
	DeleteCAS = "delete-cas"
)

// KVOp is an operation on keys.
type KVOp struct {
	Verb    string
	Key     string
	Value   []byte
	Flags   uint64
	Index   uint64
	Session string
}

// NodeOp is an operation on a node.
type NodeOp struct {
	Verb string
	Node catalog.Node
}

// ServiceOp is an operation on a service of a node.
type ServiceOp struct {
	Verb    string
	Node    string
	Service catalog.Service
}

// CheckOp is an operation on a check.
type CheckOp struct {
	Verb  string
	Check catalog.Check
}

// Op is one operation: exactly one of the fields is set.
type Op struct {
	KV      *KVOp      `json:",omitempty" msg:",omitempty"`
	Node    *NodeOp    `json:",omitempty" msg:",omitempty"`
	Service *ServiceOp `json:",omitempty" msg:",omitempty"`
	Check   *CheckOp   `json:",omitempty" msg:",omitempty"`
	// Refused is why the leader does not carry the operation out; empty if it
	// does. Such a transaction goes through the log all the same, as only what is
	// stored tells what else in it fails.
	Refused string `json:"-" msg:",omitempty"`
}

// Wrong says why the operation cannot be carried out, whatever is stored; empty
// if it may.
func (o *Op) Wrong() string {
	if o.Refused != "" {
		return o.Refused
	}
	return o.malformed()
}

// malformed says why it is no operation; empty if it is one. Unlike Wrong it does
// not hear what the operation says of itself.
func (o *Op) malformed() string {
	set := 0
	for _, is := range []bool{o.KV != nil, o.Node != nil, o.Service != nil, o.Check != nil} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return "an operation must be one of KV, Node, Service and Check"
	case o.KV == nil && !o.Reads() && !o.writesRecord():
		return "unknown verb"
	}
	return ""
}

// writesRecord tells whether the verb is one that writes nodes, services and
// checks. Keys have more verbs, which their domain knows.
func (o *Op) writesRecord() bool {
	var verb string
	switch {
	case o.Node != nil:
		verb = o.Node.Verb
	case o.Service != nil:
		verb = o.Service.Verb
	case o.Check != nil:
		verb = o.Check.Verb
	}
	switch verb {
	case Set, CAS, Delete, DeleteCAS:
		return true
	}
	return false
}

// Request is a transaction.
type Request struct {
	Ops   []Op          `msg:",limit=128"`
	Clock time.Duration `json:"-" msg:",omitempty"` // the leader's, see op.Leader
	// Now is the time of the leader's clock, in nanoseconds since 1970: when keys were
	// written.
	Now int64 `json:"-" msg:",omitempty"`
}

// Item is what one operation gave: exactly one of the fields is set. A key that
// was written is shown without its value.
type Item struct {
	KV      *kv.Entry        `json:",omitempty" msg:",omitempty"`
	Node    *catalog.Node    `json:",omitempty" msg:",omitempty"`
	Service *catalog.Service `json:",omitempty" msg:",omitempty"`
	Check   *catalog.Check   `json:",omitempty" msg:",omitempty"`
}

// Error says which operation failed, counted from 0, and why.
type Error struct {
	OpIndex int
	What    string

	op *Op // that failed; nil in what came from elsewhere
}

// Result is what a transaction gave: items in the order of the operations, or
// errors, and then nothing was changed.
type Result struct {
	Results []Item
	Errors  []Error

	found []Item // beside the errors
}

// Apply carries out a transaction that may write.
var Apply = op.Write[Request, Result]{Name: "txn.apply", Authorize: authorize, AuthorizeStored: authorizeStored, Prepare: prepare}

// Read carries out a transaction that only reads, without the log.
var Read = op.Read[Request, Result]{Name: "txn.read", Authorize: authorizeRead, Query: lookAll, Filter: filterItems}

// Operations lists what this package declares.
func Operations() []op.Operation { return []op.Operation{&Apply, &Read} }

// ReadOnly reports whether no operation writes.
func (r *Request) ReadOnly() bool {
	for i := range r.Ops {
		if !r.Ops[i].Reads() {
			return false
		}
	}
	return true
}

// Reads reports whether the operation only reads.
func (o *Op) Reads() bool {
	switch {
	case o.KV != nil:
		switch o.KV.Verb {
		case Get, GetOrEmpty, GetTree, CheckIndex, CheckSession, CheckNotExists:
			return true
		}
	case o.Node != nil:
		return o.Node.Verb == Get
	case o.Service != nil:
		return o.Service.Verb == Get
	case o.Check != nil:
		return o.Check.Verb == Get
	}
	return false
}

// Writing is a write in the terms of its domain: one of the fields is set.
type Writing struct {
	KV         *kv.ApplyRequest
	Register   *catalog.RegisterRequest
	Deregister *catalog.DeregisterRequest
	// Compare is the index that the record must have; nil for none.
	Compare *uint64
}

// Writes returns what the operation writes, nil for a verb that does not.
func (o *Op) Writes(clock time.Duration) *Writing {
	switch {
	case o.Reads():
		return nil
	case o.KV != nil:
		return &Writing{KV: &kv.ApplyRequest{Verb: o.KV.Verb, Clock: clock, Entry: kv.Entry{Key: o.KV.Key, Value: o.KV.Value,
			Flags: o.KV.Flags, Session: o.KV.Session, ModifyIndex: o.KV.Index}}}
	case o.Node != nil:
		n := &o.Node.Node
		return writing(o.Node.Verb, n.ModifyIndex,
			&catalog.RegisterRequest{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter, TaggedAddresses: n.TaggedAddresses,
				NodeMeta: n.Meta, PeerName: n.PeerName, Locality: n.Locality, Clock: clock},
			&catalog.DeregisterRequest{Node: n.Node, Clock: clock})
	case o.Service != nil:
		s := &o.Service.Service
		return writing(o.Service.Verb, s.ModifyIndex,
			&catalog.RegisterRequest{Node: o.Service.Node, SkipNodeUpdate: true, Service: s, Clock: clock},
			&catalog.DeregisterRequest{Node: o.Service.Node, ServiceID: s.ID, Clock: clock})
	case o.Check != nil:
		c := &o.Check.Check
		return writing(o.Check.Verb, c.ModifyIndex,
			&catalog.RegisterRequest{Node: c.Node, SkipNodeUpdate: true, Checks: []catalog.Check{*c}, Clock: clock},
			&catalog.DeregisterRequest{Node: c.Node, CheckID: c.CheckID, Clock: clock})
	}
	return nil
}

func writing(verb string, index uint64, set *catalog.RegisterRequest, gone *catalog.DeregisterRequest) *Writing {
	switch verb {
	case Set:
		return &Writing{Register: set}
	case CAS:
		return &Writing{Register: set, Compare: &index}
	case Delete:
		return &Writing{Deregister: gone}
	case DeleteCAS:
		return &Writing{Deregister: gone, Compare: &index}
	}
	return nil
}

// shape refuses a transaction that has too many operations or one that is none.
func shape(r *Request) error {
	if len(r.Ops) > MaxOps {
		return op.Errorf(op.CodeTooLarge, "Transaction contains too many operations (%d > %d)", len(r.Ops), MaxOps)
	}
	return nil
}

// prepare readies every write as its own operation would be.
func prepare(l op.Leader, r *Request) error {
	if err := shape(r); err != nil {
		return err
	}
	r.Clock, r.Now = l.Clock, l.Now.UnixNano()
	for i := range r.Ops {
		o := &r.Ops[i]
		if o.Refused = ""; o.Wrong() != "" {
			continue
		}
		w := o.Writes(l.Clock)
		var err error
		switch {
		case w == nil:
		case w.KV != nil:
			err = kv.Apply.Prepare(l, w.KV)
		case w.Register != nil:
			if err = catalog.Register.Prepare(l, w.Register); err == nil && o.Check != nil {
				o.Check.Check = w.Register.Checks[0] // a service is readied in its place
			}
		default:
			err = catalog.Deregister.Prepare(l, w.Deregister)
			if o.Service != nil && o.Service.Service.ID == "" || o.Check != nil && o.Check.Check.CheckID == "" {
				err = op.Errorf(op.CodeInvalid, "the ID of what is to be deleted is missing")
			}
		}
		if err != nil {
			o.Refused = cut(op.AsError(err).Text)
		}
	}
	return nil
}

// authorize asks for what the operations say of themselves.
func authorize(a rules.Authorizer, r *Request) error {
	if err := shape(r); err != nil {
		return err
	}
	for i := range r.Ops {
		o := &r.Ops[i]
		w := o.Writes(0)
		var err error
		switch {
		case o.malformed() != "": // it will fail; but what the leader is to note must be the caller's to write
			err = authorizeNamed(a, o)
		case w == nil:
			err = authorizeLook(a, o)
		case w.KV != nil:
			err = kv.Apply.Authorize(a, w.KV)
		case w.Register != nil:
			err = catalog.Register.Authorize(a, w.Register)
		default:
			err = catalog.Deregister.Authorize(a, w.Deregister)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// authorizeNamed asks for all that something names that is no operation.
func authorizeNamed(a rules.Authorizer, o *Op) error {
	var errs []error
	if o.KV != nil {
		errs = append(errs, rules.Require(a, rules.Key, rules.Write, o.KV.Key))
	}
	if o.Node != nil {
		errs = append(errs, rules.Require(a, rules.Node, rules.Write, o.Node.Node.Node))
	}
	if o.Service != nil {
		errs = append(errs, rules.Require(a, rules.Service, rules.Write, o.Service.Service.Service))
	}
	if o.Check != nil {
		errs = append(errs, rules.Require(a, rules.Node, rules.Write, o.Check.Check.Node))
	}
	return cmp.Or(errs...)
}

// authorizeLook asks for a key or a node that is read. What is below a prefix,
// and services and checks, only what is stored can tell.
func authorizeLook(a rules.Authorizer, o *Op) error {
	switch {
	case o.KV != nil && o.KV.Verb == GetTree:
		return rules.Require(a, rules.Key, rules.Recurse, o.KV.Key)
	case o.KV != nil:
		return rules.Require(a, rules.Key, rules.Read, o.KV.Key)
	case o.Node != nil:
		return rules.Require(a, rules.Node, rules.Read, o.Node.Node.Node)
	}
	return nil
}

// authorizeRead also refuses what would write.
func authorizeRead(a rules.Authorizer, r *Request) error {
	if err := authorize(a, r); err != nil {
		return err
	}
	if !r.ReadOnly() {
		return op.Errorf(op.CodeInvalid, "the transaction writes: it must go through the log")
	}
	return nil
}

// asked counts what an authorizer is asked for.
type asked struct {
	rules.Authorizer
	times int
}

// Allow implements rules.Authorizer.
func (a *asked) Allow(r rules.Resource, access rules.Access, name string) bool {
	a.times++
	return a.Authorizer.Allow(r, access, name)
}

// authorizeStored holds the operations against what is committed. A write's
// results are not filtered afterwards, so what it reads must be readable whole.
// A transaction that needs no right at all does nothing: who may do nothing is not
// to fill the log with such.
func authorizeStored(a rules.Authorizer, r storage.Reader, req *Request) error {
	c := &asked{Authorizer: a}
	if err := authorize(c, req); err != nil {
		return err
	}
	for i := range req.Ops {
		o := &req.Ops[i]
		if o.Wrong() != "" {
			continue // it will fail, and show nothing
		}
		w := o.Writes(0)
		var err error
		switch {
		case w == nil:
			err = authorizeFound(c, r, o)
		case w.Register != nil:
			err = catalog.Register.AuthorizeStored(c, r, w.Register)
		case w.Deregister != nil:
			err = catalog.Deregister.AuthorizeStored(c, r, w.Deregister)
		}
		if err != nil {
			return err
		}
	}
	if c.times == 0 {
		return rules.Require(a, rules.Key, rules.Write, "")
	}
	return nil
}

func authorizeFound(a rules.Authorizer, r storage.Reader, o *Op) error {
	items, err := Look(r, o)
	var nothing *op.Error
	if errors.As(err, &nothing) {
		return o.missable(a)
	}
	if err != nil {
		return err
	}
	for i := range items {
		if err := items[i].readable(a); err != nil {
			return err
		}
	}
	return nil
}

// missable asks for what tells a caller that there is no such service or check:
// its node, or what it is of. Keys and nodes were asked for before.
func (o *Op) missable(a rules.Authorizer) error {
	var node, service string
	switch {
	case o.Service != nil:
		node, service = o.Service.Node, orElse(o.Service.Service.ID, o.Service.Service.Service)
	case o.Check != nil:
		node, service = o.Check.Check.Node, orElse(o.Check.Check.ServiceName, o.Check.Check.ServiceID)
	default:
		return nil
	}
	if service != "" && a.Allow(rules.Service, rules.Read, service) {
		return nil
	}
	return rules.Require(a, rules.Node, rules.Read, node)
}

// readable asks for what an item shows.
func (it *Item) readable(a rules.Authorizer) error {
	switch {
	case it.KV != nil:
		return rules.Require(a, rules.Key, rules.Read, it.KV.Key)
	case it.Node != nil:
		return rules.Require(a, rules.Node, rules.Read, it.Node.Node)
	case it.Service != nil:
		return rules.Require(a, rules.Service, rules.Read, it.Service.Service)
	}
	if it.Check.ServiceName != "" {
		if err := rules.Require(a, rules.Service, rules.Read, it.Check.ServiceName); err != nil {
			return err
		}
	}
	return rules.Require(a, rules.Node, rules.Read, it.Check.Node)
}

// filterItems hides items, and that there are none where the caller may not know
// that either.
func filterItems(a rules.Authorizer, res *Result) bool {
	var told []Error
	for _, e := range res.Errors {
		if e.op == nil || e.op.Wrong() != "" || e.op.missable(a) == nil {
			told = append(told, e)
		}
	}
	filtered := len(told) < len(res.Errors)
	if res.Errors = told; len(told) > 0 {
		return filtered
	}
	all := slices.Concat(res.Results, res.found)
	shown := make([]Item, 0, len(all))
	for _, it := range all {
		if it.readable(a) == nil {
			shown = append(shown, it)
		}
	}
	res.Results, res.found = shown, nil
	return filtered || len(shown) < len(all)
}

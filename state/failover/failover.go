// Package failover keeps for which services other datacenters stand in where this one has
// no healthy instance.
//
// It looks nothing up: agents follow the rules and ask as they say.
package failover

import (
	"slices"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o failover_gen.go -file failover.go
//msgp:limit arrays:4096 maps:64

// Bounds of rules: how many a datacenter has, how many datacenters one names, and how long
// names are, in bytes.
const (
	MaxRules       = 1024
	maxDatacenters = 32
	maxName        = 256
)

// Rule says which datacenters stand in for a service.
type Rule struct {
	// Service is a name in lower case, or the beginning of names with an asterisk behind it.
	// The longest that matches counts.
	Service string `msg:"s"`
	// Datacenters are looked at in this order, after the own one; the last may be op.Nearest.
	Datacenters []string `msg:"d"`

	CreateIndex uint64 `msg:"ci"`
	ModifyIndex uint64 `msg:"mi"`
}

// Rules are in the order of their services.
type Rules []Rule

// ServiceRequest names the service of a rule.
type ServiceRequest struct {
	Service string `msg:"s"`
}

// DeleteResult says whether there was a rule.
type DeleteResult struct {
	Deleted bool `msg:"d"`
}

// List returns the rules of services that the caller may see.
var List = op.Read[op.Empty, Rules]{Name: "failover.list", Authorize: func(rules.Authorizer, *op.Empty) error { return nil }, Query: list, Filter: visible, Shared: true}

// Set makes a rule, or puts another one in its place.
var Set = op.Write[Rule, Rule]{Name: "failover.set", Authorize: func(a rules.Authorizer, _ *Rule) error {
	return rules.Require(a, rules.Operator, rules.Write, "")
}, Prepare: func(_ op.Leader, r *Rule) error { return r.prepare() }, Check: room}

// Delete takes a rule away. That there is none is no error.
var Delete = op.Write[ServiceRequest, DeleteResult]{Name: "failover.delete", Authorize: func(a rules.Authorizer, _ *ServiceRequest) error {
	return rules.Require(a, rules.Operator, rules.Write, "")
}, Prepare: func(_ op.Leader, r *ServiceRequest) error {
	r.Service = strings.ToLower(r.Service)
	return checkService(r.Service)
}}

// Operations lists what this package declares.
func Operations() []op.Operation { return []op.Operation{&List, &Set, &Delete} }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{table} }

var table = storage.NewTable[Rule](22, "failover")

// prepare brings a rule into its form and says what is wrong with it.
func (r *Rule) prepare() error {
	r.Service = strings.ToLower(r.Service)
	if err := checkService(r.Service); err != nil {
		return err
	}
	if len(r.Datacenters) == 0 || len(r.Datacenters) > maxDatacenters {
		return op.Errorf(op.CodeInvalid, "a rule for %.64q names %d datacenters: 1 to %d can stand in", r.Service, len(r.Datacenters), maxDatacenters)
	}
	for i, dc := range r.Datacenters {
		dc = strings.ToLower(dc)
		r.Datacenters[i] = dc
		switch {
		case len(dc) > maxName:
			return op.Errorf(op.CodeInvalid, "a rule names a datacenter of %d bytes: the longest has %d", len(dc), maxName)
		case slices.Contains(r.Datacenters[:i], dc):
			return op.Errorf(op.CodeInvalid, "a rule for %.64q names %s twice", r.Service, dc)
		case dc == op.Nearest && i == len(r.Datacenters)-1:
		case dc == "" || dc == op.Nearest || dc == op.All || strings.ContainsFunc(dc, notInNames):
			return op.Errorf(op.CodeInvalid, "a rule for %.64q names %.64q: want the names of datacenters, of which the last may be %s", r.Service, dc, op.Nearest)
		}
	}
	return nil
}

// notInNames reports what no datacenter has in its name: config checks that.
func notInNames(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

func checkService(name string) error {
	prefix := strings.TrimSuffix(name, "*")
	if name == "" || len(name) > maxName || strings.ContainsAny(prefix, "*/? \t\r\n") {
		return op.Errorf(op.CodeInvalid, "%.64q: a rule is for the name of a service, of at most %d bytes, or for all that begin alike, with an asterisk at the end: web, web-*, *", name, maxName)
	}
	return nil
}

// room refuses one rule too many.
func room(r storage.Reader, rule *Rule) error {
	n := 0
	for key, err := range table.Keys(r, nil) {
		if err != nil {
			return err
		}
		if string(key) == rule.Service {
			return nil
		}
		n++
	}
	if n >= MaxRules {
		return op.Errorf(op.CodeBusy, "there are %d rules for services that fail over, the most there can be: one for several services ends in an asterisk", n)
	}
	return nil
}

func list(r storage.Reader, _ *op.Empty) (*Rules, error) {
	out := Rules{}
	for rule, err := range table.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		out = append(out, *rule)
	}
	return &out, nil
}

// visible leaves the rules of services that the caller may read, or of what their names begin
// with.
func visible(a rules.Authorizer, all *Rules) bool {
	n := len(*all)
	*all = slices.DeleteFunc(slices.Clone(*all), func(r Rule) bool {
		return !a.Allow(rules.Service, rules.Read, strings.TrimSuffix(r.Service, "*"))
	})
	return len(*all) < n
}

// ApplySet carries out Set.
func ApplySet(tx *storage.Txn, r *Rule) (*Rule, error) {
	key := []byte(r.Service)
	old, err := table.Get(tx, key)
	if err != nil {
		return nil, err
	}
	rule := *r
	rule.CreateIndex, rule.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		rule.CreateIndex = old.CreateIndex
	}
	return &rule, table.Put(tx, key, &rule)
}

// ApplyDelete carries out Delete.
func ApplyDelete(tx *storage.Txn, r *ServiceRequest) (*DeleteResult, error) {
	deleted, err := table.Delete(tx, []byte(r.Service))
	return &DeleteResult{deleted}, err
}

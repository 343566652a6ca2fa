// Package query knows the prepared queries of a datacenter: which service a
// client means by a name, which of its instances it wants, and which other
// datacenters stand in when there are none.
//
// It decides what a query says (records, templates, resolution) and which
// instances of one datacenter fit. It asks no other datacenter: who carries a
// query out does that, and chooses among the answers.
package query

import (
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o query_gen.go -file query.go
//msgp:limit arrays:1048576 maps:64

// NamePrefixMatch is the one type of templates: the longest prefix of the name
// that is asked for wins, the empty one is a prefix of all.
const NamePrefixMatch = "name_prefix_match"

// Words of Service.Near that stand for a node.
const (
	NearAgent   = "_agent" // the node of the agent that was asked
	NearAddress = "_ip"    // the node with the client's address
)

// Hidden is shown in place of a query's token to who may not see it.
const Hidden = "<hidden>"

// Bounds of a query.
const (
	maxName    = 256  // bytes of a query's name
	maxAsked   = 512  // bytes of a name that is asked for, templates included
	maxText    = 1024 // bytes of every other text
	maxList    = 64   // entries of each list and map
	maxNearest = 1024 // datacenters
)

// Target is a datacenter that stands in, or op.Nearest for all others.
type Target struct {
	Peer       string // refused unless empty
	Datacenter string
}

// Failover says which datacenters stand in for one without instances that fit:
// the nearest ones, then those listed, or Targets in their order. In both lists
// op.Nearest stands for all others, by distance.
type Failover struct {
	NearestN    int
	Datacenters []string `msg:",limit=64"`
	Targets     []Target `msg:",limit=64"`
	// SkipLocalDatacenter is kept for who wrote it, and has no effect.
	SkipLocalDatacenter bool `msg:",omitempty"`
}

// Service says which instances of which service are wanted.
type Service struct {
	Service  string
	Failover Failover
	// OnlyPassing leaves out instances with a warning, too.
	OnlyPassing    bool
	IgnoreCheckIDs []string `msg:",limit=64"`
	// Near is a node by whose distance the instances are sorted, or one of the
	// words for one; empty for random order.
	Near string
	// Tags that an instance must have or, behind a "!", must not have.
	Tags        []string          `msg:",limit=64"`
	NodeMeta    map[string]string // that the node must have
	ServiceMeta map[string]string // that the instance must have
	Connect     bool              // the instances through which a mesh reaches the service are wanted
	Peer        string            // refused unless empty
	// SamenessGroup and IncludeAll are kept for who wrote them, and have no effect:
	// there are no groups of peers.
	SamenessGroup string `msg:",omitempty"`
	IncludeAll    bool   `msg:",omitempty"`
}

// Template makes a query answer to every name that begins with its own.
type Template struct {
	Type            string // NamePrefixMatch, or empty for a plain query
	Regexp          string // RE2, matched with the whole name
	RemoveEmptyTags bool
}

// DNS is about answers in DNS.
type DNS struct {
	TTL string // as the client wrote it; empty for that of the service
}

// Query is a prepared query.
type Query struct {
	ID   string
	Name string
	// Session with which the query goes; empty for none.
	Session string
	// Token with which the query is carried out; empty for that of the client.
	// Never logged.
	Token       string
	Template    Template
	Service     Service
	DNS         DNS
	CreateIndex uint64
	ModifyIndex uint64
}

// Queries are queries in the order of their IDs.
type Queries []Query

// SetRequest makes or replaces a query. The indexes, and the ID of a new one,
// are fixed by the leader.
type SetRequest struct {
	Query Query `msg:"q"`
}

// SetResult names the query.
type SetResult struct {
	ID string `msg:"id"`
}

// IDRequest names a query by its ID.
type IDRequest struct {
	ID string `msg:"id"`
}

// NameRequest asks what a name stands for: the ID of a query, its name, or one
// that a template answers to.
type NameRequest struct {
	Name string `msg:"n"`
}

// SelectRequest asks a datacenter for the instances that a resolved query
// wants. Requests for the same look the same.
type SelectRequest struct {
	Service        string   `msg:"s"`
	OnlyPassing    bool     `msg:"p,omitempty"`
	IgnoreCheckIDs []string `msg:"i,omitempty,limit=64"`
	Tags           []string `msg:"t,omitempty,limit=64"`
	NodeMeta       []string `msg:"nm,omitempty,limit=64"` // "key:value", in order
	ServiceMeta    []string `msg:"sm,omitempty,limit=64"` // as NodeMeta
	Connect        bool     `msg:"c,omitempty"`           // as in Service
}

// ExecuteRequest asks for the instances behind a name.
type ExecuteRequest struct {
	Name string `msg:"n"` // as in NameRequest
	// Limit is how many instances are wanted, at most; 0 for all.
	Limit uint64 `msg:"l,omitempty"`
	// Agent is the node that the client asked, in AgentDatacenter.
	Agent           string `msg:"a,omitempty"`
	AgentDatacenter string `msg:"ad,omitempty"`
	Address         string `msg:"ip,omitempty"` // of the client
	// Connect asks as if the query's Service.Connect were set.
	Connect bool `msg:"c,omitempty"`
}

// Answer is what a query leads to.
type Answer struct {
	Service    string            `msg:"s"`
	Nodes      catalog.Instances `msg:"n"`
	DNS        DNS               `msg:"d"`
	Datacenter string            `msg:"dc"` // where the instances are
	Failovers  int               `msg:"f"`  // how many of those that stand in were looked at for that
	Meta       op.Meta           `msg:"-" json:"-"`
}

// Describe says what is to be said of the answer beside itself. Its Outcomes are
// those of the datacenters that were looked at after a fail-over.
func (a *Answer) Describe(m *op.Meta) { *m = a.Meta }

// Create makes a query.
var Create = op.Write[SetRequest, SetResult]{Name: "query.create", Authorize: authorizeSet, Prepare: prepareCreate}

// Update replaces a query.
var Update = op.Write[SetRequest, SetResult]{Name: "query.update", Authorize: authorizeSet, Prepare: prepareUpdate,
	AuthorizeStored: authorizeUpdate}

// Delete deletes a query.
var Delete = op.Write[IDRequest, op.Empty]{Name: "query.delete", Authorize: later[IDRequest], AuthorizeStored: authorizeDelete}

// Get returns one query as it was written, or an empty list. One that is there
// but may not be seen makes the list empty and the reply Filtered.
var Get = op.Read[IDRequest, Queries]{Name: "query.get", Authorize: later[IDRequest], Query: get, Filter: filterOne}

// List returns all queries.
var List = op.Read[op.Empty, Queries]{Name: "query.list", Authorize: later[op.Empty], Query: list, Filter: filterAll, Shared: true}

// Explain returns the query that a name stands for, with what a template makes
// of it, or an empty list as Get does.
var Explain = op.Read[NameRequest, Queries]{Name: "query.explain", Authorize: later[NameRequest], Query: explain, Filter: filterOne, Shared: true}

// Select returns the instances of one datacenter that a resolved query wants:
// what datacenters ask each other when a query is carried out.
var Select = op.Read[SelectRequest, catalog.Instances]{Name: "query.execute-remote", Authorize: authorizeSelect, Query: choose,
	Filter: catalog.ListInstances.Filter, Shared: true}

// Execute carries a query out. With Header.MinIndex it waits until the answer is
// decided from something else than the one with that index, which is a number
// to compare, not to order. Who may read the service may ask.
var Execute = op.Direct[ExecuteRequest, Answer]{Name: "query.execute", Authorize: later[ExecuteRequest], Reads: true}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Create, &Update, &Delete, &Get, &List, &Explain, &Select, &Execute}
}

var (
	byName = storage.NewIndex(1, "query-name", func(q *Query) [][]byte {
		if q.Name == "" || q.Template.Type != "" {
			return nil
		}
		return [][]byte{nameKey(q.Name)}
	})
	byPrefix = storage.NewIndex(2, "query-template", func(q *Query) [][]byte {
		if q.Template.Type == "" {
			return nil
		}
		return [][]byte{nameKey(q.Name)}
	})
	bySession = storage.NewIndex(3, "query-session", func(q *Query) [][]byte {
		if q.Session == "" {
			return nil
		}
		return [][]byte{sessionKey(q.Session)}
	})

	queries = storage.NewTable(11, "queries", byName, byPrefix, bySession)
)

func idKey(id string) []byte      { return storage.Key(strings.ToLower(id)) }
func sessionKey(id string) []byte { return storage.Key(strings.ToLower(id)) }
func nameKey(name string) []byte  { return storage.Key(folded(name)) }

// folded is a name as it is compared: DNS has no case, and knows only ASCII. It
// is as long as the name.
func folded(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return 'A' <= r && r <= 'Z' }) < 0 {
		return name
	}
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Rows returns the rows of a query with the indexes that it has: what a state
// holds that was made elsewhere.
func Rows(q *Query) ([]storage.Row, error) { return queries.Rows(idKey(q.ID), q.ModifyIndex, q) }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{queries} }

// Package coordinate keeps the network coordinates of a datacenter's nodes in
// the catalog.
//
// It computes no distances: that is package rtt.
package coordinate

import (
	"slices"
	"strings"

	"github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o coordinate_gen.go -file coordinate.go
//msgp:limit arrays:1048576 maps:64

// Coord is a Vivaldi coordinate; its parts are in seconds.
type Coord struct {
	Vec        []float64 `msg:"v,limit=64"`
	Error      float64   `msg:"e"`
	Adjustment float64   `msg:"a"`
	Height     float64   `msg:"h"`
}

// FromSerf copies a coordinate of the gossip layer.
func FromSerf(c *coordinate.Coordinate) Coord {
	return Coord{Vec: append([]float64(nil), c.Vec...), Error: c.Error, Adjustment: c.Adjustment, Height: c.Height}
}

// Serf copies a coordinate for the gossip layer's arithmetic.
func (c *Coord) Serf() *coordinate.Coordinate {
	return &coordinate.Coordinate{Vec: append([]float64(nil), c.Vec...), Error: c.Error, Adjustment: c.Adjustment, Height: c.Height}
}

// Entry is the coordinate of one node.
type Entry struct {
	Node    string `msg:"n"`
	Segment string `msg:"s,omitempty"`
	Coord   Coord  `msg:"c"`
}

// Entries are entries in the order of node names.
type Entries []Entry

// DatacenterMap holds the coordinates of one datacenter's servers in the WAN
// pool.
type DatacenterMap struct {
	Datacenter  string
	AreaID      string
	Coordinates []Entry `msg:",limit=1024"`
}

// DatacenterMaps is one map for each datacenter.
type DatacenterMaps []DatacenterMap

// NodeRequest names a node.
type NodeRequest struct {
	Node string `msg:"n"`
}

// Nodes returns the coordinates of all nodes.
var Nodes = op.Read[op.Empty, Entries]{Name: "coordinate.nodes", Authorize: authorizeNodes, Query: listNodes, Filter: filterNodes, Shared: true}

// Node returns the coordinates of one node; empty if it has none.
var Node = op.Read[NodeRequest, Entries]{Name: "coordinate.node", Authorize: authorizeNode, Query: getNode}

// Update records one node's coordinate. The leader gathers updates and writes
// them together, so an update that was accepted may be lost with its leader;
// the node sends another soon.
var Update = op.Direct[Entry, op.Empty]{Name: "coordinate.update", Authorize: authorizeUpdate}

// Batch writes gathered updates.
var Batch = op.Internal[Entries, op.Empty]{Name: "coordinate.batch"}

// Datacenters returns the WAN coordinates of the servers of all datacenters.
var Datacenters = op.Direct[op.Empty, DatacenterMaps]{Name: "coordinate.datacenters", Authorize: authorizeDatacenters}

// Operations lists what this package declares.
func Operations() []op.Operation {
	return []op.Operation{&Nodes, &Node, &Update, &Batch, &Datacenters}
}

var entries = storage.NewTable[Entry](5, "coordinates")

func authorizeNodes(rules.Authorizer, *op.Empty) error { return nil }

func authorizeNode(a rules.Authorizer, r *NodeRequest) error {
	return rules.Require(a, rules.Node, rules.Read, r.Node)
}

func authorizeUpdate(a rules.Authorizer, e *Entry) error {
	return rules.Require(a, rules.Node, rules.Write, e.Node)
}

// The map of datacenters is open to everybody, as the list of them is.
func authorizeDatacenters(rules.Authorizer, *op.Empty) error { return nil }

func filterNodes(a rules.Authorizer, es *Entries) bool {
	kept := (*es)[:0:0]
	for _, e := range *es {
		if a.Allow(rules.Node, rules.Read, e.Node) {
			kept = append(kept, e)
		}
	}
	filtered := len(kept) < len(*es)
	*es = kept
	return filtered
}

func key(node string) []byte { return storage.Key(strings.ToLower(node)) }

func listNodes(r storage.Reader, _ *op.Empty) (*Entries, error) {
	list := Entries{}
	for e, err := range entries.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		list = append(list, *e)
	}
	return &list, nil
}

func getNode(r storage.Reader, req *NodeRequest) (*Entries, error) {
	list := Entries{}
	e, err := entries.Get(r, key(req.Node))
	if e != nil {
		list = append(list, *e)
	}
	return &list, err
}

// ApplyBatch carries out Batch. known reports whether the catalog has a node;
// coordinates of others are dropped.
func ApplyBatch(tx *storage.Txn, batch *Entries, hasNode func(node string) (bool, error)) (*op.Empty, error) {
	for i := range *batch {
		e := &(*batch)[i]
		ok, err := hasNode(e.Node)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		old, err := entries.Get(tx, key(e.Node))
		if err != nil {
			return nil, err
		}
		if old != nil && old.same(e) { // wakes nobody
			continue
		}
		if err := entries.Put(tx, key(e.Node), e); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (e *Entry) same(o *Entry) bool {
	return e.Node == o.Node && e.Segment == o.Segment && slices.Equal(e.Coord.Vec, o.Coord.Vec) &&
		e.Coord.Error == o.Coord.Error && e.Coord.Adjustment == o.Coord.Adjustment && e.Coord.Height == o.Coord.Height
}

// NodeGone deletes the coordinate of a node that left the catalog.
func NodeGone(tx *storage.Txn, node string) error {
	_, err := entries.Delete(tx, key(node))
	return err
}

// Rows returns the rows of a coordinate that was written at index: what a state
// holds that was made elsewhere.
func Rows(e *Entry, index uint64) ([]storage.Row, error) { return entries.Rows(key(e.Node), index, e) }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{entries} }

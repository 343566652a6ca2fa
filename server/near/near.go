// Package near puts results in the order of their distance from a node or an
// address of this datacenter. Distances are those of network coordinates; what
// has none, or a broken one, comes last. Distances between datacenters are not
// known here.
package near

import (
	"strings"

	serf "github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
)

// Order knows where the nodes of this datacenter are.
type Order struct{ results *results.Store }

// New returns the order by the coordinates that are kept there.
func New(r *results.Store) *Order { return &Order{results: r} }

// Sort replaces a result by one whose items are in the order of their distance
// from the node near, those of unknown distance last. It reports whether it
// did: without a node, or with one that has no coordinate, the order stays.
func (o *Order) Sort(near string, result *any) (bool, error) {
	list, ok := (*result).(op.Located)
	if near == "" || !ok {
		return false, nil
	}
	where, err := o.coordinates()
	if err != nil {
		return false, err
	}
	if addr, ok := strings.CutPrefix(near, op.NearAddress); ok {
		if near, err = o.nodeAt(addr); err != nil {
			return false, err
		}
	}
	from := where[strings.ToLower(near)]
	if from == nil {
		return false, nil
	}
	names := list.NodeNames()
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	rtt.SortByDistance(order, from, func(i int) *serf.Coordinate { return where[strings.ToLower(names[i])] })
	*result = list.Reordered(order)
	return true, nil
}

// coordinates are those of all nodes, by lower-cased name.
func (o *Order) coordinates() (map[string]*serf.Coordinate, error) {
	res, err := o.results.Get(&coordinate.Nodes, &op.Empty{}, "coordinates by node", false)
	if err != nil {
		return nil, err
	}
	defer res.Release()
	entries, _ := res.Value.(*coordinate.Entries)
	if entries == nil {
		return nil, nil
	}
	where := make(map[string]*serf.Coordinate, len(*entries))
	for i := range *entries {
		where[strings.ToLower((*entries)[i].Node)] = (*entries)[i].Coord.Serf()
	}
	return where, nil
}

// nodeAt names the node with the address, empty if none has it.
func (o *Order) nodeAt(addr string) (string, error) {
	res, err := o.results.Get(&catalog.ListNodes, &op.Empty{}, "nodes by address", false)
	if err != nil {
		return "", err
	}
	defer res.Release()
	nodes, _ := res.Value.(*catalog.Nodes)
	if nodes == nil {
		return "", nil
	}
	for i := range *nodes {
		if n := &(*nodes)[i]; n.Address == addr {
			return n.Node, nil
		}
	}
	return "", nil
}

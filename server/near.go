package server

import (
	"strings"

	serf "github.com/hashicorp/serf/coordinate"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
)

// sort replaces a result by one whose items are in the order of their distance
// from the node near, those of unknown distance last. It reports whether it
// did: without a node, or with one that has no coordinate, the order stays.
func (s *Server) sort(near string, result *any) (bool, error) {
	list, ok := (*result).(op.Located)
	if near == "" || !ok {
		return false, nil
	}
	where, err := s.coordinates()
	if err != nil {
		return false, err
	}
	if addr, ok := strings.CutPrefix(near, op.NearAddress); ok {
		if near, err = s.nodeAt(addr); err != nil {
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
func (s *Server) coordinates() (map[string]*serf.Coordinate, error) {
	res, err := s.results.get(&coordinate.Nodes, &op.Empty{}, "coordinates by node", false)
	if err != nil {
		return nil, err
	}
	defer res.release()
	entries, _ := res.value.(*coordinate.Entries)
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
func (s *Server) nodeAt(addr string) (string, error) {
	res, err := s.results.get(&catalog.ListNodes, &op.Empty{}, "nodes by address", false)
	if err != nil {
		return "", err
	}
	defer res.release()
	nodes, _ := res.value.(*catalog.Nodes)
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

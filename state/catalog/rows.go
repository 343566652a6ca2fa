package catalog

import "github.com/legate-project/legate/storage"

// NodeRows returns the rows of a node with the indexes that it has: what a state
// holds that was made elsewhere.
func NodeRows(n *Node) ([]storage.Row, error) { return nodes.Rows(nodeKey(n.Node), n.ModifyIndex, n) }

// ServiceRows returns the rows of a service on a node, as NodeRows does. Names
// counts it.
func ServiceRows(node string, s *Service) ([]storage.Row, error) {
	return services.Rows(serviceKey(node, s.ID), s.ModifyIndex, &ServiceRow{Node: node, Service: *s})
}

// CheckRows returns the rows of a check, as NodeRows does.
func CheckRows(c *Check) ([]storage.Row, error) {
	return checks.Rows(checkKey(c.Node, c.CheckID), c.ModifyIndex, c)
}

// Names counts the names and tags of services. It grows with those, not with the
// services.
type Names struct{ changes nameChanges }

// Add counts a service.
func (n *Names) Add(s *Service) { n.changes.add(s, 1) }

// Size is about how many bytes of memory the names and tags take.
func (n *Names) Size() int { return 2*n.changes.size + 128*len(n.changes.list) }

// Rows yields the rows of all names and tags, as of index.
func (n *Names) Rows(index uint64) ([]storage.Row, error) {
	var rows []storage.Row
	for i := range n.changes.list {
		c := &n.changes.list[i]
		count, err := tallies.Rows(c.key(), index, &Tally{N: c.by})
		if err != nil {
			return nil, err
		}
		shown, err := serviceNames.Rows(c.key(), index, &ServiceName{Name: c.name, Tag: c.tag, Tagged: c.tagged})
		if err != nil {
			return nil, err
		}
		rows = append(append(rows, count...), shown...)
	}
	return rows, nil
}

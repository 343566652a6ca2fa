package catalog

import "github.com/legate-project/legate/op"

// What can be sorted by distance: see op.Located.
var (
	_ op.Located = (*Nodes)(nil)
	_ op.Located = (*ServiceNodes)(nil)
	_ op.Located = (*Instances)(nil)
	_ op.Located = (*Checks)(nil)
	_ op.Located = (*NodeInfos)(nil)
)

// NodeNames implements op.Located.
func (l *Nodes) NodeNames() []string { return names(*l, func(n *Node) string { return n.Node }) }

// Reordered implements op.Located.
func (l *Nodes) Reordered(order []int) any { r := Nodes(reordered(*l, order)); return &r }

// NodeNames implements op.Located.
func (l *ServiceNodes) NodeNames() []string {
	return names(*l, func(n *ServiceNode) string { return n.Node })
}

// Reordered implements op.Located.
func (l *ServiceNodes) Reordered(order []int) any { r := ServiceNodes(reordered(*l, order)); return &r }

// NodeNames implements op.Located.
func (l *Instances) NodeNames() []string {
	return names(*l, func(i *Instance) string { return i.Node.Node })
}

// Reordered implements op.Located.
func (l *Instances) Reordered(order []int) any { r := Instances(reordered(*l, order)); return &r }

// NodeNames implements op.Located.
func (l *Checks) NodeNames() []string { return names(*l, func(c *Check) string { return c.Node }) }

// Reordered implements op.Located.
func (l *Checks) Reordered(order []int) any { r := Checks(reordered(*l, order)); return &r }

// NodeNames implements op.Located.
func (l *NodeInfos) NodeNames() []string {
	return names(*l, func(n *NodeInfo) string { return n.Node })
}

// Reordered implements op.Located.
func (l *NodeInfos) Reordered(order []int) any { r := NodeInfos(reordered(*l, order)); return &r }

func names[T any](list []T, of func(*T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = of(&list[i])
	}
	return out
}

func reordered[T any](list []T, order []int) []T {
	out := make([]T, len(order))
	for i, from := range order {
		out[i] = list[from]
	}
	return out
}

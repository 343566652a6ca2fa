package rest

import "github.com/legate-project/legate/state/catalog"

// OrEmpty returns the list that a result points at.
func OrEmpty[L ~[]T, T any](list *L) []T {
	if list == nil {
		return nil
	}
	return *list
}

// Some is the list, [] rather than null in JSON.
func Some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Pairs is the map, {} rather than null in JSON.
func Pairs[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// OrNull is the map, null rather than {} in JSON.
func OrNull[V any](m map[string]V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	return m
}

// The Fix functions give records the shape that clients know: which lists and
// maps are empty and which are null.

// FixNode gives a node its shape.
func FixNode(n *catalog.Node) {
	n.TaggedAddresses, n.Meta = OrNull(n.TaggedAddresses), OrNull(n.Meta)
}

// FixService gives a service its shape.
func FixService(s *catalog.Service) { s.Tags, s.Meta = Some(s.Tags), OrNull(s.Meta) }

// FixServiceNode gives a service with its node its shape.
func FixServiceNode(n *catalog.ServiceNode) {
	n.TaggedAddresses, n.NodeMeta = OrNull(n.TaggedAddresses), OrNull(n.NodeMeta)
	n.ServiceTags, n.ServiceMeta = Some(n.ServiceTags), Pairs(n.ServiceMeta)
}

// FixCheck gives a check its shape.
func FixCheck(c *catalog.Check) { c.ServiceTags = Some(c.ServiceTags) }

// FixInstance gives an instance its shape, on copies of what it points at.
func FixInstance(i *catalog.Instance) {
	node, service := *i.Node, *i.Service
	FixNode(&node)
	FixService(&service)
	checks := make(catalog.Checks, len(i.Checks))
	for n := range i.Checks {
		checks[n] = i.Checks[n]
		FixCheck(&checks[n])
	}
	*i = catalog.Instance{Node: &node, Service: &service, Checks: checks}
}

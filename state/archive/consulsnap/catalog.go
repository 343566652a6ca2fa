package consulsnap

import (
	"fmt"

	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// registration is a record of the catalog: a node by itself, or with one of its
// services, or with a check.
type registration struct {
	tenant
	ID, Node, Address, Datacenter string
	TaggedAddresses, NodeMeta     map[string]string
	Locality                      *mesh.Locality
	CreateIndex, ModifyIndex      uint64
	Service                       *struct {
		instance
		Namespace, Partition string
	}
	Check *struct {
		catalog.Check
		Namespace, Partition string
	}
}

// instance has another name than its field Service, which would be hidden by it.
type instance = catalog.Service

func (c *converter) register(r *record) error {
	var reg registration
	if err := decode(r.body, &reg, c.lost(r, "Token")); err != nil {
		return err
	}
	c.indexed(&reg.CreateIndex, &reg.ModifyIndex)
	n := &catalog.Node{ID: reg.ID, Node: reg.Node, Address: reg.Address, Datacenter: reg.Datacenter, TaggedAddresses: reg.TaggedAddresses,
		Meta: reg.NodeMeta, CreateIndex: reg.CreateIndex, ModifyIndex: reg.ModifyIndex, Locality: reg.Locality}
	if err := c.describe(n, &reg, r.size); err != nil {
		return err
	}
	if s := reg.Service; s != nil {
		t := tenant{s.Namespace, s.Partition, s.PeerName}
		if k, foreign := t.foreign(); foreign {
			c.tally.add(k, r.size, nil)
			return nil
		}
		c.indexed(&s.CreateIndex, &s.ModifyIndex)
		if s.Weights == (catalog.Weights{}) { // what it was before there were any
			s.Weights = catalog.Weights{Passing: 1, Warning: 1}
		}
		if c.names != nil {
			if c.names.Add(&s.instance); c.names.Size() > c.mayKeep() {
				return fmt.Errorf("there are more names and tags of services than %d bytes have room for", c.mayKeep())
			}
		}
		if v := s.Meta["version"]; s.Service == "consul" && v != "" {
			c.report.Version = v
		}
		rows, err := catalog.ServiceRows(n.Node, &s.instance)
		if err := c.put(kindServices, r.size, rows, err); err != nil {
			return err
		}
	}
	if check := reg.Check; check != nil {
		t := tenant{check.Namespace, check.Partition, check.PeerName}
		if k, foreign := t.foreign(); foreign {
			c.tally.add(k, r.size, nil)
			return nil
		}
		c.indexed(&check.CreateIndex, &check.ModifyIndex)
		rows, err := catalog.CheckRows(&check.Check)
		return c.put(kindChecks, r.size, rows, err)
	}
	return nil
}

// describe takes the node of a registration, once.
func (c *converter) describe(n *catalog.Node, reg *registration, size int64) error {
	if n.Node == c.node {
		return nil
	}
	c.node = n.Node
	if c.report.Datacenter == "" {
		c.report.Datacenter = n.Datacenter
	}
	if reg.Service != nil || reg.Check != nil {
		size = 0 // it counts as that
	}
	rows, err := catalog.NodeRows(n)
	return c.put(kindNodes, size, rows, err)
}

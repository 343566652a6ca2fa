package catalog

import (
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// maxMeta bounds the pairs of node and service metadata.
const maxMeta = 64

func prepareRegister(_ op.Leader, r *RegisterRequest) error {
	if r.Node == "" {
		return op.Errorf(op.CodeInvalid, "Must provide node")
	}
	if r.Address == "" && !r.SkipNodeUpdate {
		return op.Errorf(op.CodeInvalid, "Must provide address if SkipNodeUpdate is not set")
	}
	if len(r.NodeMeta) > maxMeta {
		return op.Errorf(op.CodeInvalid, "Node metadata cannot contain more than %d key/value pairs", maxMeta)
	}
	if s := r.Service; s != nil {
		if err := prepareService(s); err != nil {
			return err
		}
	}
	if r.Check != nil {
		r.Checks = append([]Check{*r.Check}, r.Checks...)
		r.Check = nil
	}
	for i := range r.Checks {
		if err := prepareCheck(r, &r.Checks[i]); err != nil {
			return err
		}
	}
	return nil
}

func prepareService(s *Service) error {
	if s.ID == "" {
		s.ID = s.Service
	}
	if s.Service == "" {
		return op.Errorf(op.CodeInvalid, "Must provide service name (Service.Service) when registering a service")
	}
	if len(s.Meta) > maxMeta {
		return op.Errorf(op.CodeInvalid, "Service metadata cannot contain more than %d key/value pairs", maxMeta)
	}
	if s.Address == "0.0.0.0" || s.Address == "::" || s.Address == "[::]" {
		return op.Errorf(op.CodeInvalid, "Invalid service address")
	}
	if s.Weights == (Weights{}) {
		s.Weights = Weights{Passing: 1, Warning: 1}
	}
	return nil
}

func prepareCheck(r *RegisterRequest, c *Check) error {
	if c.CheckID == "" {
		c.CheckID = c.Name
	}
	if c.CheckID == "" {
		return op.Errorf(op.CodeInvalid, "Missing check name")
	}
	if c.Node == "" {
		c.Node = r.Node
	}
	if !strings.EqualFold(c.Node, r.Node) {
		return op.Errorf(op.CodeInvalid, "Check %q is of node %q, not of %q", c.CheckID, c.Node, r.Node)
	}
	switch c.Status {
	case Passing, Warning, Critical:
	case "":
		c.Status = Critical
	default:
		return op.Errorf(op.CodeInvalid, "Bad check status %q: use passing, warning or critical", c.Status)
	}
	if r.Service != nil && c.ServiceID == r.Service.ID {
		c.ServiceName = r.Service.Service
	}
	return nil
}

func prepareDeregister(_ op.Leader, r *DeregisterRequest) error {
	if r.Node == "" {
		return op.Errorf(op.CodeInvalid, "Must provide node")
	}
	return nil
}

// ApplyRegister carries out Register on the state.
func ApplyRegister(tx *storage.Txn, r *RegisterRequest) (*RegisterResult, error) {
	if err := putNode(tx, r); err != nil {
		return nil, err
	}
	if r.Service != nil {
		if err := putService(tx, r.Node, r.Service); err != nil {
			return nil, err
		}
	}
	for _, c := range r.all() {
		if err := putCheck(tx, r.Node, c); err != nil {
			return nil, err
		}
	}
	return &RegisterResult{Index: tx.Index()}, nil
}

func putNode(tx *storage.Txn, r *RegisterRequest) error {
	old, err := nodes.Get(tx, nodeKey(r.Node))
	if err != nil {
		return err
	}
	if old != nil && r.SkipNodeUpdate {
		return nil
	}
	if old == nil && r.Address == "" {
		return op.Errorf(op.CodeInvalid, "Must provide address if SkipNodeUpdate is not set")
	}
	n := &Node{ID: r.ID, Node: r.Node, Address: r.Address, Datacenter: r.Datacenter, TaggedAddresses: r.TaggedAddresses,
		Meta: r.NodeMeta, CreateIndex: tx.Index(), ModifyIndex: tx.Index()}
	if old != nil {
		if n.ID == "" {
			n.ID = old.ID
		}
		if n.Same(old) {
			return nil
		}
		n.CreateIndex = old.CreateIndex
	}
	if err := freeID(tx, n); err != nil {
		return err
	}
	return nodes.Replace(tx, nodeKey(n.Node), old, n)
}

// freeID refuses a node whose ID another node has.
func freeID(tx *storage.Txn, n *Node) error {
	if n.ID == "" {
		return nil
	}
	for other, err := range nodesByID.Scan(tx, storage.Key(strings.ToLower(n.ID))) {
		if err != nil {
			return err
		}
		if !strings.EqualFold(other.Node, n.Node) {
			return op.Errorf(op.CodeConflict, "Node ID %q for node %q aliases existing node %q", n.ID, n.Node, other.Node)
		}
	}
	return nil
}

func putService(tx *storage.Txn, node string, s *Service) error {
	old, err := services.Get(tx, serviceKey(node, s.ID))
	if err != nil {
		return err
	}
	row := ServiceRow{Node: node, Service: *s}
	row.Service.CreateIndex, row.Service.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		if row.Service.Same(&old.Service) {
			return nil
		}
		row.Service.CreateIndex = old.Service.CreateIndex
	}
	return services.Replace(tx, serviceKey(node, s.ID), old, &row)
}

func putCheck(tx *storage.Txn, node string, c Check) error {
	if c.ServiceID != "" {
		s, err := services.Get(tx, serviceKey(node, c.ServiceID))
		if err != nil {
			return err
		}
		if s == nil {
			return op.Errorf(op.CodeInvalid, "Missing service registration: check %q names service %q, which node %q does not have",
				c.CheckID, c.ServiceID, node)
		}
		c.ServiceName, c.ServiceTags = s.Service.Service, s.Service.Tags
	} else {
		c.ServiceName, c.ServiceTags = "", nil
	}
	old, err := checks.Get(tx, checkKey(node, c.CheckID))
	if err != nil {
		return err
	}
	c.CreateIndex, c.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		if c.Same(old) {
			return nil
		}
		c.CreateIndex = old.CreateIndex
	}
	return checks.Replace(tx, checkKey(node, c.CheckID), old, &c)
}

// ApplyDeregister carries out Deregister on the state. It reports whether a
// whole node went. Deleting what is not there is no error.
func ApplyDeregister(tx *storage.Txn, r *DeregisterRequest) (*RegisterResult, bool, error) {
	res := &RegisterResult{Index: tx.Index()}
	switch {
	case r.CheckID != "":
		_, err := checks.Delete(tx, checkKey(r.Node, r.CheckID))
		return res, false, err
	case r.ServiceID != "":
		return res, false, deleteService(tx, r.Node, r.ServiceID)
	}
	gone, err := nodes.Delete(tx, nodeKey(r.Node))
	if err != nil {
		return nil, false, err
	}
	if err := deleteBelow(tx, services, r.Node); err != nil {
		return nil, false, err
	}
	return res, gone, deleteBelow(tx, checks, r.Node)
}

func deleteService(tx *storage.Txn, node, id string) error {
	if _, err := services.Delete(tx, serviceKey(node, id)); err != nil {
		return err
	}
	var ids []string
	for c, err := range checksByInstance.Scan(tx, byInstance(node, id)) {
		if err != nil {
			return err
		}
		ids = append(ids, c.CheckID)
	}
	for _, check := range ids {
		if _, err := checks.Delete(tx, checkKey(node, check)); err != nil {
			return err
		}
	}
	return nil
}

// deleteBelow deletes all rows of a table that are of the node.
func deleteBelow[T any, P storage.Codec[T]](tx *storage.Txn, t *storage.Table[T, P], node string) error {
	var keys [][]byte
	for k, err := range t.Keys(tx, nodeKey(node)) {
		if err != nil {
			return err
		}
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys {
		if _, err := t.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// HasNode reports whether the catalog has the node.
func HasNode(r storage.Reader, node string) (bool, error) {
	n, err := nodes.Get(r, nodeKey(node))
	return n != nil, err
}

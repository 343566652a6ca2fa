package catalog

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog/mesh"
	"github.com/legate-project/legate/storage"
)

const (
	maxMeta = 64  // pairs of node and service metadata
	maxName = 512 // bytes of a name or ID: they are part of keys and of each answer
	maxPort = 65535

	uuidLength = 36 // of the usual form; the package uuid reads others as well
)

func prepareRegister(l op.Leader, r *RegisterRequest) error {
	r.Clock = l.Clock
	if r.Node == "" {
		return op.Errorf(op.CodeInvalid, "Must provide node")
	}
	if err := validName("node name", r.Node); err != nil {
		return err
	}
	if r.ID != "" && (len(r.ID) != uuidLength || uuid.Validate(r.ID) != nil) {
		return op.Errorf(op.CodeInvalid, "Invalid node ID %.*q: it is not a UUID", uuidLength+2, r.ID)
	}
	if r.Address == "" && !r.SkipNodeUpdate {
		return op.Errorf(op.CodeInvalid, "Must provide address if SkipNodeUpdate is not set")
	}
	if len(r.NodeMeta) > maxMeta {
		return op.Errorf(op.CodeInvalid, "Node metadata cannot contain more than %d key/value pairs", maxMeta)
	}
	if err := r.Locality.Valid(); err != nil {
		return op.Errorf(op.CodeInvalid, "Invalid node: %v", err)
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

// validName refuses a name that no URL path may name: what it stands for could
// not be asked for or removed.
func validName(what, name string) error {
	switch {
	case len(name) > maxName:
		return op.Errorf(op.CodeInvalid, "Invalid %s: longer than %d bytes", what, maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return op.Errorf(op.CodeInvalid, "Invalid %s %q: it has characters that cannot be printed", what, name)
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
	if err := cmp.Or(validName("service name", s.Service), validName("service ID", s.ID)); err != nil {
		return err
	}
	if s.Port < 0 || s.Port > maxPort {
		return op.Errorf(op.CodeInvalid, "Invalid service port %d", s.Port)
	}
	if err := cmp.Or(s.Ports.Valid(), s.Locality.Valid(), mesh.Valid(&s.Proxy, &s.Connect, s.AI)); err != nil {
		return op.Errorf(op.CodeInvalid, "Invalid service %q: %v", s.Service, err)
	}
	if s.Port == 0 {
		s.Port = s.Ports.Main()
	} else if len(s.Ports) > 0 && s.Port != s.Ports.Main() {
		return op.Errorf(op.CodeInvalid, "Invalid service %q: Port %d is not the default among Ports", s.Service, s.Port)
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
	c.Datacenter = ""
	if c.CheckID == "" {
		c.CheckID = c.Name
	}
	if c.CheckID == "" {
		return op.Errorf(op.CodeInvalid, "Missing check name")
	}
	if err := validName("check ID", c.CheckID); err != nil {
		return err
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
	if c.Type == "" {
		c.Type = c.Definition.Kind()
	}
	if r.Service != nil && c.ServiceID == r.Service.ID {
		c.ServiceName = r.Service.Service
	}
	return nil
}

func prepareDeregister(l op.Leader, r *DeregisterRequest) error {
	r.Clock = l.Clock
	if r.Node == "" {
		return op.Errorf(op.CodeInvalid, "Must provide node")
	}
	return nil
}

// ApplyRegister carries out Register on the state. It names the node that had
// the request's ID under another name and made room, "" for none.
func ApplyRegister(tx *storage.Txn, r *RegisterRequest) (res *RegisterResult, gone string, err error) {
	isNew, gone, err := putNode(tx, r)
	if err != nil {
		return nil, "", err
	}
	if r.Service != nil {
		if err := putService(tx, r.Node, r.Service, isNew); err != nil {
			return nil, "", err
		}
	}
	for i, c := range r.all() {
		if err := putCheck(tx, r, c, isNew && i == 0); err != nil {
			return nil, "", err
		}
	}
	return &RegisterResult{Index: tx.Index()}, gone, nil
}

// node is the record that the request makes of one that may be stored.
func (r *RegisterRequest) node(old *Node) *Node {
	n := &Node{ID: r.ID, Node: r.Node, Address: r.Address, Datacenter: r.Datacenter,
		TaggedAddresses: r.TaggedAddresses, Meta: r.NodeMeta, PeerName: r.PeerName, Locality: r.Locality}
	if old != nil && n.ID == "" {
		n.ID = old.ID
	}
	return n
}

// putNode reports whether the catalog did not have the node: then there is
// nothing on it either, because that comes after it and goes with it.
func putNode(tx *storage.Txn, r *RegisterRequest) (isNew bool, gone string, err error) {
	old, err := nodes.Get(tx, nodeKey(r.Node))
	if err != nil || old != nil && r.SkipNodeUpdate {
		return false, "", err
	}
	n := r.node(old)
	n.CreateIndex, n.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		if n.Same(old) {
			return false, "", nil
		}
		n.CreateIndex = old.CreateIndex
		if err := freeName(tx, n, old); err != nil {
			return false, "", err
		}
	}
	if gone, err = freeID(tx, n); err != nil {
		return false, "", err
	}
	return old == nil, gone, nodes.Replace(tx, nodeKey(n.Node), old, n)
}

// freeName refuses a node whose name a live node with another ID has. What
// runs on one that is dead stays until its successor says what it runs.
func freeName(tx *storage.Txn, n, old *Node) error {
	if old.ID == "" || strings.EqualFold(n.ID, old.ID) {
		return nil
	}
	lives, err := alive(tx, old.Node)
	if err != nil || !lives {
		return err
	}
	return op.Errorf(op.CodeConflict, "Node name %q is reserved by the live node %q", n.Node, old.ID)
}

// freeID makes room for a node that comes under another name than before: what
// the catalog has under the old name goes. A live node keeps its ID. It names
// the node that went.
func freeID(tx *storage.Txn, n *Node) (gone string, err error) {
	if n.ID == "" {
		return "", nil
	}
	for other, err := range nodesByID.Scan(tx, storage.Key(strings.ToLower(n.ID))) {
		if err != nil {
			return "", err
		}
		if !strings.EqualFold(other.Node, n.Node) {
			gone = other.Node // at most one: nobody gets an ID that another has
		}
	}
	if gone == "" {
		return "", nil
	}
	lives, err := alive(tx, gone)
	if err != nil {
		return "", err
	}
	if lives {
		return "", op.Errorf(op.CodeConflict, "Node ID %q for node %q aliases existing node %q", n.ID, n.Node, gone)
	}
	_, err = deleteNode(tx, gone)
	return gone, err
}

// alive reports whether gossip sees a node alive, as the leader noted last. It
// does not for nodes that never were members.
func alive(tx *storage.Txn, node string) (bool, error) {
	c, err := checks.Get(tx, checkKey(node, SerfHealth))
	return c != nil && c.Status != Critical, err
}

// putService looks for nothing on a node that is new.
func putService(tx *storage.Txn, node string, s *Service, isNew bool) error {
	var stored *ServiceRow
	if !isNew {
		var err error
		if stored, err = services.Get(tx, serviceKey(node, s.ID)); err != nil {
			return err
		}
	}
	row := ServiceRow{Node: node, Service: *s}
	row.Service.CreateIndex, row.Service.ModifyIndex = tx.Index(), tx.Index()
	var old *Service
	if stored != nil {
		old = &stored.Service
		if row.Service.Same(old) {
			return nil
		}
		row.Service.CreateIndex = old.CreateIndex
	}
	if err := services.Replace(tx, serviceKey(node, s.ID), stored, &row); err != nil {
		return err
	}
	if err := countNames(tx, old, s); err != nil {
		return err
	}
	if old == nil || old.Service == s.Service && slices.Equal(old.Tags, s.Tags) {
		return nil
	}
	return renameChecks(tx, node, s)
}

// renameChecks writes a service's new name and tags into its checks.
func renameChecks(tx *storage.Txn, node string, s *Service) error {
	for c, err := range checksByInstance.Scan(tx, byInstance(node, s.ID)) {
		if err != nil {
			return err
		}
		c.ServiceName, c.ServiceTags, c.ModifyIndex = s.Service, s.Tags, tx.Index()
		if err := checks.Put(tx, checkKey(node, c.CheckID), c); err != nil {
			return err
		}
	}
	return nil
}

// putCheck looks for no check that was there before where the first one comes to
// a node that is new.
func putCheck(tx *storage.Txn, r *RegisterRequest, c Check, isFirst bool) error {
	c.ServiceName, c.ServiceTags = "", nil
	if c.ServiceID != "" {
		s, err := r.serviceOf(tx, &c)
		if err != nil {
			return err
		}
		c.ServiceName, c.ServiceTags = s.Service, s.Tags
	}
	var old *Check
	if !isFirst {
		var err error
		if old, err = checks.Get(tx, checkKey(r.Node, c.CheckID)); err != nil {
			return err
		}
	}
	c.CreateIndex, c.ModifyIndex = tx.Index(), tx.Index()
	if old != nil {
		if c.Same(old) {
			return nil
		}
		c.CreateIndex = old.CreateIndex
	}
	return checks.Replace(tx, checkKey(r.Node, c.CheckID), old, &c)
}

// serviceOf returns the service that a check of the request is of, once the
// request's own is written: that one, or another on the node.
func (r *RegisterRequest) serviceOf(tx *storage.Txn, c *Check) (*Service, error) {
	if r.Service != nil && r.Service.ID == c.ServiceID {
		return r.Service, nil
	}
	s, err := services.Get(tx, serviceKey(r.Node, c.ServiceID))
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, op.Errorf(op.CodeInvalid, "Missing service registration: check %q names service %q, which node %q does not have",
			c.CheckID, c.ServiceID, r.Node)
	}
	return &s.Service, nil
}

// ApplyDeregister carries out Deregister on the state. It reports whether a
// whole node went. Deleting what is not there is no error.
func ApplyDeregister(tx *storage.Txn, r *DeregisterRequest) (*RegisterResult, bool, error) {
	res := &RegisterResult{Index: tx.Index()}
	switch {
	case r.ServiceID != "":
		return res, false, deleteService(tx, r.Node, r.ServiceID)
	case r.CheckID != "":
		_, err := checks.Delete(tx, checkKey(r.Node, r.CheckID))
		return res, false, err
	}
	gone, err := deleteNode(tx, r.Node)
	if err != nil {
		return nil, false, err
	}
	return res, gone, nil
}

// deleteNode deletes a node with all that is on it.
func deleteNode(tx *storage.Txn, node string) (bool, error) {
	gone, err := nodes.Delete(tx, nodeKey(node))
	if err != nil {
		return false, err
	}
	for s, err := range services.Scan(tx, nodeKey(node)) {
		if err != nil {
			return false, err
		}
		if err := dropService(tx, node, &s.Service); err != nil {
			return false, err
		}
	}
	for c, err := range checks.Scan(tx, nodeKey(node)) {
		if err != nil {
			return false, err
		}
		if _, err := checks.Delete(tx, checkKey(node, c.CheckID)); err != nil {
			return false, err
		}
	}
	return gone, nil
}

// dropService deletes a service that is there, but not its checks.
func dropService(tx *storage.Txn, node string, s *Service) error {
	if _, err := services.Delete(tx, serviceKey(node, s.ID)); err != nil {
		return err
	}
	return countNames(tx, s, nil)
}

func deleteService(tx *storage.Txn, node, id string) error {
	s, err := services.Get(tx, serviceKey(node, id))
	if err != nil {
		return err
	}
	if s != nil {
		if err := dropService(tx, node, &s.Service); err != nil {
			return err
		}
	}
	for c, err := range checksByInstance.Scan(tx, byInstance(node, id)) {
		if err != nil {
			return err
		}
		if _, err := checks.Delete(tx, checkKey(node, c.CheckID)); err != nil {
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

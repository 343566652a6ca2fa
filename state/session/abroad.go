package session

import (
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

// Unvouched is how long a session without a TTL of a node of another datacenter lives
// on while that datacenter does not vouch for the node.
const Unvouched = 45 * time.Second

// Bind makes a session of a node of another datacenter (Session.NodeDatacenter). The
// state knows nothing of that node: whether it and its checks are there is asked by the
// leader, before and as long as there is the session, and when they are not the leader
// ends it. Who has a TTL renews it as any session; without one the node's datacenter
// vouches for it, see Unvouched.
var Bind = op.Write[CreateRequest, CreateResult]{Name: "session.bind", Authorize: authorizeCreate, Prepare: prepareBind}

func prepareBind(l op.Leader, r *CreateRequest) error {
	s := &r.Session
	switch {
	case s.NodeDatacenter == "":
		return op.Errorf(op.CodeInvalid, "Must provide NodeDatacenter")
	case len(s.NodeDatacenter) > maxWord:
		return op.Errorf(op.CodeInvalid, "NodeDatacenter is longer than %d bytes", maxWord)
	case op.IsFanOut(s.NodeDatacenter):
		return op.Errorf(op.CodeInvalid, "NodeDatacenter %q is not one datacenter: name the one where the node is", s.NodeDatacenter)
	case len(s.Node) > maxName:
		return op.Errorf(op.CodeInvalid, "Node is longer than %d bytes", maxName)
	}
	return prepare(l, s)
}

// ApplyBind makes the session.
func ApplyBind(tx *storage.Txn, r *CreateRequest) (*CreateResult, error) { return add(tx, r.Session) }

// Abroad returns the sessions of nodes of other datacenters, ordered by datacenter and
// node.
func Abroad(r storage.Reader) (Sessions, error) { return collect(abroad, r, nil) }

// StandsOn is Stands for a node of another datacenter; nil is one that is not there.
func (s *Session) StandsOn(n *catalog.NodeInfo) error {
	if n == nil {
		return op.Errorf(op.CodeConflict, "Missing node registration: node %q is not in the catalog of datacenter %s", s.Node, s.NodeDatacenter)
	}
	for id := range s.checks {
		var found *catalog.Check
		for i := range n.Checks {
			if n.Checks[i].CheckID == id {
				found = &n.Checks[i]
			}
		}
		if err := passes(id, found); err != nil {
			return err
		}
	}
	return nil
}

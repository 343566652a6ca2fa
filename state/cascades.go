package state

import (
	"errors"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

// What a change in one domain means for the others, in a fixed order: catalog,
// coordinates, sessions, queries, keys. All of it is one command. Its work grows
// with the sessions that end, the keys that they hold and the queries that are
// bound to them.

func register(tx *storage.Txn, r *catalog.RegisterRequest) (*catalog.RegisterResult, error) {
	res, gone, err := catalog.ApplyRegister(tx, r)
	if err != nil {
		return res, err
	}
	if gone != "" {
		if err := nodeGone(tx, gone, r.Clock); err != nil {
			return nil, err
		}
	}
	for _, check := range r.Critical() {
		if err := checkFailed(tx, r.Node, check, r.Clock); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func deregister(tx *storage.Txn, r *catalog.DeregisterRequest) (*catalog.RegisterResult, error) {
	res, gone, err := catalog.ApplyDeregister(tx, r)
	switch {
	case err != nil:
		return res, err
	case gone:
		return res, nodeGone(tx, r.Node, r.Clock)
	case r.ServiceID != "":
		return res, checksGone(tx, r.Node, r.Clock)
	case r.CheckID != "":
		return res, checkFailed(tx, r.Node, r.CheckID, r.Clock)
	}
	return res, nil
}

func coordinateBatch(tx *storage.Txn, batch *coordinate.Entries) (*op.Empty, error) {
	return coordinate.ApplyBatch(tx, batch, func(node string) (bool, error) { return catalog.HasNode(tx, node) })
}

// nodeGone is for a node that the catalog has no more.
func nodeGone(tx *storage.Txn, node string, clock time.Duration) error {
	if err := coordinate.NodeGone(tx, node); err != nil {
		return err
	}
	list, err := session.OnNode(tx, node)
	if err != nil {
		return err
	}
	return endAll(tx, list, clock)
}

// checkFailed is for a check that is critical or gone.
func checkFailed(tx *storage.Txn, node, check string, clock time.Duration) error {
	list, err := session.OnCheck(tx, node, check)
	if err != nil {
		return err
	}
	return endAll(tx, list, clock)
}

// checksGone is for a node some of whose checks are gone.
func checksGone(tx *storage.Txn, node string, clock time.Duration) error {
	list, err := session.OnNode(tx, node)
	if err != nil {
		return err
	}
	for i := range list {
		err := session.Stands(tx, &list[i])
		if err == nil {
			continue
		}
		var fallen *op.Error
		if !errors.As(err, &fallen) {
			return err
		}
		if err := end(tx, &list[i], clock); err != nil {
			return err
		}
	}
	return nil
}

func endAll(tx *storage.Txn, list session.Sessions, clock time.Duration) error {
	for i := range list {
		if err := end(tx, &list[i], clock); err != nil {
			return err
		}
	}
	return nil
}

// end invalidates a session: every way to lose one leads through here.
func end(tx *storage.Txn, s *session.Session, clock time.Duration) error {
	if _, err := session.Remove(tx, s.ID); err != nil {
		return err
	}
	if err := query.SessionGone(tx, s.ID); err != nil {
		return err
	}
	now, err := session.Advance(tx, clock)
	if err != nil {
		return err
	}
	return kv.ReleaseAll(tx, s, now)
}

func destroySession(tx *storage.Txn, r *session.DestroyRequest) (*op.Empty, error) {
	s, err := session.Find(tx, r.ID)
	if err != nil || s == nil {
		return nil, err
	}
	return nil, end(tx, s, r.Clock)
}

func expireSessions(tx *storage.Txn, r *session.ExpireRequest) (*op.Empty, error) {
	for _, e := range r.Sessions {
		s, err := session.Find(tx, e.ID)
		if err != nil {
			return nil, err
		}
		if s == nil || s.CreateIndex != e.CreateIndex {
			continue
		}
		if err := end(tx, s, r.Clock); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

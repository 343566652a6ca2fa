package state

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/storage"
)

// What a change in one domain means for the others, in a fixed order: catalog,
// then coordinates.

func register(tx *storage.Txn, r *catalog.RegisterRequest) (*catalog.RegisterResult, error) {
	res, gone, err := catalog.ApplyRegister(tx, r)
	if err != nil || gone == "" {
		return res, err
	}
	return res, coordinate.NodeGone(tx, gone)
}

func deregister(tx *storage.Txn, r *catalog.DeregisterRequest) (*catalog.RegisterResult, error) {
	res, nodeGone, err := catalog.ApplyDeregister(tx, r)
	if err != nil || !nodeGone {
		return res, err
	}
	return res, coordinate.NodeGone(tx, r.Node)
}

func coordinateBatch(tx *storage.Txn, batch *coordinate.Entries) (*op.Empty, error) {
	return coordinate.ApplyBatch(tx, batch, func(node string) (bool, error) { return catalog.HasNode(tx, node) })
}

package state

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/txn"
	"github.com/legate-project/legate/storage"
)

// applyUnstampedTxn is applyTxn without the time of the leader's clock.
func applyUnstampedTxn(tx *storage.Txn, r *txn.Request) (*txn.Result, error) {
	r.Now = 0
	return applyTxn(tx, r)
}

// applyTxn carries out a transaction with all that follows from it in other
// domains. If an operation fails, the command leaves nothing but its index.
func applyTxn(tx *storage.Txn, r *txn.Request) (*txn.Result, error) {
	res, err := txn.Run(r, func(o *txn.Op) ([]txn.Item, error) {
		w := o.Writes(r.Clock)
		switch {
		case w == nil:
			return txn.Look(tx, o)
		case w.KV != nil:
			w.KV.Now = r.Now
			return txnKV(tx, w.KV)
		}
		return txnCatalog(tx, o, w)
	})
	if err == nil && len(res.Errors) > 0 {
		tx.Rollback()
	}
	return res, err
}

func txnKV(tx *storage.Txn, r *kv.ApplyRequest) ([]txn.Item, error) {
	res, err := kv.ApplyEntry(tx, r)
	if err != nil {
		return nil, err
	}
	key := r.Entry.Key
	if !res.OK {
		switch r.Verb {
		case kv.Lock:
			return nil, op.Errorf(op.CodeConflict, "failed to lock key %q, lock is already held or delayed", key)
		case kv.Unlock:
			return nil, op.Errorf(op.CodeConflict, "failed to unlock key %q, lock isn't held, or is held by another session", key)
		case kv.DeleteCAS:
			return nil, op.Errorf(op.CodeConflict, "failed to delete key %q, index is stale", key)
		}
		return nil, op.Errorf(op.CodeConflict, "failed to set key %q, index is stale", key)
	}
	switch r.Verb {
	case kv.Delete, kv.DeleteCAS, kv.DeleteTree:
		return nil, nil
	}
	e, err := kv.Get.Query(tx, &kv.GetRequest{Key: key})
	if err != nil {
		return nil, err
	}
	return []txn.Item{txn.Bare(e)}, nil
}

// txnCatalog writes a node, service or check and shows what it is then.
func txnCatalog(tx *storage.Txn, o *txn.Op, w *txn.Writing) ([]txn.Item, error) {
	index, err := storedIndex(tx, o)
	if err != nil {
		return nil, err
	}
	if w.Deregister != nil {
		if w.Compare != nil && index != 0 && index != *w.Compare {
			return nil, op.Errorf(op.CodeConflict, "failed to delete %s, index is stale", named(o))
		}
		_, err := deregister(tx, w.Deregister)
		return nil, err
	}
	if w.Compare != nil && index != *w.Compare {
		return nil, op.Errorf(op.CodeConflict, "failed to set %s, index is stale", named(o))
	}
	if w.Register.SkipNodeUpdate {
		here, err := catalog.HasNode(tx, w.Register.Node)
		if err != nil {
			return nil, err
		}
		if !here {
			return nil, op.Errorf(op.CodeConflict, "Missing node registration: %q", w.Register.Node)
		}
	}
	if _, err := register(tx, w.Register); err != nil {
		return nil, err
	}
	return txn.Look(tx, o)
}

// storedIndex is the ModifyIndex of what the operation names; 0 if there is no
// such thing.
func storedIndex(tx *storage.Txn, o *txn.Op) (uint64, error) {
	switch {
	case o.Node != nil:
		n, err := catalog.FindNode(tx, &catalog.Node{Node: o.Node.Node.Node})
		if err != nil || n == nil {
			return 0, err
		}
		return n.ModifyIndex, nil
	case o.Service != nil:
		s, err := catalog.FindService(tx, o.Service.Node, o.Service.Service.ID)
		if err != nil || s == nil {
			return 0, err
		}
		return s.ModifyIndex, nil
	}
	c, err := catalog.FindCheck(tx, o.Check.Check.Node, o.Check.Check.CheckID)
	if err != nil || c == nil {
		return 0, err
	}
	return c.ModifyIndex, nil
}

// named says what an operation is about.
func named(o *txn.Op) string {
	switch {
	case o.Node != nil:
		return "node \"" + o.Node.Node.Node + "\""
	case o.Service != nil:
		return "service \"" + o.Service.Service.ID + "\" on node \"" + o.Service.Node + "\""
	}
	return "check \"" + o.Check.Check.CheckID + "\" on node \"" + o.Check.Check.Node + "\""
}

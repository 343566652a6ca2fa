package state

import (
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o collect_gen.go -file collect.go
//msgp:limit arrays:64 maps:64

// maxCollect bounds how many tombstones one command removes, so that no single
// commit holds the others up.
const maxCollect = 4096

// CollectRequest removes the tombstones of deletions up to an index.
type CollectRequest struct {
	UpTo uint64
}

// CollectResult says how many went; as many as the bound means that there may
// be more.
type CollectResult struct {
	Removed int
	More    bool
}

// Collect removes tombstones that have stood long enough for every blocking
// query to have seen them.
var Collect = op.Internal[CollectRequest, CollectResult]{Name: "state.collect"}

func collect(tx *storage.Txn, r *CollectRequest) (*CollectResult, error) {
	n, err := tx.CollectTombstones(r.UpTo, maxCollect)
	if err != nil {
		return nil, err
	}
	return &CollectResult{Removed: n, More: n == maxCollect}, nil
}

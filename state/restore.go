package state

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/autopilot"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/failover"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o restore_gen.go -file restore.go
//msgp:limit arrays:4194304 maps:64

// A state from an archive comes as commands: one that begins, parts of rows,
// and one that makes them the state. All carry the ID of the restore, so that
// two of them never mix.
var (
	RestoreBegin  = op.Internal[RestoreBeginRequest, op.Empty]{Name: "state.restore-begin"}
	RestoreRows   = op.Internal[RestoreRowsRequest, op.Empty]{Name: "state.restore-rows"}
	RestoreFinish = op.Internal[RestoreFinishRequest, RestoreFinishResult]{Name: "state.restore-finish"}
	// RestoreAbort drops what a restore that failed has left.
	RestoreAbort = op.Internal[RestoreBeginRequest, op.Empty]{Name: "state.restore-abort"}
)

// RestoreBeginRequest drops what was staged before.
type RestoreBeginRequest struct {
	ID string
}

// RestoreRowsRequest is one part, counted from 0.
type RestoreRowsRequest struct {
	ID   string
	Part uint64
	// Rows are made with AppendRow.
	Rows []byte
}

// RestoreFinishRequest makes the staged rows the state.
type RestoreFinishRequest struct {
	ID string
	// Rows is how many there must be.
	Rows uint64
	// Index of the archive: the datacenter's goes on above it.
	Index uint64
}

// RestoreFinishResult says at which index the datacenter goes on.
type RestoreFinishResult struct {
	Index uint64
}

// AppendRow appends a row to RestoreRowsRequest.Rows.
func AppendRow(b, key, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(append(b, key...), value...)
}

// Tables lists the tables of all domains: what a snapshot may hold rows of.
func Tables() []storage.AnyTable {
	return slices.Concat(catalog.Tables(), coordinate.Tables(), kv.Tables(), session.Tables(), query.Tables(), acl.Tables(), autopilot.Tables(), replication.Tables(), failover.Tables())
}

// splitRows takes rows apart; they alias b.
func splitRows(b []byte) ([]storage.Row, error) {
	malformed := op.Errorf(op.CodeInvalid, "the rows of a restore are malformed")
	next := func(size uint64) ([]byte, bool) {
		if size > uint64(len(b)) {
			return nil, false
		}
		part := b[:size]
		b = b[size:]
		return part, true
	}
	var rows []storage.Row
	for len(b) > 0 {
		keySize, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, malformed
		}
		b = b[n:]
		valueSize, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, malformed
		}
		b = b[n:]
		key, ok := next(keySize)
		if !ok {
			return nil, malformed
		}
		value, ok := next(valueSize)
		if !ok {
			return nil, malformed
		}
		rows = append(rows, storage.Row{Key: key, Value: value})
	}
	return rows, nil
}

// staging turns what does not continue into a refusal.
func staging(err error) error {
	if errors.Is(err, storage.ErrStaging) {
		return op.Errorf(op.CodeConflict, "the restore cannot go on, another one was begun: %v", err)
	}
	return err
}

func restoreBegin(tx *storage.Txn, r *RestoreBeginRequest) (*op.Empty, error) {
	return &op.Empty{}, tx.BeginStaging(r.ID)
}

func restoreRows(tx *storage.Txn, r *RestoreRowsRequest) (*op.Empty, error) {
	rows, err := splitRows(r.Rows)
	if err != nil {
		return nil, err
	}
	return &op.Empty{}, staging(tx.Stage(r.ID, r.Part, rows))
}

func restoreFinish(tx *storage.Txn, r *RestoreFinishRequest) (*RestoreFinishResult, error) {
	if err := tx.Adopt(r.ID, r.Rows, r.Index); err != nil {
		return nil, staging(err)
	}
	return &RestoreFinishResult{Index: tx.Index()}, replication.Renew(tx)
}

func restoreAbort(tx *storage.Txn, r *RestoreBeginRequest) (*op.Empty, error) {
	return &op.Empty{}, staging(tx.AbortStaging(r.ID))
}

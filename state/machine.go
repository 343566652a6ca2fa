// Package state is the state machine of a datacenter: which commands there
// are, what each does to the tables, and what one domain's change means for
// another.
//
// Applying is deterministic: no clock, randomness, goroutine or I/O but the
// tables. It does not know how commands come to be committed.
package state

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// Machine applies committed commands. It holds nothing that changes and is
// safe for concurrent use.
type Machine struct {
	byNumber map[uint16]row
	byName   map[string][]row // in ascending order of their levels
}

// New returns a machine that knows every command.
func New() *Machine {
	m := &Machine{byNumber: map[uint16]row{}, byName: map[string][]row{}}
	for _, r := range commands() {
		m.byNumber[r.number] = r
		m.byName[r.operation.OpName()] = append(m.byName[r.operation.OpName()], r)
	}
	return m
}

// Encode returns the command that carries out the operation with the encoded
// request: of several the one with the highest level.
func (m *Machine) Encode(o op.Operation, body []byte) ([]byte, error) {
	return m.EncodeUpTo(func() uint16 { return version.Level }, o, body)
}

// EncodeUpTo is Encode with a command of at most the level that known returns, which is
// asked only where there are several; if all are above, the lowest.
func (m *Machine) EncodeUpTo(known func() uint16, o op.Operation, body []byte) ([]byte, error) {
	rows := m.byName[o.OpName()]
	if len(rows) == 0 {
		return nil, fmt.Errorf("operation %s is not a replicated command", o.OpName())
	}
	r := rows[0]
	if len(rows) > 1 {
		level := known()
		for _, newer := range rows[1:] {
			if newer.level <= level {
				r = newer
			}
		}
	}
	b := make([]byte, 2, 2+len(body))
	binary.BigEndian.PutUint16(b, r.number)
	return append(b, body...), nil
}

// ErrUnknown says that a newer version wrote a command.
var ErrUnknown = errors.New("state: a newer version wrote the command")

// Level is the feature level of a command; ErrUnknown for one that this build does not
// know.
func (m *Machine) Level(command []byte) (uint16, error) {
	r, err := m.row(command)
	return r.level, err
}

// LevelOf is the feature level of the command that carries out the operation; of several
// the lowest.
func (m *Machine) LevelOf(o op.Operation) uint16 {
	if rows := m.byName[o.OpName()]; len(rows) > 0 {
		return rows[0].level
	}
	return 0
}

func (m *Machine) row(command []byte) (row, error) {
	if len(command) < 2 {
		return row{}, fmt.Errorf("state: a command of %d bytes", len(command))
	}
	n := binary.BigEndian.Uint16(command)
	r, ok := m.byNumber[n]
	if !ok {
		return row{}, fmt.Errorf("%w: number %d is not known to legate %s: start the version of the other servers here", ErrUnknown, n, version.Release())
	}
	return r, nil
}

// Apply carries out one command. A *op.Error is a refusal: the caller rolls
// back what the command wrote and hands the error on. storage.ErrFailed and
// storage.ErrClosed say that the tables are gone: committing will fail with the
// same. Every other failure (bytes that cannot be decoded, tables that cannot be
// read) would make this server differ from the others, so Apply panics and ends
// the process rather than go on; and for a command that Level refuses.
func (m *Machine) Apply(tx *storage.Txn, command []byte) (any, error) {
	r, err := m.row(command)
	if err != nil {
		panic(fmt.Sprintf("state: apply at index %d: %v", tx.Index(), err))
	}
	request, err := r.operation.DecodeRequest(command[2:])
	if err != nil {
		panic(fmt.Sprintf("state: decode %s at index %d: %v", r.operation.OpName(), tx.Index(), err))
	}
	result, err := r.apply(tx, request)
	if err == nil {
		return result, nil
	}
	var refusal *op.Error
	switch {
	case errors.As(err, &refusal):
		return nil, refusal
	case errors.Is(err, storage.ErrFailed), errors.Is(err, storage.ErrClosed):
		return nil, fmt.Errorf("apply %s at index %d: %w", r.operation.OpName(), tx.Index(), err)
	case errors.Is(err, storage.ErrKeyTooLong):
		return nil, op.Errorf(op.CodeInvalid, "%s: a key or name is too long: %v", r.operation.OpName(), err)
	}
	panic(fmt.Sprintf("state: apply %s at index %d: %v", r.operation.OpName(), tx.Index(), err))
}

// row is one replicated command.
type row struct {
	number    uint16
	level     uint16 // the feature level that it came with
	operation op.Operation
	apply     func(tx *storage.Txn, request any) (any, error)
}

// command makes a row from an operation and the function that applies it.
func command[Req, Res any](number uint16, o op.Operation, apply func(*storage.Txn, *Req) (*Res, error)) row {
	return row{number: number, operation: o, apply: func(tx *storage.Txn, request any) (any, error) {
		res, err := apply(tx, request.(*Req))
		if err != nil || res == nil {
			return nil, err
		}
		return res, nil
	}}
}

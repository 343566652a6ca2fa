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

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/storage"
)

// Machine applies committed commands. It holds nothing that changes and is
// safe for concurrent use.
type Machine struct {
	byNumber map[uint16]row
	byName   map[string]uint16
}

// New returns a machine that knows every command.
func New() *Machine {
	m := &Machine{byNumber: map[uint16]row{}, byName: map[string]uint16{}}
	for _, r := range commands() {
		m.byNumber[r.number] = r
		m.byName[r.operation.OpName()] = r.number
	}
	return m
}

// Encode returns the command that carries out the operation with the encoded
// request.
func (m *Machine) Encode(o op.Operation, body []byte) ([]byte, error) {
	n, ok := m.byName[o.OpName()]
	if !ok {
		return nil, fmt.Errorf("operation %s is not a replicated command", o.OpName())
	}
	b := make([]byte, 2, 2+len(body))
	binary.BigEndian.PutUint16(b, n)
	return append(b, body...), nil
}

// Apply carries out one command. A *op.Error is a refusal: the caller rolls
// back what the command wrote and hands the error on. storage.ErrFailed and
// storage.ErrClosed say that the tables are gone: committing will fail with the
// same. Every other failure (an unknown command, bytes that cannot be decoded,
// tables that cannot be read) would make this server differ from the others,
// so Apply panics and ends the process rather than go on.
func (m *Machine) Apply(tx *storage.Txn, command []byte) (any, error) {
	if len(command) < 2 {
		panic(fmt.Sprintf("state: command of %d bytes at index %d", len(command), tx.Index()))
	}
	n := binary.BigEndian.Uint16(command)
	r, ok := m.byNumber[n]
	if !ok {
		panic(fmt.Sprintf("state: command %d at index %d is unknown: a newer version of legate wrote it; upgrade this server", n, tx.Index()))
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

package op

import (
	"context"
	"errors"
	"fmt"

	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -o error_gen.go -file error.go
//msgp:limit arrays:64 maps:64

// Code is the kind of an error that crosses the wire. The numbers are part of
// the protocol and never reused.
type Code uint16

// The codes of errors.
const (
	CodeInternal              Code = 1  // something failed here
	CodeInvalid               Code = 2  // the request is wrong
	CodeDenied                Code = 3  // the caller lacks a permission
	CodeNotFound              Code = 4  // the named thing does not exist
	CodeConflict              Code = 5  // the state does not permit it
	CodeTooLarge              Code = 6  // a size limit was exceeded
	CodeNoLeader              Code = 7  // the datacenter has no leader now; nothing was done
	CodeNotLeader             Code = 8  // the server does not lead; nothing was done
	CodeUnknownDatacenter     Code = 9  // no such datacenter is known
	CodeUnreachableDatacenter Code = 10 // it is known but cannot be reached; nothing was done
	CodeNoServer              Code = 11 // this client agent knows no server; nothing was done
	CodeTimeout               Code = 12 // the deadline passed; a write may have been done
	CodeLost                  Code = 13 // the connection was lost on the way; a write may have been done
	CodeBusy                  Code = 14 // a limit on work in progress was reached; nothing was done
	CodeStopping              Code = 15 // the server is shutting down; nothing was done
	CodeUnsupported           Code = 16 // the server does not know the operation
	CodeLong                  Code = 17 // the result is longer than one message: it is to be asked for in parts
	CodeRemovedDatacenter     Code = 18 // it was removed from the federation; nothing was done
	CodeLeftDatacenter        Code = 19 // all of its servers left the federation; nothing was done
	CodeMoved                 Code = 20 // another datacenter is the home of what is global, or is about to be; nothing was done
)

// String is the word for the code in headers and metrics.
func (c Code) String() string {
	switch c {
	case CodeInternal:
		return "internal"
	case CodeInvalid:
		return "invalid"
	case CodeDenied:
		return "denied"
	case CodeNotFound:
		return "not-found"
	case CodeConflict:
		return "conflict"
	case CodeTooLarge:
		return "too-large"
	case CodeNoLeader:
		return "no-leader"
	case CodeNotLeader:
		return "not-leader"
	case CodeUnknownDatacenter:
		return "unknown-datacenter"
	case CodeUnreachableDatacenter:
		return "unreachable-datacenter"
	case CodeNoServer:
		return "no-server"
	case CodeTimeout:
		return "timeout"
	case CodeLost:
		return "lost"
	case CodeBusy:
		return "busy"
	case CodeStopping:
		return "stopping"
	case CodeUnsupported:
		return "unsupported"
	case CodeLong:
		return "long"
	case CodeRemovedDatacenter:
		return "removed-datacenter"
	case CodeLeftDatacenter:
		return "left-datacenter"
	case CodeMoved:
		return "moved"
	}
	return "unknown"
}

// Retry says when the same call may be sent again.
type Retry uint8

// The answers of Code.Retry.
const (
	RetryNever Retry = iota
	RetryReads       // only if it does not matter that it may have been done
	RetryAll         // it was surely not done
)

// Retry says whether a call that failed so is worth sending again.
func (c Code) Retry() Retry {
	switch c {
	case CodeNoLeader, CodeNotLeader, CodeNoServer, CodeStopping, CodeUnreachableDatacenter, CodeMoved:
		return RetryAll
	case CodeLost:
		return RetryReads
	}
	return RetryNever
}

// Error is an error that crosses the wire. Texts that clients match on are
// made where they arise.
type Error struct {
	Code Code   `msg:"c"`
	Text string `msg:"t"`
	// Datacenter that the error is about, if it is about one.
	Datacenter string `msg:"dc,omitempty"`
	// Unanswered says that whoever was asked did not answer. Who asked knows that: it is
	// not sent on.
	Unanswered bool `msg:"-"`
}

// The errors that many places return. Compare codes with CodeOf, not these.
var (
	ErrNoLeader  = &Error{Code: CodeNoLeader, Text: "No cluster leader"}
	ErrNotLeader = &Error{Code: CodeNotLeader, Text: "node is not the leader"}
	ErrNoServers = &Error{Code: CodeNoServer, Text: "No known Consul servers"}
	ErrStopping  = &Error{Code: CodeStopping, Text: "server is shutting down"}
)

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Errorf returns an Error with a formatted text.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Text: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of err: CodeInternal for an error that has none, 0
// for nil.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	return AsError(err).Code
}

// ReasonOf is the word for why a call failed: that of its code, or "cancelled" where
// nobody waits for the answer any more.
func ReasonOf(err error) string {
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	return CodeOf(err).String()
}

// AsError returns err as it crosses the wire.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var d *rules.DeniedError
	if errors.As(err, &d) {
		return &Error{Code: CodeDenied, Text: d.Error()}
	}
	return &Error{Code: CodeInternal, Text: err.Error()}
}

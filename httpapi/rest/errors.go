package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/legate-project/legate/internal/nesting"
	"github.com/legate-project/legate/op"
)

// Headers of our own. headerReason is a word for programs: why a request failed.
const (
	headerReason     = "X-Legate-Reason"
	headerDatacenter = "X-Legate-Datacenter"
	headerPath       = "X-Legate-Path"
	// headerDatacenters says of an answer of several datacenters what became of
	// asking each.
	headerDatacenters = "X-Legate-Datacenters"
)

// failure is an error with the answer that it becomes.
type failure struct {
	status int
	reason string
	text   string
}

func (f *failure) Error() string { return f.text }

// Refuse returns an error that is answered with the status and text.
func Refuse(status int, text string) error { return &failure{status: status, text: text} }

// Reasoned is refuse with a reason for programs.
func Reasoned(status int, reason, text string) error { return &failure{status, reason, text} }

// answerOf says what the codes of operations become. Clients match on 500 for
// everything between datacenters and for missing leaders.
func answerOf(c op.Code) (status int, reason string) {
	switch c {
	case op.CodeInvalid:
		return http.StatusBadRequest, "invalid"
	case op.CodeDenied:
		return http.StatusForbidden, "denied"
	case op.CodeNotFound:
		return http.StatusNotFound, "not-found"
	case op.CodeConflict:
		return http.StatusInternalServerError, "conflict"
	case op.CodeTooLarge, op.CodeLong:
		return http.StatusRequestEntityTooLarge, "too-large"
	case op.CodeNoLeader:
		return http.StatusInternalServerError, "no-leader"
	case op.CodeNotLeader:
		return http.StatusInternalServerError, "not-leader"
	case op.CodeUnknownDatacenter:
		return http.StatusInternalServerError, "unknown-datacenter"
	case op.CodeUnreachableDatacenter:
		return http.StatusInternalServerError, "unreachable-datacenter"
	case op.CodeRemovedDatacenter, op.CodeLeftDatacenter, op.CodeMoved:
		return http.StatusInternalServerError, c.String()
	case op.CodeNoServer:
		return http.StatusInternalServerError, "no-server"
	case op.CodeTimeout:
		return http.StatusInternalServerError, "timeout"
	case op.CodeLost:
		return http.StatusInternalServerError, "lost"
	case op.CodeBusy:
		return http.StatusTooManyRequests, "busy"
	case op.CodeStopping:
		return http.StatusServiceUnavailable, "stopping"
	case op.CodeUnsupported:
		return http.StatusNotImplemented, "unsupported"
	}
	return http.StatusInternalServerError, "internal"
}

// fail renders an error. What a handler has already begun to answer stays.
func (x *Exchange) fail(err error) {
	if x.status != 0 {
		return
	}
	h := x.W.Header()
	var f *failure
	switch {
	case errors.As(err, &f):
	case errors.Is(err, context.Canceled) && x.R.Method == http.MethodGet:
		// The client went, and hears nothing, or the server stops.
		f = &failure{http.StatusServiceUnavailable, "stopping", "agent is shutting down"}
	case errors.Is(err, context.Canceled): // a write may have been under way
		f = &failure{http.StatusServiceUnavailable, "lost", "agent is shutting down: the request may have been carried out"}
	case errors.Is(err, context.DeadlineExceeded):
		f = &failure{http.StatusInternalServerError, "timeout", err.Error()}
	default:
		e := op.AsError(err)
		status, reason := answerOf(e.Code)
		f = &failure{status, reason, e.Text}
		if e.Datacenter != "" {
			h.Set(headerDatacenter, e.Datacenter)
		}
	}
	if f.reason != "" {
		h.Set(headerReason, f.reason)
	}
	h["Content-Type"] = plainText
	h["X-Content-Type-Options"] = noSniff
	x.Reply(f.status, []byte(f.text))
}

// Decode reads the JSON body into v, at most MaxBody bytes of it.
func (x *Exchange) Decode(v any) error {
	b, err := x.Body(MaxBody)
	if err != nil {
		return err
	}
	return DecodeJSON(b, v)
}

// maxNesting is how deep a body may be nested: what it takes to read one grows with the
// square of that, 0.2 s for 9,000.
const maxNesting = 200

// DecodeJSON reads one JSON value.
func DecodeJSON(b []byte, v any) error {
	if nesting.Deeper(b, maxNesting) {
		return Reasoned(http.StatusBadRequest, "invalid", "Request decode failed: nested deeper than "+strconv.Itoa(maxNesting))
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(v); err != nil {
		return undecodable(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Refuse(http.StatusBadRequest, "Request decode failed: more text follows the JSON value")
	}
	return nil
}

// undecodable names the field that a body is wrong in.
func undecodable(err error) error {
	text := err.Error()
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		text = wrong.Field + ": want " + wrong.Type.String() + ", got " + wrong.Value
	}
	return Reasoned(http.StatusBadRequest, "invalid", "Request decode failed: "+text)
}

package resttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/op"
)

// Index is that of a Caller's answers, unless its Meta says another.
const Index = 7

// Caller is a datacenter in memory. It waits as reads do that ask for something newer, and
// notes what it was asked.
type Caller struct {
	// Answers are the results of operations, by their names: a value, or what Answer
	// returns. An operation without one has no result.
	Answers map[string]any
	// Only is the one datacenter that answers: dc2 cannot be reached then, and others are
	// unknown. If it is empty, all do.
	Only string
	// Meta of the answers; nil for that of dc1's leader.
	Meta *op.Meta

	mu      sync.Mutex
	asked   []string
	header  op.Header
	request any
}

var _ op.Caller = (*Caller)(nil)

// answer finds the result to a request.
type answer func(request any) (any, error)

// Answer is a result that depends on the request.
func Answer[Request any](find func(*Request) (any, error)) any {
	return answer(func(request any) (any, error) {
		r, ok := request.(*Request)
		if !ok {
			return nil, errors.New("the operation has another type of request")
		}
		return find(r)
	})
}

// Do implements op.Caller.
func (c *Caller) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	req, err := call.Request()
	if err != nil {
		return nil, err
	}
	name := call.Operation.OpName()
	c.mu.Lock()
	c.asked, c.header, c.request = append(c.asked, name), call.Header, req
	c.mu.Unlock()
	if c.Only != "" && call.Header.Datacenter != "" && call.Header.Datacenter != c.Only {
		if call.Header.Datacenter == "dc2" {
			return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: "Remote DC has no server currently reachable", Datacenter: "dc2"}
		}
		return nil, op.Errorf(op.CodeUnknownDatacenter, "No path to datacenter")
	}
	meta := op.Meta{Index: Index, KnownLeader: true, Datacenter: "dc1", Consistency: call.Header.Consistency}
	if c.Meta != nil {
		meta = *c.Meta
	}
	if call.Header.MinIndex >= meta.Index {
		select {
		case <-time.After(call.Header.MaxWait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	result := c.Answers[name]
	if find, ok := result.(answer); ok {
		if result, err = find(req); err != nil {
			return nil, err
		}
	}
	return op.NewReply(meta, result), nil
}

// Asked returns the names of the operations that were asked for, in their order.
func (c *Caller) Asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.asked...)
}

// Header returns that of the last call.
func (c *Caller) Header() op.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header
}

// Request returns that of the last call.
func (c *Caller) Request() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.request
}

// Forget forgets what was asked.
func (c *Caller) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.header, c.request = nil, op.Header{}, nil
}

// Requested returns the last call's request, which must be of that type.
func Requested[Request any](t testing.TB, c *Caller) Request {
	t.Helper()
	r, ok := c.Request().(*Request)
	if !ok {
		t.Fatalf("asked for %T, want %T", c.Request(), r)
	}
	return *r
}

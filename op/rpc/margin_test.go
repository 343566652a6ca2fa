package rpc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
)

// far is a wire to a server that is a round trip away.
type far struct {
	wire
	trip time.Duration
}

func (f far) ServerRTT(transport.Target) time.Duration { return f.trip }

func (f far) RoundTrip(ctx context.Context, to transport.Target, protocol string, head, body []byte) ([]byte, error) {
	way := func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.trip / 2):
			return nil
		}
	}
	if err := way(); err != nil {
		return nil, err
	}
	b, err := f.wire.RoundTrip(ctx, to, protocol, head, body)
	if err == nil {
		err = way()
	}
	return b, err
}

// A server that works as long as it may is heard, however far it is; it is given up
// by no more than the bound too early, and by no more than half of a short time.
func TestLastWordOfAServerArrivesOverAnyRoundTrip(t *testing.T) {
	for _, trip := range []time.Duration{0, 80 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, 950 * time.Millisecond} {
		for _, patience := range []time.Duration{2 * time.Second, 10 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				var worked time.Duration
				busy := op.CallerFunc(func(ctx context.Context, _ *op.Call) (*op.Reply, error) {
					start := time.Now()
					<-ctx.Done()
					worked = time.Since(start)
					return nil, op.Errorf(op.CodeNoLeader, "no leader")
				})
				via := far{wire{NewServer(busy, []op.Operation{read()}, nil)}, trip}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := TryEach(ctx, via, []transport.Target{{Addr: "x"}, {Addr: "y"}}, op.NewCall(read(), op.Header{}, &op.Text{}), nil)
				if op.CodeOf(err) != op.CodeNoLeader {
					t.Errorf("over %v within %v: %v", trip, patience, err)
				}
				if least := max(patience-mostMargin, patience/2); worked < least {
					t.Errorf("over %v within %v: the server was given %v", trip, patience, worked)
				}
			})
		}
	}
}

package rpc

import (
	"context"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
)

// TryEach sends the call to one target after another until one answers or an
// error says that another try is of no use: a call that may have been carried
// out is repeated only if it is a read. failed, if not nil, is told of each
// target that did not answer. A long result is asked for once more, in parts, if
// the call takes them. The error is the last one, or one before that is more
// telling; without targets it is op.ErrNoServers.
func TryEach(ctx context.Context, via RoundTripper, targets []transport.Target, c *op.Call, failed func(transport.Target, error)) (*op.Reply, error) {
	if _, err := c.Body(); err != nil { // encode once for all tries
		return nil, err
	}
	var last error = op.ErrNoServers
	for _, to := range targets {
		reply, err := Send(ctx, via, to, c)
		if c.Take == op.TakeParts && op.CodeOf(err) == op.CodeLong {
			c = c.InParts()
			reply, err = Send(ctx, via, to, c)
		}
		if err == nil {
			return reply, nil
		}
		last = MoreTelling(last, err, c.Operation.OpKind())
		if failed != nil && op.AsError(err).Unanswered {
			failed(to, err)
		}
		if !RetryElsewhere(ctx, DeadlineMargin(via, to), err, c.Operation.OpKind()) {
			return nil, last
		}
	}
	return nil, last
}

// RetryElsewhere reports whether another server may answer a call that failed so, within
// its time. One that knows no leader has waited for one as long as the call allowed, so
// that not much more than its margin is left: the next would be given up before it can
// say the same.
func RetryElsewhere(ctx context.Context, margin time.Duration, err error, k op.Kind) bool {
	if deadline, ok := ctx.Deadline(); ok && op.CodeOf(err) == op.CodeNoLeader && time.Until(deadline) < 2*margin {
		return false
	}
	return ctx.Err() == nil && Retryable(err, k)
}

// MoreTelling returns the one of two failures of a call at two servers that says more.
// That is the later one; but a server that knows no leader has answered, so what it
// says outweighs that another did not, unless that one may have carried out a write.
func MoreTelling(earlier, later error, k op.Kind) error {
	if op.CodeOf(earlier) != op.CodeNoLeader {
		return later
	}
	switch op.CodeOf(later) {
	case op.CodeNoServer:
		return earlier
	case op.CodeLost, op.CodeTimeout:
		if k == op.KindRead || k == op.KindDirectRead {
			return earlier
		}
	}
	return later
}

// Retryable reports whether a call of the kind that failed so may be sent again. An
// error about another datacenter is no fault of who says it: that server has tried
// those there, and the next would take as long to find out the same.
func Retryable(err error, k op.Kind) bool {
	if err != nil && op.AsError(err).Datacenter != "" {
		return false
	}
	switch op.CodeOf(err).Retry() {
	case op.RetryAll:
		return true
	case op.RetryReads:
		return k == op.KindRead || k == op.KindDirectRead
	}
	return false
}

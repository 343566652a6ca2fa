package client

import (
	"context"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/feed"
)

var _ op.Subscriber = (*Client)(nil)

// Subscribe implements op.Subscriber at one of the servers: the one in use or,
// when that cannot be reached or is behind, the next.
func (c *Client) Subscribe(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	if c.cfg.Streams == nil {
		return op.Errorf(op.CodeUnsupported, "%s cannot be followed: this client opens no streams", call.Operation.OpName())
	}
	if err := c.admit(); err != nil {
		return err
	}
	return feed.FollowEach(ctx, c.cfg.Streams, c.targets(call), call, feed.Sink{Push: push, Failed: c.skip})
}

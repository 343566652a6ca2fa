package transport

import (
	"context"
	"time"
)

// What a handshake proved holds as long as the connection: it ends when keys are removed.
const (
	// renewGrace is how long a connection that is to end may still be in use: longer
	// than any call that is not waiting for something or streaming.
	renewGrace = time.Minute
	// renewIdle is how long nothing must have used it before it is closed in that time.
	renewIdle = 250 * time.Millisecond
)

// Renew has the connections replaced that were made before since, or whose peer would
// be refused by now. New requests go on new ones; an old one is closed when it is
// idle, and after a minute in any case: what waits there for longer, as streams and
// blocking reads do, is begun again by who asked. It returns how many there are.
func (e *Endpoint) Renew(since time.Time) int {
	return e.replace("its keys are removed", func(c *conn) bool {
		_, refused := e.verify(c.qc, c.serve, c.path != nil)
		return c.began.Before(since) || refused != nil
	})
}

// Retire has the connections that match replaced in the same way.
func (e *Endpoint) Retire(why string, match func(Remote) bool) int {
	return e.replace(why, func(c *conn) bool { return match(c.remote) })
}

func (e *Endpoint) replace(why string, match func(*conn) bool) int {
	var old []*conn
	for _, c := range e.snapshot() {
		if match(c) && c.retired.CompareAndSwap(false, true) {
			old = append(old, c)
		}
	}
	if len(old) > 0 {
		// A closed endpoint has no connections.
		_ = e.group.Spawn("renew connections", func(ctx context.Context) { retire(ctx, old, why) })
	}
	return len(old)
}

// retire closes connections as they fall idle.
func retire(ctx context.Context, old []*conn, why string) {
	tick := time.NewTicker(renewIdle)
	defer tick.Stop()
	end := time.Now().Add(renewGrace)
	for len(old) > 0 {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			left := old[:0]
			for _, c := range old {
				switch {
				case !c.alive():
				case c.idle(now) > renewIdle:
					c.close(codeIdle, "idle, and "+why)
				case now.After(end):
					c.close(codeShutdown, why)
				default:
					left = append(left, c)
				}
			}
			old = left
		}
	}
}

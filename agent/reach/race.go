package reach

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/legate-project/legate/internal/lifecycle"
)

// dialer makes a connection at an address; nil is that of who is dialled.
type dialer = func(ctx context.Context, addr *net.UDPAddr) error

// try is one way to do something.
type try struct {
	run  func(ctx context.Context) error
	head time.Duration // how long it goes on alone before the next is tried as well
}

// race tries one way after the other until one succeeds, as RFC 8305 does with addresses: the
// next begins when one has failed, or has had its head start. It returns which one won, and ends
// the others.
func race(ctx context.Context, group *lifecycle.Group, tries []try) (won int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		which int
		err   error
	}
	results := make(chan result, len(tries))
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	for begun, ended := 0, 0; ended < len(tries); {
		select {
		case <-next.C:
			if begun == len(tries) {
				continue
			}
			which := begun
			begun++
			if err := group.Spawn("try a way", func(context.Context) { results <- result{which, tries[which].run(ctx)} }); err != nil {
				return 0, err
			}
			next.Reset(tries[which].head)
		case got := <-results:
			if got.err == nil {
				return got.which, nil
			}
			ended++
			errs = append(errs, got.err)
			next.Reset(0)
		case <-ctx.Done():
			return 0, errors.Join(append(errs, ctx.Err())...)
		}
	}
	return 0, errors.Join(errs...)
}

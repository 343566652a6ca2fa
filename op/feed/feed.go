// Package feed carries subscriptions between agents: one stream for each, on
// which the owner of a result sends it again whenever it has changed.
//
// It promises that what is pushed arrives in order and whole, that a
// subscription ends at both ends when either gives up or goes silent, and that
// no more is on its way than the window of a stream and one result. It keeps no
// results and repeats nothing that has begun.
//
// A result that changes while the window is full is not queued: the owner looks
// again when the peer has taken what there is, and sends the newest.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/transport"
)

// Protocol is the ALPN of subscriptions. A stream begins with one frame, the
// call as in package rpc. Frames with replies come back until one is an error,
// which is the last. The first one says only that somebody is there; what comes
// before a result has no other meaning.
const Protocol = version.View

// Bounds of a subscription.
const (
	// openTimeout is how long a server may take to be connected, firstWord how
	// long until the first byte of its answer comes: with round trips up to 300 ms
	// a lost packet is repeated within it, and a resolver still waits when the next
	// server is asked. After enough none is asked any more: a resolver gives up at
	// two seconds.
	openTimeout = time.Second
	firstWord   = time.Second
	enough      = 1700 * time.Millisecond
	// silence is how long a stream may carry nothing: two heartbeats, and time to
	// repeat a lost packet.
	silence = 2*op.Heartbeat + time.Second
	// stall is how long a peer may take no byte of what is sent to it.
	stall = 20 * time.Second
	// chunk is what the stall counts for: the bytes of one write.
	chunk = 64 << 10
	// poolSize is how many connections to one server carry subscriptions.
	poolSize = 2
	// recheck is how long, and up to a half more, a source that is behind is
	// followed before a better one is looked for.
	recheck = 30 * time.Second
)

// Opener is the part of *transport.Endpoint that following needs.
type Opener interface {
	Open(ctx context.Context, to transport.Target, protocol string) (transport.Stream, error)
}

var _ Opener = (*transport.Endpoint)(nil)

// Dial is the protocol of agents that only follow.
func Dial() transport.Protocol { return transport.Protocol{PoolSize: poolSize} }

// attempt is to be answered, if only with a sign of life, before it is over.
type attempt struct {
	via  Opener
	to   transport.Target
	call *op.Call
	over time.Time
}

// follow follows the call's result at one server until ctx ends, push fails or
// the server ends it, and returns why: an *op.Error of the server or, when the
// stream broke, one with CodeNoServer (nothing came) or CodeLost; else the error
// of ctx or push.
func follow(ctx context.Context, a attempt, push func(*op.Reply) error) error {
	to, c := a.to, a.call
	stream, err := begin(ctx, a)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, stream.Cancel)
	defer stop()
	defer stream.Cancel()
	in := &patient{stream: stream, wait: min(firstWord, time.Until(a.over))}
	for began := false; ; {
		b, err := transport.ReadFrame(in, transport.MaxResponse)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return op.Errorf(op.CodeLost, "follow %s at %s (%s): %v", c.Operation.OpName(), to.Name, to.Addr, err)
		}
		reply, err := op.ReadReply(b)
		if err != nil {
			return err
		}
		if began = began || reply.Meta.Index > 0; !began {
			continue
		}
		if err := push(reply); err != nil {
			return err
		}
	}
}

// begin opens the stream and sends the call.
func begin(ctx context.Context, a attempt) (transport.Stream, error) {
	to, c := a.to, a.call
	h := c.Header
	h.MinIndex, h.MaxWait, h.Timeout = 0, 0, 0
	if h.Hops++; h.Hops > op.MaxHops {
		return nil, op.Errorf(op.CodeInternal, "%s was forwarded more than %d times", c.Operation.OpName(), op.MaxHops)
	}
	body, err := c.Body()
	if err != nil {
		return nil, err
	}
	head, err := op.AppendHead(make([]byte, 0, 128), op.Received(c.Operation, h, nil))
	if err != nil {
		return nil, err
	}
	if size := len(head) + len(body); size > maxRequest {
		return nil, op.Errorf(op.CodeTooLarge, "the request of %s has %d bytes: with more than %d nothing can be followed", c.Operation.OpName(), size, maxRequest)
	}
	opening, cancel := context.WithTimeout(ctx, min(openTimeout, time.Until(a.over)))
	defer cancel()
	stream, err := a.via.Open(opening, to, Protocol)
	if err == nil {
		if err = transport.WriteFrame(&steady{stream}, head, body); err == nil {
			return stream, nil
		}
		stream.Cancel()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, transport.ErrNoProtocol):
		return nil, op.Errorf(op.CodeUnsupported, "%s (%s) serves no subscriptions: %v", to.Name, to.Addr, err)
	}
	return nil, op.Errorf(op.CodeNoServer, "follow %s: cannot reach %s (%s): %v", c.Operation.OpName(), to.Name, to.Addr, err)
}

// Sink is where a subscription goes.
type Sink struct {
	Push func(*op.Reply) error
	// Failed is told of each target that could not be reached.
	Failed func(transport.Target)
}

// FollowEach follows the result at the first target that begins to push it.
// Those that are current are looked for first; if there are none, one that is
// not will do, and after a while the search begins anew: the subscription ends
// then as one that is lost.
func FollowEach(ctx context.Context, via Opener, targets []transport.Target, c *op.Call, to Sink) error {
	if _, err := c.Body(); err != nil { // encode once for all tries
		return err
	}
	var last error = op.ErrNoServers
	over := time.Now().Add(enough)
	for _, current := range []bool{true, false} {
		asked := *c
		asked.Header.MustCurrent = current
		behind := false
		for _, target := range targets {
			began, err := followOne(ctx, attempt{via, target, &asked, over}, to.Push)
			if began || ctx.Err() != nil || !another(err) {
				return err
			}
			last = err
			switch op.CodeOf(err) {
			case op.CodeNoServer, op.CodeLost:
				to.Failed(target)
			case op.CodeNoLeader:
				behind = true
			}
			if !time.Now().Before(over) {
				return last
			}
		}
		if !behind {
			break
		}
	}
	return last
}

// followOne follows at one target and says whether it began to push.
func followOne(ctx context.Context, a attempt, push func(*op.Reply) error) (began bool, err error) {
	var again time.Time
	err = follow(ctx, a, func(r *op.Reply) error {
		if !began {
			began, again = true, time.Now().Add(recheck+rand.N(recheck/2))
		}
		if err := push(r); err != nil {
			return err
		}
		if !a.call.Header.MustCurrent && (r.Meta.Age > 0 || r.Meta.LastContact > op.LeaderSilence) && time.Now().After(again) {
			return op.Errorf(op.CodeLost, "%s (%s) stays behind: others are asked again", a.to.Name, a.to.Addr)
		}
		return nil
	})
	return began, err
}

// another reports whether another server may do better than one that failed so.
func another(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeNoServer, op.CodeLost, op.CodeNoLeader, op.CodeNotLeader, op.CodeStopping, op.CodeBusy, op.CodeUnsupported, op.CodeUnreachableDatacenter:
		return true
	}
	return false
}

// patient reads a stream that may be silent for a while, not for long.
type patient struct {
	stream transport.Stream
	wait   time.Duration // for the next byte
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.stream.SetReadDeadline(time.Now().Add(p.wait)); err != nil {
		return 0, err
	}
	n, err := p.stream.Read(b)
	if n > 0 {
		p.wait = silence
	}
	return n, err
}

// steady writes to a stream whose peer takes what is written, piece by piece.
type steady struct{ stream transport.Stream }

// Write implements io.Writer.
func (s *steady) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		n := min(len(b), chunk)
		if err := s.stream.SetWriteDeadline(time.Now().Add(stall)); err != nil {
			return written, err
		}
		n, err := s.stream.Write(b[:n])
		written += n
		if err != nil {
			return written, fmt.Errorf("the peer takes nothing: %w", err)
		}
		b = b[n:]
	}
	return written, nil
}

var (
	_ io.Reader = (*patient)(nil)
	_ io.Writer = (*steady)(nil)
)

package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/transport/address"
	"github.com/legate-project/legate/transport/counted"
	"github.com/legate-project/legate/transport/silence"
)

// errGivenUp is the answer of a path whose peer fell silent, while it is dialled anew.
var errGivenUp = fmt.Errorf("%w: it fell silent or ended, and a new connection has not come about yet", ErrUnreachable)

// errHandshakeTimeout is no context's error: it is not the caller's time that
// ended.
var errHandshakeTimeout = errors.New("no answer within the time for a handshake")

// pathKey names a pool of connections.
type pathKey struct {
	target   Target
	protocol string
}

// peerKey finds the connections to a peer for a protocol, whoever made them: by its node
// ID, by its name with the datacenter, and by the address that they came from or went to.
type peerKey struct{ who, protocol string }

// peerKeys are all keys of a connection.
func (c *conn) peerKeys() [3]peerKey {
	p := c.remote.Peer
	return [3]peerKey{{"id " + p.NodeID, c.protocol}, {"name " + p.FullName(), c.protocol}, {"addr " + c.remote.Addr.String(), c.protocol}}
}

// peerKey is the key of the connections that may serve the path: those with its address,
// or, of a peer that is behind others, those with that peer, wherever it dialled from.
func (k pathKey) peerKey(behind map[string]struct{}) peerKey {
	t := k.target
	if _, ok := behind[t.NodeID]; ok {
		return peerKey{"id " + t.NodeID, k.protocol}
	}
	if _, ok := behind[t.Name]; ok {
		return peerKey{"name " + t.Name, k.protocol}
	}
	return peerKey{"addr " + t.Addr, k.protocol}
}

// serves reports whether a path may use the connection.
func (e *Endpoint) serves(k pathKey, c *conn) bool {
	return k.protocol == c.protocol && slices.Contains(c.keys[:], k.peerKey(*e.behind.Load())) && k.target.matches(c.remote.Peer)
}

// Behind says which peers are behind others, by node ID and by node.datacenter: for them it
// does not matter from which address they dialled. For all others it does: who answers at
// another address may be a process that took the place of the one that is meant.
func (e *Endpoint) Behind(peers map[string]struct{}) { e.behind.Store(&peers) }

// path is the pool of connections to one target for one protocol.
type path struct {
	e    *Endpoint
	key  pathKey
	size int   // most connections
	grow int64 // requests in flight on each connection before another is dialled

	lossy bool // the protocol is for networks that lose packets

	slack silence.Slack

	mu       sync.Mutex
	behind   *map[string]struct{} // the endpoint's, that peer was made of
	peer     peerKey              // of the connections that others made
	loss     counted.Loss         // as the connections count it
	pairs    counted.Loss         // as requests that went twice show it
	paired   time.Time            // when the last of them went to learn about it
	conns    []*conn
	attempt  *attempt // the one dial that is under way, or nil
	failures int
	mute     bool // the peer was given up or ended, and nothing was heard of it since
	retryAt  time.Time
	lastErr  error
	lastUsed time.Time
}

// attempt is one dial; err is set before done is closed.
type attempt struct {
	done chan struct{}
	err  error
}

// path returns the pool for a target, made when it is first asked for.
func (e *Endpoint) path(t Target, protocol string) (*path, error) {
	proto, ok := e.protocol(protocol)
	if !ok {
		return nil, fmt.Errorf("reach %s: %w: %w: %q", t, ErrRefused, ErrNoProtocol, protocol)
	}
	key := pathKey{t, protocol}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("reach %s: %w", t, ErrClosed)
	}
	if p := e.paths[key]; p != nil {
		return p, nil
	}
	if len(e.paths) >= maxPaths {
		return nil, fmt.Errorf("reach %s: %w: %d targets are in use already", t, ErrUnreachable, maxPaths)
	}
	p := &path{e: e, key: key, size: e.cfg.PoolSize, grow: growAt, lossy: proto.Lossy, lastUsed: time.Now()}
	if proto.PoolSize > 0 {
		p.size = proto.PoolSize
	}
	if proto.Shared {
		p.grow = growSharedAt
	}
	if proto.Grow > 0 {
		p.grow = int64(proto.Grow)
	}
	e.paths[key] = p
	return p, nil
}

// acquire returns the connection to use, the one with the fewest requests in
// flight or the most room, and a second one for a copy of a small request where
// the path calls for one. With none that answers it waits for a dial; during the
// pause after a failed dial it fails at once, and so it does while a peer is dialled
// that was given up: who can ask another does not wait for one that may be dead.
func (p *path) acquire(ctx context.Context) (first, second *conn, err error) {
	for {
		p.mu.Lock()
		p.lastUsed = time.Now()
		if first, second = p.best(); first != nil {
			p.mu.Unlock()
			return first, second, nil
		}
		a := p.attempt
		if a == nil {
			if time.Now().Before(p.retryAt) {
				err := p.lastErr
				p.mu.Unlock()
				return nil, nil, err
			}
			a = p.dial()
		}
		mute := p.mute
		p.mu.Unlock()
		switch {
		case a == nil:
			return nil, nil, ErrClosed
		case mute:
			return nil, nil, errGivenUp
		}
		select {
		case <-a.done:
			if a.err != nil {
				return nil, nil, a.err
			}
		case <-ctx.Done():
			return nil, nil, ended(ctx, ErrUnreachable)
		}
	}
}

// best chooses among the healthy connections and has another dialled if they
// are too few; p.mu is held.
func (p *path) best() (first, second *conn) {
	if p.lossy {
		return p.spread(p.load)
	}
	first, healthy, load := p.pick()
	if first != nil && healthy < p.size && load >= int64(healthy)*p.grow {
		p.dial()
	}
	return first, nil
}

// pick returns the best healthy connection, how many are healthy and their
// load; p.mu is held.
func (p *path) pick() (best *conn, healthy int, load int64) {
	var fewest int64
	for c := range p.usable {
		if !c.fit() {
			continue
		}
		n := c.inFlight.Load()
		healthy++
		load += n
		if best == nil || n < fewest {
			best, fewest = c, n
		}
	}
	return best, healthy, load
}

// connect returns the best connection, or nil after it has seen to a dial.
func (p *path) connect() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastUsed = time.Now()
	best, _, _ := p.pick()
	if best == nil && p.lastUsed.After(p.retryAt) {
		p.dial()
	}
	return best
}

// usable yields the path's connections and the others to its peer: those that the peer
// made, and those that were dialled with less or more known about it. p.mu is held.
func (p *path) usable(yield func(*conn) bool) {
	for _, c := range p.conns {
		if !yield(c) {
			return
		}
	}
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	if behind := p.e.behind.Load(); behind != p.behind {
		p.behind, p.peer = behind, p.key.peerKey(*behind)
	}
	for _, c := range p.e.byPeer[p.peer] {
		if c.path != p && p.key.target.matches(c.remote.Peer) && !yield(c) {
			return
		}
	}
}

// dial starts a dial if none is under way; p.mu is held. It returns nil if
// the endpoint is closed.
func (p *path) dial() *attempt {
	if p.attempt != nil {
		return p.attempt
	}
	a := &attempt{done: make(chan struct{})}
	p.attempt = a
	// A peer that is busy has more time each time: what it began for nothing keeps it busy.
	within := min(p.e.cfg.HandshakeTimeout<<min(p.failures, 10), p.e.cfg.longestHandshake())
	err := p.e.group.Spawn("dial", func(ctx context.Context) {
		ctx, cancel := context.WithTimeoutCause(ctx, within, errHandshakeTimeout)
		defer cancel()
		c, err := p.e.dial(ctx, p)
		p.dialled(a, c, err)
	})
	if err != nil {
		p.attempt = nil
		return nil
	}
	return a
}

func (p *path) dialled(a *attempt, c *conn, err error) {
	if err == nil {
		// In the pool first: when start returns it may be lost again.
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.failures, p.mute = 0, false
		p.mu.Unlock()
		p.slack.Heard(c.remote.Addr.String())
		err = p.e.start(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempt = nil
	if err != nil && !errors.Is(err, ErrClosed) {
		p.failed(err)
	}
	a.err = err
	close(a.done)
}

// failed sets the pause until the next dial; p.mu is held.
func (p *path) failed(err error) {
	p.lastErr = err
	p.failures++
	wait := min(lastBackoff, firstBackoff<<min(p.failures-1, 10))
	if errors.Is(err, ErrRefused) && !errors.Is(err, ErrNoProtocol) {
		wait = refusedBackoff // a protocol may be about to start
	}
	p.retryAt = time.Now().Add(wait - time.Duration(rand.Int64N(int64(wait/4)+1)))
}

// lost takes out a connection that ended. Only a refusal by the peer has the
// next dial wait: what this endpoint closed itself says nothing of the peer.
func (p *path) lost(c *conn, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = without(p.conns, c)
	if err := connError(cause, false); errors.Is(err, ErrRefused) && !closedHere(cause) {
		p.failed(err)
	}
}

// heard ends the pauses of the paths to a peer that just reached us.
func (e *Endpoint) heard(c *conn) {
	e.unpause(func(k pathKey) bool { return e.serves(k, c) })
}

// Anew ends the pauses after failed dials for a protocol: for who was told to try
// now.
func (e *Endpoint) Anew(protocol string) {
	e.unpause(func(k pathKey) bool { return k.protocol == protocol })
}

func (e *Endpoint) unpause(match func(pathKey) bool) {
	e.each(match, func(p *path) { p.failures, p.retryAt, p.mute = 0, time.Time{}, false })
}

// gaveUp has the paths to a peer that fell silent or ended wait for no dial. Across a WAN they
// do: what asks there has breakers against peers that are silent, and probes of a path
// end with the news that it works. Nor does one connection say so of a peer that another
// one reaches: that of a process before its restart ends after the next one has come.
func (e *Endpoint) gaveUp(c *conn) {
	e.each(func(k pathKey) bool { return e.serves(k, c) }, func(p *path) {
		if best, _, _ := p.pick(); best == nil {
			p.mute = !p.lossy
		}
	})
}

// each changes the paths that match; p.mu is held meanwhile.
func (e *Endpoint) each(match func(pathKey) bool, change func(*path)) {
	e.mu.Lock()
	var paths []*path
	for k, p := range e.paths {
		if match(k) {
			paths = append(paths, p)
		}
	}
	e.mu.Unlock()
	for _, p := range paths {
		p.mu.Lock()
		change(p)
		p.mu.Unlock()
	}
}

// dial makes one verified connection, by the way that was first; it is not started yet.
func (e *Endpoint) dial(ctx context.Context, p *path) (*conn, error) {
	t := p.key.target
	var first atomic.Pointer[conn]
	err := e.cfg.Route(ctx, t, p.key.protocol, func(ctx context.Context, addr *net.UDPAddr) error {
		c, err := e.dialAt(ctx, p, addr)
		if err == nil && !first.CompareAndSwap(nil, c) {
			c.close(codeIdle, "another way was faster")
		}
		return err
	})
	if c := first.Swap(&conn{}); c != nil { // who succeeds now is late
		return c, nil
	}
	return nil, fmt.Errorf("dial %s for %s: %w", t, p.key.protocol, connError(err, false))
}

// dialAt dials a target at an address, nil for its own.
func (e *Endpoint) dialAt(ctx context.Context, p *path, addr *net.UDPAddr) (*conn, error) {
	t := p.key.target
	var err error
	if addr == nil {
		if addr, err = address.Resolve(ctx, t.Addr); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
	shows, err := e.clientTLS(p.key.protocol)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", t, err)
	}
	qc, err := e.transport.Dial(ctx, addr, shows, e.quic)
	if err != nil {
		if err = connError(err, false); context.Cause(ctx) != context.Canceled { // that is by another way
			e.metrics.handshakeFailed(dialFailure(err))
		}
		return nil, err
	}
	peer, err := e.admit(qc, p.key.protocol, &t)
	if err != nil {
		e.warnRefused("Refused the peer that was dialled", addr, p.key.protocol, err)
		return nil, err
	}
	c := e.verified(qc, p.key.protocol, peer)
	c.path = p
	return c, nil
}

// Forget closes the connections to a target, for every protocol, and drops
// what is remembered about it. Requests in flight are lost.
func (e *Endpoint) Forget(t Target) {
	e.mu.Lock()
	var gone []*path
	for k, p := range e.paths {
		if k.target == t {
			gone = append(gone, p)
			delete(e.paths, k)
		}
	}
	e.mu.Unlock()
	for _, p := range gone {
		p.mu.Lock()
		conns := append([]*conn(nil), p.conns...)
		p.mu.Unlock()
		for _, c := range conns {
			c.close(codeShutdown, "forgotten")
		}
	}
}

// ForgetUnused drops what is remembered about a target that has no connection and is not
// being dialled.
func (e *Endpoint) ForgetUnused(t Target) {
	e.mu.Lock()
	var found []*path
	for k, p := range e.paths {
		if k.target == t {
			found = append(found, p)
		}
	}
	e.mu.Unlock()
	for _, p := range found {
		p.mu.Lock()
		unused := len(p.conns) == 0 && p.attempt == nil
		p.mu.Unlock()
		if unused {
			e.dropPath(p)
		}
	}
}

// dropPath forgets a path, unless another one has its place already.
func (e *Endpoint) dropPath(p *path) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.paths[p.key] == p {
		delete(e.paths, p.key)
	}
}

// sweep closes connections that nothing uses and forgets unused paths.
func (e *Endpoint) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			e.dropIdle(now)
		}
	}
}

func (e *Endpoint) dropIdle(now time.Time) {
	e.mu.Lock()
	var idle []*conn
	for c := range e.conns {
		limit := e.cfg.IdleDrop
		if c.serve.IdleDrop != nil {
			limit = c.serve.IdleDrop()
		}
		if c.path != nil && c.idle(now) > limit {
			idle = append(idle, c)
		}
	}
	connected := map[string]bool{}
	for c := range e.conns {
		connected[c.remote.Peer.NodeID] = true
	}
	paths := slices.Collect(maps.Values(e.paths))
	e.mu.Unlock()
	e.duplicates.sweep(now, connected)
	for _, c := range idle {
		c.close(codeIdle, "idle")
	}
	for _, p := range paths {
		p.mu.Lock()
		unused := len(p.conns) == 0 && p.attempt == nil && now.Sub(p.lastUsed) > e.cfg.IdleDrop
		p.mu.Unlock()
		if unused {
			e.dropPath(p)
		}
	}
}

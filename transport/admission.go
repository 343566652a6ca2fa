package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"
)

var errTooMany = errors.New("too many connections")

// admission bounds the connections from outside, from the first packet of the
// handshake until they are closed.
type admission struct {
	rate   *rate.Limiter
	failed func(from net.Addr, cause error) // a handshake did not end well

	mu    sync.Mutex
	total int
	hosts map[string]int
}

// handshake is what a connection's context carries: whether it was accepted.
type handshake struct{ accepted atomic.Bool }

type handshakeKey struct{}

// accepted notes that the handshake of a connection from outside is over.
func accepted(qc *quic.Conn) {
	if h, ok := qc.Context().Value(handshakeKey{}).(*handshake); ok {
		h.accepted.Store(true)
	}
}

func (a *admission) init(failed func(net.Addr, error)) {
	a.failed = failed
	a.rate = rate.NewLimiter(maxHandshakes, maxHandshakes)
	a.hosts = map[string]int{}
}

// begin is a quic.Transport.ConnContext: its context ends with the connection.
func (a *admission) begin(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if !a.rate.Allow() {
		return nil, errTooMany
	}
	host := hostOf(info.RemoteAddr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= maxConnections || a.hosts[host] >= maxConnectionsPerHost {
		return nil, errTooMany
	}
	a.total++
	a.hosts[host]++
	h := &handshake{}
	context.AfterFunc(ctx, func() {
		a.end(host)
		if !h.accepted.Load() {
			a.failed(info.RemoteAddr, context.Cause(ctx))
		}
	})
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

func (a *admission) end(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.hosts[host]--; a.hosts[host] <= 0 {
		delete(a.hosts, host)
	}
}

func hostOf(a net.Addr) string {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.IP.String()
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

package transport

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"
)

var errTooMany = errors.New("too many connections")

// admission bounds the connections from outside, from the first packet of the
// handshake until they are closed.
type admission struct {
	rate *rate.Limiter

	mu    sync.Mutex
	total int
	hosts map[string]int
}

func (a *admission) init() {
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
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.total--
		if a.hosts[host]--; a.hosts[host] <= 0 {
			delete(a.hosts, host)
		}
	})
	return ctx, nil
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

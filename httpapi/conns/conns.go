// Package conns bounds how many HTTP connections, and how many of some kind of
// request, each client address has.
package conns

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limit bounds the connections of each client address. It is safe for
// concurrent use.
type Limit struct {
	max int
	mu  sync.Mutex
	by  map[netip.Addr]int
}

// NewLimit allows each address so many connections; 0 for any number.
func NewLimit(max int) *Limit { return &Limit{max: max, by: map[netip.Addr]int{}} }

// tooMany is what a connection above the limit gets: it is not read from.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nX-Legate-Reason: busy\r\n" +
	"Connection: close\r\nContent-Length: 73\r\n\r\nToo many connections from this address (limits.http_max_conns_per_client)"

// tooManyTimeout bounds how long telling so may hold up those who come next.
const tooManyTimeout = 10 * time.Millisecond

// State is the ConnState hook of an http.Server: a connection above the limit
// is told so and closed at once.
func (l *Limit) State(c net.Conn, state http.ConnState) {
	if l.max <= 0 {
		return
	}
	switch state {
	case http.StateNew:
		addr := AddrOf(c.RemoteAddr().String())
		l.mu.Lock()
		l.by[addr]++
		over := l.by[addr] > l.max
		l.mu.Unlock()
		if over {
			if c.SetWriteDeadline(time.Now().Add(tooManyTimeout)) == nil {
				_, _ = io.WriteString(c, tooMany) // who does not hear it sees the end
			}
			_ = c.Close() // the server notices and reports the connection closed
		}
	case http.StateClosed, http.StateHijacked:
		addr := AddrOf(c.RemoteAddr().String())
		l.mu.Lock()
		if l.by[addr]--; l.by[addr] <= 0 {
			delete(l.by, addr)
		}
		l.mu.Unlock()
	}
}

// Places bounds how many of something each client address has at once. It is safe
// for concurrent use.
type Places struct {
	max int
	mu  sync.Mutex
	by  map[netip.Addr]int
}

// NewPlaces allows each address so many.
func NewPlaces(max int) *Places { return &Places{max: max, by: map[netip.Addr]int{}} }

// Take takes a place unless the address has all of its own. Leave it after use.
func (p *Places) Take(addr netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[addr] >= p.max {
		return false
	}
	p.by[addr]++
	return true
}

// Leave gives a place back.
func (p *Places) Leave(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by[addr]--; p.by[addr] <= 0 {
		delete(p.by, addr)
	}
}

// AddrOf returns the IP of a host:port; that of a Unix socket is the zero Addr.
func AddrOf(hostport string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

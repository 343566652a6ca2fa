package httpapi

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/legate-project/legate/httpapi/rest"
)

// connLimit bounds the connections of each client address. It is safe for
// concurrent use.
type connLimit struct {
	max int
	mu  sync.Mutex
	by  map[netip.Addr]int
}

// newConnLimit allows each address so many connections; 0 for any number.
func newConnLimit(max int) *connLimit { return &connLimit{max: max, by: map[netip.Addr]int{}} }

// tooMany is what a connection above the limit gets: it is not read from.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nX-Legate-Reason: busy\r\n" +
	"Connection: close\r\nContent-Length: 73\r\n\r\nToo many connections from this address (limits.http_max_conns_per_client)"

// tooManyTimeout bounds how long telling so may hold up those who come next.
const tooManyTimeout = 10 * time.Millisecond

// state is the ConnState hook of an http.Server: a connection above the limit
// is told so and closed at once.
func (l *connLimit) state(c net.Conn, state http.ConnState) {
	if l.max <= 0 {
		return
	}
	switch state {
	case http.StateNew:
		addr := rest.AddrOf(c.RemoteAddr().String())
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
		addr := rest.AddrOf(c.RemoteAddr().String())
		l.mu.Lock()
		if l.by[addr]--; l.by[addr] <= 0 {
			delete(l.by, addr)
		}
		l.mu.Unlock()
	}
}

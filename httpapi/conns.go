package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/legate-project/legate/internal/admission"
)

// tooManyTimeout bounds how long telling so may hold up those who come next.
const tooManyTimeout = 10 * time.Millisecond

// tellTooMany is what a connection gets that is not let in: it is not read from. Over TLS
// nothing can be told before a handshake, which costs more than the connection.
func tellTooMany(c net.Conn, why error) {
	text := "Too many connections to this agent"
	if errors.Is(why, admission.ErrAddress) {
		text = "Too many connections from this address (limits.http_max_conns_per_client)"
	}
	if c.SetWriteDeadline(time.Now().Add(tooManyTimeout)) == nil {
		// Who does not hear it sees the end.
		_, _ = io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nX-Legate-Reason: busy\r\n"+
			fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
	}
}

// bounded bounds the requests over HTTP/2 that one address has under way: over HTTP/1 its
// connections do.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			next.ServeHTTP(w, r)
			return
		}
		from, _ := netip.ParseAddrPort(r.RemoteAddr) // none over a socket of the file system
		place, err := s.streams.Enter(net.TCPAddrFromAddrPort(from))
		if err != nil {
			w.Header().Set("X-Legate-Reason", "busy")
			http.Error(w, "Too many requests of this address are under way", http.StatusTooManyRequests)
			return
		}
		defer place.Leave()
		next.ServeHTTP(w, r)
	})
}

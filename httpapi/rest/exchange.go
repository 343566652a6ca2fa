package rest

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"github.com/legate-project/legate/httpapi/rest/unchanged"
	"github.com/legate-project/legate/internal/tracing"
)

// Exchange is one request with its answer. It lives in a pool: handlers do not
// keep it, nor what its methods lend.
type Exchange struct {
	W   http.ResponseWriter
	R   *http.Request
	Ctx context.Context // ends with the client's connection, and with the server
	// Rest is the path behind the prefix of the route.
	Rest string
	// Waits is set when the time of the request says nothing about the server: it
	// waits for a change, or for its client.
	Waits bool

	api    *API
	start  time.Time
	end    *endpoint
	params []param
	status int // 0 until the answer has begun
	span   tracing.Span

	selects bool           // parts of a result are left out here, by ?filter
	wait    unchanged.Wait // of who selects
	index   uint64         // of the result

	maxStale time.Duration // of reads that ask for no consistency; 0 asks the leader
}

// param is one pair of the query string.
type param struct{ key, value string }

// serve finds the route and answers.
func (x *Exchange) serve() {
	if strings.HasPrefix(x.R.URL.Path, "/v1/") {
		x.W.Header()["X-Consul-Default-Acl-Policy"] = x.api.policy
	}
	for name, value := range x.api.extra {
		x.W.Header()[name] = value
	}
	err := x.admit()
	if t := x.api.cfg.Tracer; t != nil {
		x.trace(t)
	}
	if err != nil {
		x.fail(err)
		return
	}
	if len(x.params) > 0 && x.Has("index") {
		runtime.Gosched() // after a change that woke thousands, answers go before new waits
	}
	err = x.end.handle(x)
	for errors.Is(err, errSame) { // what changed was left out
		err = x.end.handle(x)
	}
	if err != nil {
		x.fail(err)
	}
}

// admit checks what is the same for all routes and finds the endpoint.
func (x *Exchange) admit() error {
	path := x.R.URL.Path
	if !printable(path) {
		return Refuse(http.StatusBadRequest, "Invalid URL path: it has characters that cannot be printed")
	}
	for _, prefix := range x.api.cfg.HTTP.BlockEndpoints {
		if strings.HasPrefix(path, prefix) {
			return Refuse(http.StatusForbidden, "Endpoint is blocked by agent configuration")
		}
	}
	if err := x.parse(x.R.URL.RawQuery); err != nil {
		return err
	}
	route, rest := x.api.routes.find(path)
	if route == nil {
		if x.api.routes.isPrefix(path + "/") {
			x.end = x.api.routes.redirect
			return nil
		}
		return Refuse(http.StatusNotFound, "Invalid URL path: not a recognized HTTP API endpoint")
	}
	x.Rest = rest
	if x.R.Method == http.MethodOptions {
		x.end = route.options
		return nil
	}
	e := route.endpoint(x.R.Method)
	if e == nil {
		x.W.Header()["Allow"] = route.allow
		return Refuse(http.StatusMethodNotAllowed, "method "+x.R.Method+" not allowed")
	}
	x.end = e
	if x.R.Method != http.MethodGet && !x.mayWrite() {
		return Refuse(http.StatusForbidden, "Access is restricted")
	}
	return x.enterprise()
}

// printable reports whether a path has only characters that can be shown.
func printable(path string) bool {
	for i := 0; i < len(path); i++ {
		if c := path[i]; c < ' ' || c >= 0x7f {
			return !strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) })
		}
	}
	return true
}

func (x *Exchange) mayWrite() bool {
	if len(x.api.writers) == 0 {
		return true
	}
	addr := AddrOf(x.R.RemoteAddr)
	for _, p := range x.api.writers {
		if p.Contains(addr) {
			return true
		}
	}
	return addr == netip.Addr{} // a Unix socket: its file's rights decide
}

// enterprise refuses what would be ignored otherwise: the answer would be
// about something else.
func (x *Exchange) enterprise() error {
	for _, p := range x.params {
		switch {
		case p.value == "":
		case p.key == "ns":
			return Refuse(http.StatusBadRequest, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`)
		case p.key == "partition":
			return Refuse(http.StatusBadRequest, `Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`)
		case p.key == "peer":
			return Refuse(http.StatusBadRequest, `Invalid query parameter: "peer" - cluster peering is not supported, use "dc"`)
		}
	}
	for _, h := range []struct{ name, what string }{{"X-Consul-Namespace", "Namespaces"}, {"X-Consul-Partition", "Partitions"}} {
		if v := x.R.Header[h.name]; len(v) > 0 && v[0] != "" {
			return Refuse(http.StatusBadRequest, "Invalid header: \""+h.name+"\" - "+h.what+" are a Consul Enterprise feature")
		}
	}
	return nil
}

// parse splits the query string. Unlike url.ParseQuery it allocates nothing
// for plain text.
func (x *Exchange) parse(query string) error {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		if len(x.params) == maxParams {
			return Refuse(http.StatusBadRequest, "Invalid query string: too many parameters")
		}
		key, value, _ := strings.Cut(pair, "=")
		var err error
		if key, err = unescape(key); err == nil {
			value, err = unescape(value)
		}
		if err != nil {
			return Refuse(http.StatusBadRequest, "Invalid query string: "+err.Error())
		}
		x.params = append(x.params, param{key, value})
	}
	return nil
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// Has reports whether the parameter was given, with or without a value.
func (x *Exchange) Has(key string) bool {
	for i := range x.params {
		if x.params[i].key == key {
			return true
		}
	}
	return false
}

// Get returns the first value of the parameter, or "".
func (x *Exchange) Get(key string) string {
	for i := range x.params {
		if x.params[i].key == key {
			return x.params[i].value
		}
	}
	return ""
}

// All returns the values of a parameter that may be repeated.
func (x *Exchange) All(key string) []string {
	var out []string
	for i := range x.params {
		if x.params[i].key == key {
			out = append(out, x.params[i].value)
		}
	}
	return out
}

// finish records the exchange and gives it back; a handler that panicked is
// answered with 500.
func (x *Exchange) finish() {
	s := x.api
	p := recover()
	if p == http.ErrAbortHandler {
		defer panic(p) // the server ends the connection or the stream
	} else if p != nil {
		s.metrics.panics.Inc()
		s.log.Error("handler panicked", "method", x.R.Method, "path", x.R.URL.Path, "panic", p, "stack", string(debug.Stack()))
		if x.status == 0 {
			x.fail(Refuse(http.StatusInternalServerError, "Internal error: the request could not be handled"))
		}
	}
	s.metrics.inFlight.Dec()
	s.active.Add(-1)
	if !x.Waits {
		x.end.seconds.Observe(time.Since(x.start).Seconds())
	}
	x.end.answers[class(x.status)].Inc()
	if x.span.Recording() {
		x.traced()
	}
	x.log()
	x.api, x.W, x.R, x.Ctx = nil, nil, nil, nil
	x.selects, x.wait, x.index = false, unchanged.Wait{}, 0
	clear(x.params)
	s.exchanges.Put(x)
}

// Begin notes the status of an answer that the handler sends itself.
func (x *Exchange) Begin(status int) { x.status = status }

// AddrOf returns the IP of a host:port; that of a Unix socket is the zero Addr.
func AddrOf(hostport string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

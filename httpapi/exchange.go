package httpapi

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

	"github.com/legate-project/legate/httpapi/conns"
	"github.com/legate-project/legate/httpapi/known"
)

// exchange is one request with its answer. It lives in a pool: handlers do not
// keep it.
type exchange struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	start time.Time

	end    *endpoint
	rest   string // path behind the prefix of the route
	params []param
	status int  // 0 until the answer has begun
	waits  bool // the request waits for a change

	selects bool       // parts of a result are left out here, by ?filter
	wait    known.Wait // of who selects
	index   uint64     // of the result
}

// param is one pair of the query string.
type param struct{ key, value string }

// serve finds the route and answers.
func (x *exchange) serve() {
	for name, value := range x.s.extra {
		x.w.Header()[name] = value
	}
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	if len(x.params) > 0 && x.has("index") {
		runtime.Gosched() // after a change that woke thousands, answers go before new waits
	}
	err := x.end.handle(x)
	for errors.Is(err, errSame) { // what changed was left out
		err = x.end.handle(x)
	}
	if err != nil {
		x.fail(err)
	}
}

// admit checks what is the same for all routes and finds the endpoint.
func (x *exchange) admit() error {
	path := x.r.URL.Path
	if !printable(path) {
		return refuse(http.StatusBadRequest, "Invalid URL path: it has characters that cannot be printed")
	}
	for _, prefix := range x.s.cfg.HTTP.BlockEndpoints {
		if strings.HasPrefix(path, prefix) {
			return refuse(http.StatusForbidden, "Endpoint is blocked by agent configuration")
		}
	}
	if err := x.parse(x.r.URL.RawQuery); err != nil {
		return err
	}
	route, rest := x.s.routes.find(path)
	if route == nil {
		if x.s.routes.isPrefix(path + "/") {
			x.end = x.s.routes.redirect
			return nil
		}
		return refuse(http.StatusNotFound, "Invalid URL path: not a recognized HTTP API endpoint")
	}
	x.rest = rest
	if x.r.Method == http.MethodOptions {
		x.end = route.options
		return nil
	}
	e := route.endpoint(x.r.Method)
	if e == nil {
		x.w.Header()["Allow"] = route.allow
		return refuse(http.StatusMethodNotAllowed, "method "+x.r.Method+" not allowed")
	}
	x.end = e
	if x.r.Method != http.MethodGet && !x.mayWrite() {
		return refuse(http.StatusForbidden, "Access is restricted")
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

func (x *exchange) mayWrite() bool {
	if len(x.s.writers) == 0 {
		return true
	}
	addr := conns.AddrOf(x.r.RemoteAddr)
	for _, p := range x.s.writers {
		if p.Contains(addr) {
			return true
		}
	}
	return addr == netip.Addr{} // a Unix socket: its file's rights decide
}

// enterprise refuses what would be ignored otherwise: the answer would be
// about something else.
func (x *exchange) enterprise() error {
	for _, p := range x.params {
		switch {
		case p.value == "":
		case p.key == "ns":
			return refuse(http.StatusBadRequest, `Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature`)
		case p.key == "partition":
			return refuse(http.StatusBadRequest, `Invalid query parameter: "partition" - Partitions are a Consul Enterprise feature`)
		case p.key == "peer":
			return refuse(http.StatusBadRequest, `Invalid query parameter: "peer" - cluster peering is not supported, use "dc"`)
		}
	}
	for _, h := range []struct{ name, what string }{{"X-Consul-Namespace", "Namespaces"}, {"X-Consul-Partition", "Partitions"}} {
		if v := x.r.Header[h.name]; len(v) > 0 && v[0] != "" {
			return refuse(http.StatusBadRequest, "Invalid header: \""+h.name+"\" - "+h.what+" are a Consul Enterprise feature")
		}
	}
	return nil
}

// parse splits the query string. Unlike url.ParseQuery it allocates nothing
// for plain text.
func (x *exchange) parse(query string) error {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" {
			continue
		}
		if len(x.params) == maxParams {
			return refuse(http.StatusBadRequest, "Invalid query string: too many parameters")
		}
		key, value, _ := strings.Cut(pair, "=")
		var err error
		if key, err = unescape(key); err == nil {
			value, err = unescape(value)
		}
		if err != nil {
			return refuse(http.StatusBadRequest, "Invalid query string: "+err.Error())
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

// has reports whether the parameter was given, with or without a value.
func (x *exchange) has(key string) bool {
	for i := range x.params {
		if x.params[i].key == key {
			return true
		}
	}
	return false
}

// get returns the first value of the parameter, or "".
func (x *exchange) get(key string) string {
	for i := range x.params {
		if x.params[i].key == key {
			return x.params[i].value
		}
	}
	return ""
}

// all returns the values of a parameter that may be repeated.
func (x *exchange) all(key string) []string {
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
func (x *exchange) finish() {
	s := x.s
	if p := recover(); p != nil {
		s.metrics.panics.Inc()
		s.log.Error("handler panicked", "method", x.r.Method, "path", x.r.URL.Path, "panic", p, "stack", string(debug.Stack()))
		if x.status == 0 {
			x.fail(refuse(http.StatusInternalServerError, "Internal error: the request could not be handled"))
		}
	}
	s.metrics.inFlight.Dec()
	s.active.Add(-1)
	if !x.waits {
		x.end.seconds.Observe(time.Since(x.start).Seconds())
	}
	x.end.answers[class(x.status)].Inc()
	x.s, x.w, x.r, x.ctx = nil, nil, nil, nil
	x.selects, x.wait, x.index = false, known.Wait{}, 0
	clear(x.params)
	s.exchanges.Put(x)
}

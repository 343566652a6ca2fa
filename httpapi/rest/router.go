package rest

import (
	"net/http"
	"strings"
	"time"
)

// Handler answers one kind of request. What it returns as an error is rendered
// by the caller.
type Handler func(*Exchange) error

// Route is one row of the list of routes. A path that ends in / is a prefix: the
// rest is an argument. With /*/ in it, what stands there is the argument; a row
// for what is before comes first.
type Route struct {
	Path                   string
	Get, Put, Post, Delete Handler
	// Blocks says that Get waits for something newer than ?index.
	Blocks bool
	// Mesh lists the methods that are known but not served, because they belong to
	// the service mesh.
	Mesh string
}

// Discovery returns the rows with reads that, where they ask for no consistency, any
// server answers which is no staler than a limit; 0 leaves them to the leader.
func Discovery(limit func() time.Duration, rows []Route) []Route {
	if limit == nil {
		return rows
	}
	for i, row := range rows {
		if row.Get != nil {
			rows[i].Get = func(x *Exchange) error {
				x.maxStale = limit()
				return row.Get(x)
			}
		}
	}
	return rows
}

// endpoint is a handler with its metrics.
type endpoint struct {
	handle       Handler
	method, path string // of the route; of a span, never of the request
	span         string // its name
	endpointMetrics
}

func newEndpoint(h Handler, method, path string, m endpointMetrics) *endpoint {
	path = shownRoute(path)
	return &endpoint{h, method, path, strings.TrimSpace(method + " " + path), m}
}

// shownRoute is the path of a row with a star for what a request has there.
func shownRoute(path string) string {
	if strings.HasSuffix(path, "/") && path != "/" && !strings.Contains(path, "*") {
		return path + "*"
	}
	return path
}

// target is a route as the router holds it.
type target struct {
	allow   []string // value of the Allow header
	options *endpoint
	by      [4]*endpoint // by methodIndex
	behind  map[string]*target
}

func methodIndex(method string) int {
	switch method {
	case http.MethodGet:
		return 0
	case http.MethodPut:
		return 1
	case http.MethodPost:
		return 2
	case http.MethodDelete:
		return 3
	}
	return -1
}

func (t *target) endpoint(method string) *endpoint {
	if i := methodIndex(method); i >= 0 {
		return t.by[i]
	}
	return nil
}

// router finds the route of a path with a few look-ups in a map. It does not
// change once made.
type router struct {
	exact, prefixes   map[string]*target
	depth             int // most slashes in a prefix
	unknown, redirect *endpoint
}

func newRouter(table []Route, m *metrics) *router {
	other := m.endpoint("other", "other")
	r := &router{exact: map[string]*target{}, prefixes: map[string]*target{},
		unknown:  newEndpoint(nil, "", "", other),
		redirect: newEndpoint(addSlash, "", "", other),
	}
	for _, row := range table {
		t := &target{behind: map[string]*target{}}
		methods := []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}
		var allow []string
		for i, h := range []Handler{row.Get, row.Put, row.Post, row.Delete} {
			switch {
			case h != nil:
				t.by[i] = newEndpoint(h, methods[i], row.Path, m.endpoint(row.Path, methods[i]))
			case strings.Contains(row.Mesh, methods[i]):
				t.by[i] = newEndpoint(noMesh, methods[i], row.Path, other)
			default:
				continue
			}
			allow = append(allow, methods[i])
		}
		t.allow = []string{strings.Join(append([]string{http.MethodOptions}, allow...), ",")}
		allowed := t.allow
		t.options = newEndpoint(func(x *Exchange) error {
			x.W.Header()["Allow"] = allowed
			x.Empty(http.StatusOK)
			return nil
		}, http.MethodOptions, row.Path, other)
		if before, after, ok := strings.Cut(row.Path, "*"); ok {
			r.prefixes[before].behind[after] = t
			continue
		}
		if strings.HasSuffix(row.Path, "/") && row.Path != "/" {
			r.prefixes[row.Path] = t
			r.depth = max(r.depth, strings.Count(row.Path, "/"))
			continue
		}
		r.exact[row.Path] = t
	}
	return r
}

// find returns the route with the longest match and the rest of the path; nil
// if there is none.
func (r *router) find(path string) (*target, string) {
	if t := r.exact[path]; t != nil {
		return t, ""
	}
	var found *target
	end, at := 0, 0
	for range r.depth {
		i := strings.IndexByte(path[at:], '/')
		if i < 0 {
			break
		}
		at += i + 1
		if t := r.prefixes[path[:at]]; t != nil {
			found, end = t, at
		}
	}
	if found == nil {
		return nil, ""
	}
	rest := path[end:]
	if i := strings.LastIndexByte(rest, '/'); i >= 0 && found.behind[rest[i:]] != nil {
		return found.behind[rest[i:]], rest[:i]
	}
	return found, rest
}

func (r *router) isPrefix(path string) bool { return r.prefixes[path] != nil }

// addSlash sends a client that left out the slash behind a prefix there.
func addSlash(x *Exchange) error {
	u := *x.R.URL
	u.Path += "/"
	u.Scheme, u.Host = "", ""
	x.W.Header().Set("Location", u.String())
	x.Empty(http.StatusMovedPermanently)
	return nil
}

// noMesh is for tools that probe for the service mesh: a stable answer that
// says there is none.
func noMesh(x *Exchange) error {
	x.W.Header().Set(headerReason, "unsupported")
	return x.JSONStatus(http.StatusNotImplemented, struct{ Error string }{"This agent has no service mesh"})
}

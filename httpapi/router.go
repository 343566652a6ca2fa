package httpapi

import (
	"net/http"
	"strings"
)

// handler answers one kind of request. What it returns as an error is
// rendered by the caller.
type handler func(*exchange) error

// route is one row of the table. A path that ends in / is a prefix: the rest
// is an argument. With /*/ in it, what stands there is the argument; a row for
// what is before comes first.
type route struct {
	path                   string
	get, put, post, delete handler
	// blocks says that get waits for something newer than ?index.
	blocks bool
	// later and mesh list the methods that are known but not served: yet, or
	// because they belong to the service mesh.
	later, mesh string
}

// BlockingPaths lists the routes whose reads wait for something newer than
// ?index. A path that ends in / takes an argument.
func BlockingPaths() []string {
	var paths []string
	for _, r := range table {
		if r.blocks {
			paths = append(paths, r.path)
		}
	}
	return paths
}

// endpoint is a handler with its metrics.
type endpoint struct {
	handle handler
	endpointMetrics
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

func newRouter(table []route, m *metrics) *router {
	other := m.endpoint("other", "other")
	r := &router{exact: map[string]*target{}, prefixes: map[string]*target{},
		unknown:  &endpoint{nil, other},
		redirect: &endpoint{addSlash, other},
	}
	for _, row := range table {
		t := &target{behind: map[string]*target{}}
		methods := []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}
		var allow []string
		for i, h := range []handler{row.get, row.put, row.post, row.delete} {
			switch {
			case h != nil:
				t.by[i] = &endpoint{h, m.endpoint(row.path, methods[i])}
			case strings.Contains(row.later, methods[i]):
				t.by[i] = &endpoint{notYet, other}
			case strings.Contains(row.mesh, methods[i]):
				t.by[i] = &endpoint{noMesh, other}
			default:
				continue
			}
			allow = append(allow, methods[i])
		}
		t.allow = []string{strings.Join(append([]string{http.MethodOptions}, allow...), ",")}
		allowed := t.allow
		t.options = &endpoint{func(x *exchange) error {
			x.w.Header()["Allow"] = allowed
			x.empty(http.StatusOK)
			return nil
		}, other}
		if before, after, ok := strings.Cut(row.path, "*"); ok {
			r.prefixes[before].behind[after] = t
			continue
		}
		if strings.HasSuffix(row.path, "/") && row.path != "/" {
			r.prefixes[row.path] = t
			r.depth = max(r.depth, strings.Count(row.path, "/"))
			continue
		}
		r.exact[row.path] = t
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
func addSlash(x *exchange) error {
	u := *x.r.URL
	u.Path += "/"
	u.Scheme, u.Host = "", ""
	x.w.Header().Set("Location", u.String())
	x.empty(http.StatusMovedPermanently)
	return nil
}

func notYet(x *exchange) error {
	return reasoned(http.StatusNotImplemented, "unsupported", x.r.Method+" "+x.r.URL.Path+" is not served yet")
}

// noMesh is for tools that probe for the service mesh: a stable answer that
// says there is none.
func noMesh(x *exchange) error {
	x.w.Header().Set(headerReason, "unsupported")
	return x.jsonStatus(http.StatusNotImplemented, struct{ Error string }{"This agent has no service mesh"})
}

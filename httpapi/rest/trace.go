package rest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/legate-project/legate/internal/tracing"
)

// trace begins the span of the exchange, which is as old as the request. It is named
// after the route: what a path has behind it can be a key or a secret, and so can
// parameters and headers. None of them is in a trace.
func (x *Exchange) trace(t *tracing.Tracer) {
	name := x.end.span
	if name == "" {
		name = "HTTP"
	}
	o := tracing.Origin{Kind: tracing.Server, Began: x.start}
	if parent := x.R.Header["Traceparent"]; len(parent) == 1 { // of two, neither can be trusted
		o.TraceParent, o.TraceState = parent[0], strings.Join(x.R.Header["Tracestate"], ",")
	}
	x.Ctx, x.span = t.Root(x.Ctx, name, o)
}

// traced says how the exchange ended, and ends its span.
func (x *Exchange) traced() {
	s := x.span
	method := x.end.method
	if method == "" {
		method = "_OTHER" // as the convention has it
		if methodIndex(x.R.Method) >= 0 {
			method = x.R.Method
		}
	}
	s.Text("http.request.method", method)
	if x.end.path != "" {
		s.Text("http.route", x.end.path)
	}
	if a := AddrOf(x.R.RemoteAddr); a.IsValid() {
		s.Text("client.address", a.String())
	}
	if x.Waits {
		s.Mark("legate.blocking")
	}
	if x.status > 0 {
		s.Number("http.response.status_code", int64(x.status))
	}
	if x.status >= http.StatusInternalServerError {
		s.Fail(strconv.Itoa(x.status))
	}
	s.End()
}

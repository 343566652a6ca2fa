package tracing_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/legate-project/legate/internal/tracing"
)

// Headers come from clients, what is continued from other agents.
func FuzzContexts(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b", "0123456789abcdef01234567x")
	f.Add("00-0-0-0", ",,,", "")
	f.Add("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-more", "", "0000000000000000000000000")
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	f.Cleanup(collector.Close)
	tr := tracer(f, collector.URL, 0)
	f.Fuzz(func(t *testing.T, parent, state, wire string) {
		for _, by := range []*tracing.Tracer{tr, nil} {
			ctx, span := by.Root(context.Background(), "x", tracing.Origin{TraceParent: parent, TraceState: state})
			_, call, sent := tracing.Call(ctx, "y")
			call.End()
			span.End()
			_, further, passed := tracing.Call(by.Continue(context.Background(), wire), "z")
			further.End()
			for _, s := range []string{sent, passed} {
				if len(s) > len(wire) && len(s) > 64 {
					t.Errorf("%d bytes go on to the next agent", len(s))
				}
			}
		}
	})
}

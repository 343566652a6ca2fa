package tracing_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/legate-project/legate/internal/tracing"
	"github.com/legate-project/legate/internal/tracing/tracingtest"
)

// requestContext is as deep as that of an HTTP request.
func requestContext(b *testing.B) context.Context {
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	ctx = context.WithValue(context.WithoutCancel(ctx), http.ServerContextKey, b)
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, net.IPv4zero)
	for range 2 {
		ctx, cancel = context.WithCancel(ctx)
		b.Cleanup(cancel)
	}
	return ctx
}

// BenchmarkRequest is what one request through a client agent costs there: its root,
// one call to a server, and their attributes.
func BenchmarkRequest(b *testing.B) {
	run := func(b *testing.B, t *tracing.Tracer) {
		base := requestContext(b)
		b.ReportAllocs()
		for b.Loop() {
			ctx, root := t.Root(base, "GET /v1/kv/*", tracing.Origin{Kind: tracing.Server})
			_, call, _ := tracing.Call(ctx, "kv.get")
			for _, s := range []tracing.Span{call, root} {
				if s.Recording() {
					for _, key := range []string{"rpc.system", "rpc.method", "server.address", "server.port", "legate.server"} {
						s.Text(key, "value")
					}
					s.End()
				}
			}
		}
	}
	b.Run("off", func(b *testing.B) { run(b, nil) })
	for name, ratio := range map[string]float64{"not sampled": 0, "on": 1} {
		b.Run(name, func(b *testing.B) {
			tr, err := tracing.New(config(tracingtest.Start(b).URL, ratio))
			if err != nil {
				b.Fatal(err)
			}
			run(b, tr)
			if err := tr.Stop(context.Background()); err != nil {
				b.Error(err)
			}
		})
	}
}

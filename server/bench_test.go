package server

import (
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/servertest"
)

// BenchmarkDo is the dispatcher with a read of one key behind it, as the HTTP API
// calls it.
func BenchmarkDo(b *testing.B) {
	h := newHarness(b, nil)
	h.start(b, nil)
	servertest.Write(b, h.cfg.State, "k", "value")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := get(b.Context(), h, op.Header{}, "k"); err != nil {
			b.Fatal(err)
		}
	}
}

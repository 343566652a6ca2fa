package transport

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func BenchmarkRoundTrip200B(b *testing.B) { roundTrips(b, false) }

func BenchmarkSharedRoundTrip200B(b *testing.B) { roundTrips(b, true) }

func roundTrips(b *testing.B, shared bool) {
	protocol := func(c *Config) { c.Protocols = map[string]Protocol{testProtocol: {Answer: echoed, Shared: shared}} }
	for _, workers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			x := endpoint(b, derived(b, testKey(1), server("x")), protocol)
			y := endpoint(b, derived(b, testKey(1), server("y")), protocol)
			body := randomBytes(b, 200)
			ctx := b.Context()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range workers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := x.RoundTrip(ctx, to(y), testProtocol, nil, body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

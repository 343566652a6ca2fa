package consensus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// One node on a real disk; commands of about 300 bytes.
func BenchmarkPropose(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			m := newMember(b, newNetwork(), "n0", vfs.Default)
			m.dir = b.TempDir()
			m.start()
			if err := m.node.Bootstrap([]Server{{ID: m.id, Address: m.id, Voter: true}}); err != nil {
				b.Fatal(err)
			}
			leader(b, []*member{m})
			value := strings.Repeat("x", 280)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if _, err := m.node.Propose(context.Background(), fmt.Appendf(nil, "k%d=%s", i%10_000, value)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

package testcluster_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// BenchmarkReadsAcross reads a key of another datacenter through a client agent
// over 80 ms, 512 at a time. What a read costs all agents together is cpu-µs/op:
// it depends less than the rate on what else the machine does.
func BenchmarkReadsAcross(b *testing.B) {
	for _, loss := range []float64{0, 0.01} {
		b.Run(fmt.Sprintf("loss=%v", loss), func(b *testing.B) {
			c := start(b, testcluster.Spec{Datacenters: 2, Servers: 1, Clients: 1, RTT: 80 * time.Millisecond, Loss: loss})
			caller := c.In("dc1")[1].Agent().Caller()
			eventually(b, "dc2 is reached", 30*time.Second, func(ctx context.Context) error {
				return set(ctx, caller, op.Header{Datacenter: "dc2"}, "k", "v")
			})
			b.SetParallelism(256)
			before := cpu(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, _, err := kv.Get.Call(b.Context(), caller, op.Header{Datacenter: "dc2"}, &kv.GetRequest{Key: "k"}); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
		})
	}
}

// cpu is the processor time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

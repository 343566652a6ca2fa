package testcluster_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// BenchmarkWrites writes on the leader of three servers, 64 at a time.
func BenchmarkWrites(b *testing.B) {
	c := start(b, testcluster.Spec{Datacenters: 1, Servers: 3, Dir: b.TempDir()})
	leader := leaderOf(b, c)
	value := make([]byte, 512)
	var n atomic.Int64
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := []byte("bench/000000")
			for i, k := len(key)-1, n.Add(1)%1000; k > 0; i, k = i-1, k/10 {
				key[i] = byte('0' + k%10)
			}
			_, _, err := kv.Apply.Call(b.Context(), leader, op.Header{}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: string(key), Value: value}})
			if err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkReads reads one key on the leader, 64 at a time.
func BenchmarkReads(b *testing.B) {
	c := start(b, testcluster.Spec{Datacenters: 1, Servers: 1, Clients: 1})
	if err := set(b.Context(), c.Nodes()[0].Agent().Caller(), op.Header{}, "k", "v"); err != nil {
		b.Fatal(err)
	}
	for _, n := range c.Nodes() {
		b.Run(n.Name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, _, err := kv.Get.Call(b.Context(), n.Agent().Caller(), op.Header{}, &kv.GetRequest{Key: "k"}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func leaderOf(b *testing.B, c *testcluster.Cluster) op.Caller {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		for _, n := range c.Nodes() {
			if n.Agent().Leads() {
				return n.Agent().Caller()
			}
		}
	}
	b.Fatal("no leader")
	return nil
}

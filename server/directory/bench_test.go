package directory

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// BenchmarkFederation is what the directory costs a server of 50 datacenters that have 2,000 services each: memory, and the
// processor time and bytes (without those of QUIC) for one service that changes. Each message tells of so many changes.
func BenchmarkFederation(b *testing.B) {
	const datacenters, services = 49, 2000
	d := New(Config{Source: (*world)(nil), Datacenters: func() []string { return nil }, Log: logging.Discard(), Registerer: prometheus.NewRegistry()})
	take := func(dc string, told *catalog.Digest) int {
		bytes, err := told.MarshalMsg(nil)
		if err != nil {
			b.Fatal(err)
		}
		came := &catalog.Digest{}
		if _, err := came.UnmarshalMsg(bytes); err != nil {
			b.Fatal(err)
		}
		if err := d.take(dc, d.digests[dc], op.NewReply(op.Meta{Index: 1}, came)); err != nil {
			b.Fatal(err)
		}
		return len(bytes)
	}
	before := held()
	whole := 0
	for i := range datacenters {
		dc := fmt.Sprint("dc", i)
		d.digests[dc] = &digest{end: context.CancelFunc(func() {})}
		all := &catalog.Digest{Whole: true}
		for j := range services {
			all.Services = append(all.Services, catalog.ServiceHealth{Name: fmt.Sprintf("service%04d", j), Passing: 20})
		}
		whole = take(dc, all)
	}
	mib := float64(held()-before) / (1 << 20)
	for _, changes := range []int{1, 2, 10} {
		b.Run(fmt.Sprintf("%d changes a message", changes), func(b *testing.B) {
			bytes := 0
			for n := 0; b.Loop(); n++ {
				told := &catalog.Digest{}
				for k := range changes {
					told.Services = append(told.Services, catalog.ServiceHealth{Name: fmt.Sprintf("service%04d", (n*changes+k)%services), Passing: 19, Critical: 1})
				}
				bytes += take(fmt.Sprint("dc", n%datacenters), told)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*changes), "ns/change")
			b.ReportMetric(float64(bytes)/float64(b.N*changes), "B/change")
			b.ReportMetric(mib, "MiB")
			b.ReportMetric(float64(whole), "B/whole")
		})
	}
}

// held is what is in use after a collection.
func held() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

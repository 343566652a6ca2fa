package gossipsim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

func federation(t *testing.T, s Spec) *Federation {
	t.Helper()
	f, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, err := CloudRegions()
		if err != nil {
			t.Fatal(err)
		}
		real0 := time.Now()
		f := federation(t, Spec{RoundTrips: rt, Servers: 3, Jitter: .3, Loss: .02})
		t.Log("started", time.Since(real0))
		f.Run(2 * time.Minute)
		before := f.Sent(f.Servers[4])
		f.Run(10 * time.Minute)
		after := f.Sent(f.Servers[4])
		t.Log("bytes/s", float64(after.Bytes-before.Bytes)/600, "packets/s", float64(after.Packets-before.Packets)/600)
		at := time.Now()
		s, err := f.Add(3)
		if err != nil {
			t.Fatal(err)
		}
		f.Run(2 * time.Minute)
		t.Log(f.Spread(gossip.Join, s.Name, at))
		at = time.Now()
		if err := f.Kill(s); err != nil {
			t.Fatal(err)
		}
		f.Run(5 * time.Minute)
		t.Log(f.Spread(gossip.Fail, s.Name, at))
		for _, s := range f.Servers[:3] {
			a, _ := s.Total("legate_wan_suspicions_total")
			b, _ := s.Total("legate_wan_refutations_total")
			t.Log(s.Name, a, b, s.Pool.NumMembers())
		}
	})
}

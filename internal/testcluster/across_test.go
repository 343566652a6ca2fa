package testcluster_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

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

// Over a network that loses packets writes go on two connections at once, and
// each is carried out once: also while leaders come and go, when one copy meets
// another leader than the other. A session is made anew by each request, so its
// name tells.
func TestWritesThatGoTwiceAreAppliedOnceThroughChangesOfLeader(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("stops leaders")
	}
	c := start(t, testcluster.Spec{Datacenters: 2, Servers: 3, Clients: 1, RTT: 10 * time.Millisecond, Loss: 0.05, Dir: t.TempDir()})
	client := official(t, c.Node("dc1-client1"))
	create := func(name string) error {
		_, _, err := client.Session().CreateNoChecks(&api.SessionEntry{Node: "dc2-client1", Name: name}, &api.WriteOptions{Datacenter: "dc2"})
		return err
	}
	eventually(t, "sessions can be made across", 20*time.Second, func(context.Context) error { return create("first") })
	var done atomic.Bool
	var mu sync.Mutex
	made := map[string]bool{} // whether the answer came
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; !done.Load(); i++ {
				name := fmt.Sprintf("%d of %d", i, w)
				err := create(name)
				mu.Lock()
				made[name] = err == nil
				mu.Unlock()
			}
		})
	}
	for round := range 3 {
		eventually(t, "writes are answered", 90*time.Second, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			answered := 0
			for _, ok := range made {
				if ok {
					answered++
				}
			}
			if want := 200 * (round + 1); answered < want {
				return fmt.Errorf("%d of %d", answered, want)
			}
			return nil
		})
		name := leaderIn(t, c, "dc2")
		if err := c.StopNode(t.Context(), name); err != nil {
			t.Error(err)
		}
		eventually(t, "the next leader takes writes", 20*time.Second, func(ctx context.Context) error {
			return set(ctx, c.Node("dc1-client1").Agent().Caller(), op.Header{Datacenter: "dc2"}, "k", "v")
		})
		if err := c.StartNode(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	writers.Wait()
	var list []*api.SessionEntry
	eventually(t, "the sessions are listed", 20*time.Second, func(context.Context) (err error) {
		list, _, err = client.Session().List(&api.QueryOptions{Datacenter: "dc2", RequireConsistent: true})
		return err
	})
	count := map[string]int{}
	for _, s := range list {
		count[s.Name]++
	}
	lost := 0
	for name, answered := range made {
		if n := count[name]; n > 1 || answered && n == 0 {
			t.Errorf("session %q is there %d times, answered %v", name, n, answered)
		}
		if !answered {
			lost++
		}
	}
	twice := 0.0
	for _, n := range c.In("dc1") {
		twice += doubledCalls(t, n)
	}
	t.Logf("%d writes, %d without an answer, %.0f calls went on two connections", len(made), lost, twice)
	if twice < float64(len(made))/10 {
		t.Errorf("only %.0f of %d calls went on two connections: the test shows little", twice, len(made))
	}
}

// leaderIn names the server that leads a datacenter.
func leaderIn(t *testing.T, c *testcluster.Cluster, dc string) string {
	t.Helper()
	addr, err := c.WaitLeader(t.Context(), dc)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.In(dc) {
		if strings.HasPrefix(addr, n.IP+":") {
			return n.Name
		}
	}
	t.Fatalf("nobody in %s has the leader's address %s", dc, addr)
	return ""
}

// doubledCalls reads from a node's metrics how many calls went on two
// connections.
func doubledCalls(t *testing.T, n *testcluster.Node) (sum float64) {
	t.Helper()
	resp, err := http.Get("http://" + n.HTTPAddr() + "/v1/agent/metrics?format=prometheus")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "legate_quic_doubled_calls_total{") {
			var v float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); err == nil {
				sum += v
			}
		}
	}
	return sum
}

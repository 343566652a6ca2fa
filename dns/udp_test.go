package dns

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/op"
)

// slow answers nothing about one datacenter until it is let go.
type slow struct {
	lasting
	asked chan struct{}
	free  chan struct{}
}

func (s *slow) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	if c.Header.Datacenter == "slow" {
		s.asked <- struct{}{}
		select {
		case <-s.free:
		case <-ctx.Done():
		}
		return nil, op.Errorf(op.CodeUnreachableDatacenter, "it is slow")
	}
	return s.lasting.Do(ctx, c)
}

// More questions than can wait, of a datacenter that does not answer, cost those whose
// answers are packed nothing.
func TestASlowDatacenterHoldsUpNoPackedAnswer(t *testing.T) {
	const questions = 10 * maxWorkers
	f := &slow{lasting: lasting{Caller: newFake()}, asked: make(chan struct{}, questions), free: make(chan struct{})}
	s, _ := start(t, f, func(c *Config) { c.DNS.AnswerTimeout = time.Minute })
	at, _ := serving(t, s, "127.0.0.1:0")
	defer close(f.free)
	dial := func() net.Conn {
		c, err := net.Dial("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	quick := dial()
	web := packedMsg(t, asking(t, "web.service.consul.", mdns.TypeA, 0))
	answered := func() {
		t.Helper()
		if _, err := quick.Write(web); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 512)
		n, err := quick.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if m := unpacked(t, b[:n]); len(m.Answer) != 1 {
			t.Fatalf("answered %s", m)
		}
	}
	for testutil.ToFloat64(s.metrics.packed) == 0 {
		answered()
	}
	// One client, whose questions all come to one socket: they are sent until some are left.
	crowd := dial()
	waiting := 0
	for i := 0; testutil.ToFloat64(s.metrics.dropped) == 0 && i < questions; i++ {
		if _, err := crowd.Write(packedMsg(t, asking(t, fmt.Sprintf("s%d.service.slow.consul.", i), mdns.TypeA, 0))); err != nil {
			t.Fatal(err)
		}
		for len(f.asked) > 0 {
			<-f.asked
			waiting++
		}
		if i%64 == 63 {
			answered()
		}
	}
	if n := testutil.ToFloat64(s.metrics.dropped); n == 0 || waiting < maxWorkers/2 {
		t.Fatalf("%d wait, %v were left", waiting, n)
	}
	before := testutil.ToFloat64(s.metrics.packed)
	for range 100 {
		answered()
	}
	if n := testutil.ToFloat64(s.metrics.packed) - before; n != 100 {
		t.Errorf("%v of 100 answers were packed", n)
	}
}

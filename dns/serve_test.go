package dns

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/op"
)

func TestRealSockets(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0"} {
		s, _ := start(t, newFake())
		at, stop := serving(t, s, addr)
		at = strings.ReplaceAll(at, "[::]", "127.0.0.1")
		for _, network := range []string{"udp", "tcp"} {
			c := &mdns.Client{Net: network, Timeout: 5 * time.Second}
			m, _, err := c.Exchange(new(mdns.Msg).SetQuestion("many.service.consul.", mdns.TypeA), at)
			if err != nil {
				t.Fatalf("%s %s: %v", network, addr, err)
			}
			if want := map[string]int{"udp": 3, "tcp": 200}[network]; len(m.Answer) != want || m.Truncated != (network == "udp") {
				t.Errorf("%s %s: %d answers, cut %t", network, addr, len(m.Answer), m.Truncated)
			}
		}
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if n := testutil.ToFloat64(s.metrics.workers); n != 0 {
			t.Errorf("%v workers are left", n)
		}
		if _, _, err := (&mdns.Client{Net: "tcp", Timeout: time.Second}).Exchange(new(mdns.Msg).SetQuestion("x.consul.", mdns.TypeA), at); err == nil {
			t.Error("a stopped server answers")
		}
	}
}

// TestSlowAnswersHoldUpNoOthers sends many queries that hang, then one that
// does not.
func TestSlowAnswersHoldUpNoOthers(t *testing.T) {
	f := newFake()
	entered := make(chan struct{}, 1000)
	s, _ := start(t, op.CallerFunc(func(ctx context.Context, c *op.Call) (*op.Reply, error) {
		if c.Header.Datacenter == "slow" {
			entered <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return op.NewReply(op.Meta{}, f.nodes["n1"]), nil
	}))
	at, stop := serving(t, s, "127.0.0.1:0")
	slow, err := new(mdns.Msg).SetQuestion("n1.node.slow.consul.", mdns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 100 {
		if _, err := conn.Write(slow); err != nil {
			t.Fatal(err)
		}
		<-entered
	}
	c := &mdns.Client{Timeout: time.Second}
	m, _, err := c.Exchange(new(mdns.Msg).SetQuestion("n1.node.consul.", mdns.TypeA), at)
	if err != nil || len(m.Answer) != 1 {
		t.Errorf("while 100 queries hang: %v, %v", m, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stop while queries hang: %v", err)
	}
}

func TestListenSaysWhatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := Listen(context.Background(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("taken port: %v", err)
	}
}

func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dig is missing: .ci/run installs it")
		}
		t.Skip("no dig on this machine: .ci/run installs it")
	}
	s, _ := start(t, newFake())
	at, _ := serving(t, s, "127.0.0.1:0")
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"+short", "web.service.consul", "A"}, "10.0.0.1\n"},
		{[]string{"+short", "+tcp", "far.service.dc2.consul", "SRV"}, "1 1 70 far1.node.dc2.consul.\n"},
		{[]string{"+noedns", "+ignore", "many.service.consul"}, "flags: qr aa tc rd; QUERY: 1, ANSWER: 3,"},
		{[]string{"+noedns", "many.service.consul"}, "ANSWER: 200,"},
		{[]string{"+bufsize=4096", "many.service.consul"}, "ANSWER: 200,"},
		{[]string{"none.service.consul"}, "status: NXDOMAIN"},
	} {
		out, err := exec.Command(dig, append([]string{"@" + host, "-p", port, "+time=5", "+tries=1"}, c.args...)...).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), c.want) || strings.Contains(string(out), "malformed") {
			t.Errorf("dig %v:\n%s", c.args, out)
		}
	}
}

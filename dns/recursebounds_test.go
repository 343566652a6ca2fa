package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

// A recursor that asks us again gets no second question from us, and the client its
// answer soon.
func TestLoopsEnd(t *testing.T) {
	var at atomic.Value
	var asked atomic.Int64
	loop := newUpstream(t, func(network string, q *mdns.Msg) *mdns.Msg {
		asked.Add(1)
		again := q.Copy()
		again.Question[0].Name = strings.ToUpper(q.Question[0].Name)
		m, _, err := (&mdns.Client{Net: network, Timeout: 5 * time.Second}).Exchange(again, at.Load().(string))
		if err != nil {
			return nil
		}
		return m.SetReply(q)
	})
	s, _ := start(t, newFake(), recursing(loop.addr))
	addr, _ := serving(t, s, "127.0.0.1:0")
	at.Store(addr)
	begin := time.Now()
	m, _, err := (&mdns.Client{Timeout: 10 * time.Second}).Exchange(new(mdns.Msg).SetQuestion("www.example.com.", mdns.TypeA), addr)
	if err != nil || m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("in a loop: %v, %v", m, err)
	}
	if n, took := asked.Load(), time.Since(begin); n != 1 || took > 3*time.Second {
		t.Errorf("the recursor was asked %d times in %s", n, took)
	}
	// An agent that is its own recursor.
	s, _ = start(t, newFake())
	addr, _ = serving(t, s, "127.0.0.1:0")
	if err := s.Reload(config.DNSConfig{RecursorTimeout: 300 * time.Millisecond}, []string{addr}); err != nil {
		t.Fatal(err)
	}
	m, _, err = (&mdns.Client{Timeout: 10 * time.Second}).Exchange(new(mdns.Msg).SetQuestion("www.example.com.", mdns.TypeA), addr)
	if err != nil || m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("asking itself: %v, %v", m, err)
	}
}

func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	entered, open := make(chan struct{}, 10), make(chan struct{})
	u := newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg {
		entered <- struct{}{}
		<-open
		return records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")
	})
	s, _ := start(t, newFake(), recursing(u.addr), func(c *Config) { c.DNS.RecursorTimeout = 10 * time.Second })
	var answered sync.WaitGroup
	const clients = 10
	for i := range clients {
		name := []byte("www.example.com.")
		name[i] -= 'a' - 'A'
		if name[i] < 'A' || name[i] > 'Z' {
			name = []byte("www.example.com.")
		}
		answered.Go(func() {
			if m := ask(t, s, string(name), mdns.TypeA); len(m.Answer) != 1 || m.Question[0].Name != string(name) {
				t.Errorf("%s is answered %s", name, m)
			}
		})
	}
	<-entered
	deadline := time.After(10 * time.Second)
	for testutil.ToFloat64(s.metrics.recursing) < clients {
		select {
		case <-deadline:
			t.Fatal("not all questions have come")
		case <-time.After(time.Millisecond):
		}
	}
	close(open)
	answered.Wait()
	if got := u.questions(); got != "udp "+"www.example.com." && strings.Count(got, "udp") != 1 {
		t.Errorf("asked: %s", got)
	}
	if got := testutil.ToFloat64(s.metrics.recursed[recursionShared]); got != clients-1 {
		t.Errorf("%v answers were shared", got)
	}
}

func TestRecursionIsBounded(t *testing.T) {
	silent := newUpstream(t, func(string, *mdns.Msg) *mdns.Msg { return nil })
	s, _ := start(t, newFake(), recursing(silent.addr), func(c *Config) { c.DNS.RecursorTimeout = 2 * time.Second })
	refused := func(client string, n int) *mdns.Msg {
		in, err := new(mdns.Msg).SetQuestion(fmt.Sprintf("%d.example.com.", n), mdns.TypeA).Pack()
		if err != nil {
			t.Error(err)
		}
		return unpacked(t, s.packet(t.Context(), netip.MustParseAddr(client), in, nil))
	}
	var waiting sync.WaitGroup
	for i := range maxRecursingEach {
		waiting.Go(func() { refused("192.0.2.1", i) })
	}
	deadline := time.After(10 * time.Second)
	for testutil.ToFloat64(s.metrics.recursing) < maxRecursingEach {
		select {
		case <-deadline:
			t.Fatal("not all questions have come")
		case <-time.After(time.Millisecond):
		}
	}
	begin := time.Now()
	if m := refused("192.0.2.1", 1000); m.Rcode != mdns.RcodeServerFailure || time.Since(begin) > time.Second {
		t.Errorf("a question too many: %s after %s", show(m), time.Since(begin))
	}
	if got := testutil.ToFloat64(s.metrics.recursed[recursionRefused]); got != 1 {
		t.Errorf("%v questions were refused", got)
	}
	if m := refused("192.0.2.1", 1); m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("one that would be shared: %s", show(m))
	}
	if !s.recursion.places.tryAcquire(netip.MustParseAddr("192.0.2.2")) {
		t.Error("there is no place for another client")
	}
	s.recursion.places.release(netip.MustParseAddr("192.0.2.2"))
	if got := show(ask(t, s, "n1.node.consul.", mdns.TypeA)); got != "NOERROR n1.node.consul. 7 A 10.0.0.1" {
		t.Errorf("a name of the catalog meanwhile: %s", got)
	}
	waiting.Wait()
	if got := testutil.ToFloat64(s.metrics.recursing); got != 0 {
		t.Errorf("%v questions are left", got)
	}
	p := newClientLimit(2, 2)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if !p.tryAcquire(a) || !p.tryAcquire(b) || p.tryAcquire(b) {
		t.Error("there is no bound for all")
	}
}

// Host names in SRV answers are looked up only as long as that holds up nobody.
func TestSlowRecursorsHoldUpNoSRVAnswer(t *testing.T) {
	silent := newUpstream(t, func(string, *mdns.Msg) *mdns.Msg { return nil })
	f := newFake()
	for i := range 3 * maxHosts {
		f.services["hosts"] = append(f.services["hosts"], instance(node("n1", "10.0.0.1"), catalog.Service{Service: "hosts", Port: 1, Address: fmt.Sprintf("%d.example.com", i)}, "passing"))
	}
	s, _ := start(t, f, recursing(silent.addr), func(c *Config) { c.DNS.RecursorTimeout = 2 * time.Second })
	begin := time.Now()
	m := ask(t, s, "hosts.service.consul.", mdns.TypeSRV, edns(4096))
	if took := time.Since(begin); len(m.Answer) != 3*maxHosts || m.Rcode != mdns.RcodeSuccess || took > time.Second {
		t.Errorf("%d answers after %s", len(m.Answer), took)
	}
	if n := strings.Count(silent.questions(), "udp"); n > maxHosts {
		t.Errorf("%d questions to recursors", n)
	}
}

func TestFaultsOfRecursors(t *testing.T) {
	s, _ := start(t, newFake())
	for _, bad := range []string{"dns.example", "10.0.0.1:", "10.0.0.1:x", ""} {
		if err := s.Reload(config.DNSConfig{}, []string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for addr, want := range map[string]string{"10.0.0.1": "10.0.0.1:53", "10.0.0.1:54": "10.0.0.1:54", "fd00::1": "[fd00::1]:53", "[fd00::1]:54": "[fd00::1]:54"} {
		r, err := newRecursors([]string{addr}, &config.DNSConfig{})
		if err != nil || r.list[0].addr != want || r.timeout != recursorTimeout {
			t.Errorf("%s: %+v %v, want %s", addr, r, err, want)
		}
	}
}

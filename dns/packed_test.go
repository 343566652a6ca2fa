package dns

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// lasting is a catalog whose answers last until over is set.
type lasting struct {
	op.Caller
	over  atomic.Bool
	asked atomic.Int64
}

func (l *lasting) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	l.asked.Add(1)
	r, err := l.Caller.Do(ctx, c)
	if err != nil || r.Meta.Age > 0 {
		return r, err
	}
	return r.While(l), nil
}

func (l *lasting) Lasts(time.Time) bool { return !l.over.Load() }

// twice answers a packet in the ordinary way and from what is packed, in the same random
// order; the second is nil if there is nothing.
func twice(t testing.TB, s *Server, in []byte) (ordinary, packed []byte) {
	t.Helper()
	again := func() { s.draw = rand.New(rand.NewPCG(1, 2)).IntN }
	r := newReader(s)
	for {
		second := time.Now().Unix()
		for range 3 { // it is packed when it is asked again
			again()
			ordinary = s.packet(context.Background(), netip.Addr{}, in, nil)
		}
		again()
		r.begin()
		packed = r.answer(in, make([]byte, 0, maxPacked))
		r.end()
		if second == time.Now().Unix() { // that is in SOA records
			return ordinary, packed
		}
	}
}

// asking is a question; size is what EDNS says, none for 0.
func asking(t testing.TB, name string, qtype uint16, size int) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg).SetQuestion(name, qtype)
	if size > 0 {
		m.SetEdns0(uint16(size), size%2 == 1)
	}
	return m
}

func packedMsg(t testing.TB, m *mdns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withSeveral adds more services for fake: what makes answers differ by their order.
func withSeveral(f *fake) {
	for i := range 5 {
		n := node(fmt.Sprintf("s%d", i), fmt.Sprintf("10.3.0.%d", i+1))
		n.Meta = map[string]string{"rack": fmt.Sprint(i)}
		f.services["five"] = append(f.services["five"], instance(n, catalog.Service{Service: "five", Port: 80}, "passing"))
		for port := range 2 {
			f.services["ports"] = append(f.services["ports"], instance(n, catalog.Service{ID: fmt.Sprint(port), Service: "ports", Port: port + 1}, "passing"))
		}
		mixed := catalog.Service{Service: "mixed", Port: 1, Address: fmt.Sprintf("fd00::%d", i+1)}
		if i%2 == 0 {
			mixed.Address = fmt.Sprintf("10.4.0.%d", i+1)
		}
		f.services["mixed"] = append(f.services["mixed"], instance(n, mixed, "passing"))
		deep := node(strings.Repeat("x.", i)+"deep", fmt.Sprintf("10.5.0.%d", i+1))
		f.services["deep"] = append(f.services["deep"], instance(deep, catalog.Service{Service: "deep", Port: 1}, "passing"))
		twin := catalog.Service{ID: fmt.Sprint(i), Service: "twin", Port: 1, Weights: catalog.Weights{Passing: i + 1, Warning: 1}}
		f.services["twin"] = append(f.services["twin"], instance(f.nodes["n1"], twin, "passing"))
		f.services["hosts"] = append(f.services["hosts"], instance(n, catalog.Service{Service: "hosts", Port: 1, Address: "a.example."}, "passing"))
		far := &catalog.Node{Node: n.Node, Address: n.Address, Datacenter: fmt.Sprintf("dc%d", i/2+1)}
		f.services["spread"] = append(f.services["spread"], instance(far, catalog.Service{Service: "spread", Port: 7}, "passing"))
	}
}

// What is packed gives the bytes that the ordinary way gives, for each kind of question, and
// nothing where it cannot. Which kinds it knows is said here, so that one is not lost unseen.
func TestPackedAnswersAreTheSame(t *testing.T) {
	f := newFake()
	withSeveral(f)
	l := &lasting{Caller: f}
	s, _ := start(t, l)
	for _, c := range []struct {
		name   string
		qtype  uint16
		packed bool
	}{
		{"web.service.consul.", mdns.TypeA, true}, {"wEb.SeRvice.Consul.", mdns.TypeSRV, true}, {"v1.2.web.service.consul.", mdns.TypeA, true},
		{"_web._tcp.consul.", mdns.TypeSRV, true}, {"web.service.dc1.alt.example.", mdns.TypeA, true}, {"web.service.consul.", mdns.TypeAAAA, true},
		{"web.service.consul.", mdns.TypeTXT, true}, {"five.service.consul.", mdns.TypeA, true}, {"five.service.CONSUL.", mdns.TypeSRV, true},
		{"five.service.consul.", mdns.TypeAAAA, true}, {"ports.service.consul.", mdns.TypeA, true}, {"ports.service.consul.", mdns.TypeSRV, true},
		{"mixed.service.consul.", mdns.TypeA, true}, {"mixed.service.consul.", mdns.TypeAAAA, true}, {"mixed.service.consul.", mdns.TypeSRV, true},
		{"many.service.consul.", mdns.TypeA, true}, {"many.service.consul.", mdns.TypeSRV, true}, {"same.service.consul.", mdns.TypeSRV, true},
		{"deep.service.consul.", mdns.TypeA, true}, {"deep.service.consul.", mdns.TypeSRV, false}, {"twin.service.consul.", mdns.TypeSRV, false},
		{"twin.service.consul.", mdns.TypeA, true}, {"hosts.service.consul.", mdns.TypeA, false}, {"hosts.service.consul.", mdns.TypeSRV, false},
		{"spread.service.all.consul.", mdns.TypeA, true}, {"spread.service.all.consul.", mdns.TypeSRV, true}, {"far.service.dc2.consul.", mdns.TypeA, true},
		{"six.service.consul.", mdns.TypeAAAA, true}, {"own.service.consul.", mdns.TypeSRV, true}, {"web.connect.consul.", mdns.TypeAAAA, true},
		{"n1.node.consul.", mdns.TypeA, true}, {"N1.node.consul.", mdns.TypeAAAA, true}, {"n2.rack.node.consul.", mdns.TypeTXT, true}, {"n2.rack.node.dc1.consul.", mdns.TypeAAAA, true},
		{"none.service.consul.", mdns.TypeA, true}, {"none.node.consul.", mdns.TypeA, true}, {"service.consul.", mdns.TypeA, true}, {"a.b.c.consul.", mdns.TypeA, true},
		{"0a000001.addr.consul.", mdns.TypeA, true}, {"0a000001.addr.consul.", mdns.TypeAAAA, true}, {"host.node.consul.", mdns.TypeA, true}, {"ext.service.consul.", mdns.TypeSRV, true},
		{"consul.", mdns.TypeNS, true}, {"consul.", mdns.TypeSOA, false}, {"web.service.consul.", mdns.TypeANY, false}, {"web.service.down.consul.", mdns.TypeA, false},
		{"web.service.nowhere.consul.", mdns.TypeA, false}, {"q.query.consul.", mdns.TypeA, false}, {"broken.service.consul.", mdns.TypeA, false},
		{"9.9.9.9.in-addr.arpa.", mdns.TypePTR, true}, {"www.example.com.", mdns.TypeA, false},
	} {
		for _, size := range []int{0, 512, 513, 600, 1232, 4096, 65001} {
			in := packedMsg(t, asking(t, c.name, c.qtype, size))
			want, got := twice(t, s, in)
			if got != nil && !bytes.Equal(got, want) {
				t.Errorf("%s %s at %d:\n%s\nis packed as\n%s", c.name, mdns.TypeToString[c.qtype], size, unpacked(t, want), unpacked(t, got))
			}
			if full := size > 0 && len(want) > maxPacked; c.packed != (got != nil) && !full {
				t.Errorf("%s %s at %d: packed is %v, want %v", c.name, mdns.TypeToString[c.qtype], size, got != nil, c.packed)
			}
		}
	}
}

func TestPackedAnswersAreCounted(t *testing.T) {
	l := &lasting{Caller: newFake()}
	s, _ := start(t, l)
	in := packedMsg(t, asking(t, "many.service.consul.", mdns.TypeA, 0))
	if _, got := twice(t, s, in); got == nil {
		t.Fatal("nothing is packed")
	}
	for name, c := range map[string]float64{"truncated": testutil.ToFloat64(s.metrics.truncated), "NOERROR": testutil.ToFloat64(s.metrics.answers[0]), "current": testutil.ToFloat64(s.metrics.lookups[current])} {
		if c < 4 || c != 4 && int(c)%4 != 0 {
			t.Errorf("%s is %v after three answers and a packed one", name, c)
		}
	}
	if n := testutil.ToFloat64(s.metrics.packed); n < 1 {
		t.Errorf("%v packed answers are counted", n)
	}
}

// What makes an answer another one is asked about for each that is given from what is packed.
func TestPackedAnswersEnd(t *testing.T) {
	f := newFake()
	l := &lasting{Caller: f}
	token, order := "one", "dc2"
	s, _ := start(t, l, func(c *Config) {
		c.Token = func() string { return token }
		c.Failover = func(string) string { return order }
	})
	r := newReader(s)
	ask := func(name string) []byte {
		in := packedMsg(t, asking(t, name, mdns.TypeA, 0))
		for range 3 {
			s.packet(context.Background(), netip.Addr{}, in, nil)
		}
		return in
	}
	given := func(in []byte) bool {
		r.begin()
		defer r.end()
		return r.answer(in, make([]byte, 0, maxPacked)) != nil
	}
	web, none := ask("web.service.consul."), ask("none.service.consul.")
	before := l.asked.Load()
	if !given(web) || !given(none) || l.asked.Load() != before {
		t.Fatal("they are not given, or asked for")
	}
	for _, c := range []struct {
		what            string
		change, restore func()
		web, none       bool
	}{
		{"another token", func() { token = "two" }, func() { token = "one" }, false, false},
		{"another datacenter to fail over to", func() { order = "dc3" }, func() { order = "dc2" }, true, false},
		{"another result", func() { l.over.Store(true) }, func() { l.over.Store(false) }, false, false},
		{"a reload", func() {
			if err := s.Reload(s.cfg.DNS, nil); err != nil {
				t.Error(err)
			}
		}, func() {}, false, false},
	} {
		c.change()
		if given(web) != c.web || given(none) != c.none {
			t.Errorf("after %s: %v and %v, want %v and %v", c.what, given(web), given(none), c.web, c.none)
		}
		c.restore()
	}
	f.age = time.Second
	if ask("web.service.consul."); given(web) {
		t.Error("an answer that is not current is packed")
	}
}

// An answer whose lookups were made with two tokens, since it was changed in between, is one to neither.
func TestAnAnswerOfTwoTokensIsNotPacked(t *testing.T) {
	calls, changing := 0, true
	s, _ := start(t, &lasting{Caller: newFake()}, func(c *Config) {
		c.Token = func() string {
			if calls++; changing && calls%2 == 1 {
				return "one"
			}
			return "two"
		}
		c.Failover = func(string) string { return "dc2" }
	})
	in := packedMsg(t, asking(t, "none.service.consul.", mdns.TypeA, 0))
	given := func() bool {
		for range 3 {
			s.packet(context.Background(), netip.Addr{}, in, nil)
		}
		defer func(was bool) { changing = was }(changing)
		changing = false
		r := newReader(s)
		r.begin()
		defer r.end()
		return r.answer(in, make([]byte, 0, maxPacked)) != nil
	}
	if calls = 0; given() {
		t.Error("what was found with another token is given")
	}
	if changing = false; !given() {
		t.Error("what was found with one token is not given")
	}
}

// What is packed is bounded, and what nobody asks for goes.
func TestPackedAnswersAreBounded(t *testing.T) {
	s, _ := start(t, &lasting{Caller: newFake()})
	in := packedMsg(t, asking(t, "web.service.consul.", mdns.TypeA, 0))
	if s.packet(context.Background(), netip.Addr{}, in, nil); s.packed.bytes.Load() != 0 {
		t.Error("what was asked once is packed")
	}
	if s.packet(context.Background(), netip.Addr{}, in, nil); s.packed.bytes.Load() == 0 {
		t.Fatal("nothing is packed")
	}
	for i := range uint64(packedWays * 3) { // of one set
		e := &entry{key: fmt.Sprint(i), size: maxEntries / 3}
		s.packed.keep(i<<40, e)
	}
	if n := s.packed.bytes.Load(); n > maxEntries || n < maxEntries/2 {
		t.Errorf("%d bytes are kept", n)
	}
	if s.packed.sweep(time.Now().Add(2 * packedIdle * time.Second)); s.packed.bytes.Load() != 0 {
		t.Errorf("%d bytes are kept of what nobody asks for", s.packed.bytes.Load())
	}
}

// Instances stand first equally often, also of an answer that is cut.
func TestPackedAnswersAreInRandomOrder(t *testing.T) {
	f := newFake()
	withSeveral(f)
	s, _ := start(t, &lasting{Caller: f})
	for name, n := range map[string]int{"five.service.consul.": 5, "many.service.consul.": 200} {
		in := packedMsg(t, asking(t, name, mdns.TypeA, 0))
		if _, got := twice(t, s, in); got == nil {
			t.Fatal("nothing is packed")
		}
		s.draw = rand.New(rand.NewPCG(3, 4)).IntN
		r := newReader(s)
		first := map[string]int{}
		const each = 400
		for range n * each {
			r.begin()
			m := unpacked(t, r.answer(in, make([]byte, 0, maxPacked)))
			first[fmt.Sprint(m.Answer[0])]++
		}
		for addr, count := range first {
			if count < each/2 || count > each*2 {
				t.Errorf("%s: %s is first %d times of %d", name, addr, count, n*each)
			}
		}
		if len(first) != n {
			t.Errorf("%s: %d of %d are ever first", name, len(first), n)
		}
	}
}

func TestPackedAnswersAllocateNothing(t *testing.T) {
	f := newFake()
	withSeveral(f)
	s, _ := start(t, &lasting{Caller: f})
	for _, qtype := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeAAAA} {
		in := packedMsg(t, asking(t, "five.service.consul.", qtype, 1232))
		if _, got := twice(t, s, in); got == nil {
			t.Fatal("nothing is packed")
		}
		s.draw = rand.IntN
		r, out := newReader(s), make([]byte, 0, maxPacked)
		if n := testing.AllocsPerRun(1000, func() {
			r.begin()
			r.answer(in, out)
			r.end()
		}); n > 0 {
			t.Errorf("%s: %v allocations", mdns.TypeToString[qtype], n)
		}
	}
}

func BenchmarkPacked(b *testing.B) {
	f := newFake()
	withSeveral(f)
	for _, c := range []struct {
		name, qname string
		qtype       uint16
	}{{"A", "five.service.consul.", mdns.TypeA}, {"SRV", "five.service.consul.", mdns.TypeSRV}, {"A of 200", "many.service.consul.", mdns.TypeA}} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := start(b, &lasting{Caller: f})
			in := packedMsg(b, asking(b, c.qname, c.qtype, 4096))
			if _, got := twice(b, s, in); got == nil {
				b.Fatal("nothing is packed")
			}
			s.draw = rand.IntN
			r, out := newReader(s), make([]byte, 0, maxPacked)
			b.ReportAllocs()
			for b.Loop() {
				r.begin()
				for range batch {
					r.answer(in, out)
				}
				r.end()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/answer")
		})
	}
}

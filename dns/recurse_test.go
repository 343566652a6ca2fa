package dns

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/legate-project/legate/state/catalog"
)

// upstream is a recursor that answers as a function says, over UDP and TCP on the
// same port; nil is no answer.
type upstream struct {
	addr  string
	mu    sync.Mutex
	asked []string // network, name, and what else is worth knowing
	from  map[string]bool
}

func newUpstream(t testing.TB, answer func(network string, q *mdns.Msg) *mdns.Msg) *upstream {
	t.Helper()
	conn, l, err := Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: l.Addr().String(), from: map[string]bool{}}
	serve := func(network string) mdns.HandlerFunc {
		return func(w mdns.ResponseWriter, q *mdns.Msg) {
			u.mu.Lock()
			u.asked = append(u.asked, network+" "+q.Question[0].Name)
			u.from[w.RemoteAddr().String()] = true
			u.mu.Unlock()
			if m := answer(network, q); m != nil {
				_ = w.WriteMsg(m)
			}
		}
	}
	var running sync.WaitGroup
	for _, s := range []*mdns.Server{{PacketConn: conn, Handler: serve("udp")}, {Listener: l, Handler: serve("tcp")}} {
		running.Go(func() { _ = s.ActivateAndServe() })
	}
	t.Cleanup(func() {
		_, _ = conn.Close(), l.Close()
		running.Wait()
	})
	return u
}

func (u *upstream) questions() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := strings.Join(u.asked, ", ")
	u.asked = nil
	return s
}

// records is an answer with records in their text form.
func records(t testing.TB, q *mdns.Msg, rrs ...string) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg).SetReply(q)
	for _, s := range rrs {
		rr, err := mdns.NewRR(s)
		if err != nil {
			t.Error(err)
			return nil
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// internet answers for a few names.
func internet(t testing.TB) *upstream {
	return newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg {
		name := strings.ToLower(q.Question[0].Name)
		rrs := map[string][]string{
			"www.example.com.":       {name + " 60 IN A 192.0.2.1"},
			"alias.example.com.":     {name + " 60 IN CNAME www.example.com.", "www.example.com. 60 IN A 192.0.2.1"},
			"6.example.com.":         {name + " 60 IN AAAA 2001:db8::6"},
			"poison.example.com.":    {name + " 60 IN A 192.0.2.2", "web.service.consul. 60 IN A 192.0.2.66", "a.example. 60 IN CNAME b.example."},
			"loop.example.com.":      {name + " 60 IN CNAME loop2.example.com.", "loop2.example.com. 60 IN CNAME " + name},
			"8.8.8.8.in-addr.arpa.":  {name + " 60 IN PTR dns.example.com."},
			"1.0.0.10.in-addr.arpa.": {name + " 60 IN PTR wrong.example.com."},
			"txt.example.com.":       {name + ` 60 IN TXT "x"`},
			"other.example.com.":     {"other.example.com. 30 IN A 192.0.2.3"},
			"back.example.com.":      {name + " 60 IN CNAME n1.node.consul."},
			"many.example.com.":      nil,
			"example.com.":           nil,
		}
		if name == "many.example.com." {
			for i := range 200 {
				rrs[name] = append(rrs[name], fmt.Sprintf("%s 60 IN A 192.0.2.%d", name, i))
			}
		}
		list, ok := rrs[name]
		var m *mdns.Msg
		if m = records(t, q); ok {
			for _, s := range list {
				rr, err := mdns.NewRR(s)
				if err != nil {
					t.Error(err)
				}
				if tp := rr.Header().Rrtype; tp == q.Question[0].Qtype || tp == mdns.TypeCNAME || strings.HasPrefix(name, "poison") {
					m.Answer = append(m.Answer, rr)
				}
			}
		} else {
			m.Rcode = mdns.RcodeNameError
		}
		if len(m.Answer) == 0 {
			soa, err := mdns.NewRR("example.com. 60 IN SOA ns.example.com. h.example.com. 1 2 3 4 60")
			if err != nil {
				t.Error(err)
			}
			m.Ns = append(m.Ns, soa)
		}
		m.RecursionAvailable = true
		return m
	})
}

func recursing(addrs ...string) func(*Config) {
	return func(c *Config) {
		c.Recursors = addrs
		c.DNS.RecursorTimeout = 300 * time.Millisecond
	}
}

// TestQuestionsToRecursors: one row is one question with its answer.
func TestQuestionsToRecursors(t *testing.T) {
	u := internet(t)
	f := withAddresses()
	f.services["alias"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "alias", Port: 1, Address: "alias.example.com"}, "passing")}
	f.services["poison"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "poison", Port: 1, Address: "poison.example.com"}, "passing")}
	f.services["loop"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "loop", Port: 1, Address: "loop.example.com"}, "passing")}
	f.services["inner"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "inner", Port: 1, Address: "web.service.consul"}, "passing")}
	f.services["self"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "self", Port: 1, Address: "self.service.consul"}, "passing")}
	f.services["v6"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "v6", Port: 1, Address: "6.example.com"}, "passing")}
	f.services["gone"] = catalog.Instances{instance(node("n1", "10.0.0.1"), catalog.Service{Service: "gone", Port: 1, Address: "gone.example.com"}, "passing")}
	const none = " ns SOA example.com. 60"
	for _, c := range []struct {
		qname string
		qtype uint16
		want  string
		aa    bool
	}{
		{"www.example.com.", mdns.TypeA, "NOERROR www.example.com. 60 A 192.0.2.1", false},
		{"alias.example.com.", mdns.TypeA, "NOERROR alias.example.com. 60 CNAME www.example.com. www.example.com. 60 A 192.0.2.1", false},
		{"txt.example.com.", mdns.TypeTXT, `NOERROR txt.example.com. 60 TXT "x"`, false},
		{"none.example.com.", mdns.TypeA, "NXDOMAIN" + none, false},
		{"www.example.com.", mdns.TypeMX, "NOERROR" + none, false},
		{"www.example.com.", mdns.TypeAXFR, "NOTIMP", false},
		{"web.service.consul.", mdns.TypeA, "NOERROR web.service.consul. 5 A 10.0.0.1", true},
		{"none.service.consul.", mdns.TypeA, "NXDOMAIN" + soa, true},

		// addresses
		{"1.0.0.10.in-addr.arpa.", mdns.TypePTR, "NOERROR 1.0.0.10.in-addr.arpa. 0 PTR n1.node.dc1.consul.", true},
		{"8.8.8.8.in-addr.arpa.", mdns.TypePTR, "NOERROR 8.8.8.8.in-addr.arpa. 60 PTR dns.example.com.", false},
		{"9.8.8.8.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + none, false},
		{"8.8.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + none, false},

		// host names
		{"host.node.consul.", mdns.TypeA, "NOERROR host.node.consul. 7 CNAME other.example.com. other.example.com. 30 A 192.0.2.3", true},
		{"host.node.consul.", mdns.TypeCNAME, "NOERROR host.node.consul. 7 CNAME other.example.com.", true},
		{"alias.service.consul.", mdns.TypeA, "NOERROR alias.service.consul. 2 CNAME alias.example.com. alias.example.com. 60 CNAME www.example.com. www.example.com. 60 A 192.0.2.1", true},
		{"alias.service.consul.", mdns.TypeAAAA, "NOERROR alias.service.consul. 2 CNAME alias.example.com. alias.example.com. 60 CNAME www.example.com.", true},
		{"poison.service.consul.", mdns.TypeA, "NOERROR poison.service.consul. 2 CNAME poison.example.com. poison.example.com. 60 A 192.0.2.2", true},
		{"loop.service.consul.", mdns.TypeA, "NOERROR loop.service.consul. 2 CNAME loop.example.com.", true},
		{"gone.service.consul.", mdns.TypeA, "NOERROR gone.service.consul. 2 CNAME gone.example.com.", true},
		{"inner.service.consul.", mdns.TypeA, "NOERROR inner.service.consul. 2 CNAME web.service.consul. web.service.consul. 5 A 10.0.0.1", true},
		{"self.service.consul.", mdns.TypeA, "NOERROR self.service.consul. 2 CNAME self.service.consul.", true},
		{"alias.service.consul.", mdns.TypeSRV, "NOERROR alias.service.consul. 2 SRV 1 1 1 alias.example.com. + alias.example.com. 60 CNAME www.example.com. + www.example.com. 60 A 192.0.2.1", true},
		{"v6.service.consul.", mdns.TypeSRV, "NOERROR v6.service.consul. 2 SRV 1 1 1 6.example.com. + 6.example.com. 60 AAAA 2001:db8::6", true},
		{"gone.service.consul.", mdns.TypeSRV, "NOERROR gone.service.consul. 2 SRV 1 1 1 gone.example.com.", true},
	} {
		s, _ := start(t, f, recursing(u.addr))
		m := ask(t, s, c.qname, c.qtype, edns(4096))
		if got := show(m); got != c.want || m.Authoritative != c.aa || !m.RecursionAvailable {
			t.Errorf("%s %s:\n got %s (aa %t, ra %t)\nwant %s", c.qname, mdns.TypeToString[c.qtype], got, m.Authoritative, m.RecursionAvailable, c.want)
		}
	}
}

// Nobody is served who has not asked for recursion, or where there is none.
func TestNoOpenResolver(t *testing.T) {
	u := internet(t)
	s, _ := start(t, newFake(), recursing(u.addr))
	for _, name := range []string{"www.example.com.", "8.8.8.8.in-addr.arpa."} {
		m := ask(t, s, name, mdns.TypePTR, func(m *mdns.Msg) { m.RecursionDesired = false })
		if m.Rcode == mdns.RcodeSuccess {
			t.Errorf("%s without RD: %s", name, show(m))
		}
	}
	m := ask(t, s, "www.example.com.", mdns.TypeA, func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS })
	if m.Rcode != mdns.RcodeRefused {
		t.Errorf("another class: %s", show(m))
	}
	if got := u.questions(); got != "" {
		t.Errorf("asked: %s", got)
	}
	s, _ = start(t, newFake())
	if m := ask(t, s, "www.example.com.", mdns.TypeA); m.Rcode != mdns.RcodeRefused || m.RecursionAvailable {
		t.Errorf("without recursors: %s", m)
	}
}

// The letters of a question are those of the client, whatever the recursor makes of
// them (0x20).
func TestLettersOfQuestionsAreKept(t *testing.T) {
	lower := newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg {
		q.Question[0].Name = strings.ToLower(q.Question[0].Name)
		return records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")
	})
	s, _ := start(t, newFake(), recursing(lower.addr))
	m := ask(t, s, "wWw.ExAmPlE.cOm.", mdns.TypeA)
	if m.Question[0].Name != "wWw.ExAmPlE.cOm." || len(m.Answer) != 1 {
		t.Errorf("answer %s", m)
	}
	if got := lower.questions(); got != "udp wWw.ExAmPlE.cOm." {
		t.Errorf("asked: %s", got)
	}
}

func TestEDNSIsPassedOn(t *testing.T) {
	var seen atomic.Pointer[mdns.Msg]
	u := newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg {
		seen.Store(q.Copy())
		m := records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")
		m.AuthenticatedData = true
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(1232, opt.Do())
			back := m.IsEdns0()
			back.Option = append(back.Option, &mdns.EDNS0_EDE{InfoCode: 18, ExtraText: "why"}, &mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "0011223344556677"})
			for _, o := range opt.Option {
				if sub, ok := o.(*mdns.EDNS0_SUBNET); ok {
					sub.SourceScope = 16
					back.Option = append(back.Option, sub)
				}
			}
		}
		return m
	})
	s, _ := start(t, newFake(), recursing(u.addr))
	m := ask(t, s, "www.example.com.", mdns.TypeA, func(m *mdns.Msg) {
		m.SetEdns0(1400, true)
		m.CheckingDisabled = true
		m.IsEdns0().Option = append(m.IsEdns0().Option, &mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "8877665544332211"},
			&mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(198, 51, 100, 0)})
	})
	q := seen.Load()
	opt := q.IsEdns0()
	if opt == nil || !opt.Do() || opt.UDPSize() != 1400 || len(opt.Option) != 1 || opt.Option[0].Option() != mdns.EDNS0SUBNET || !q.CheckingDisabled || !q.RecursionDesired {
		t.Errorf("the recursor is asked %s", q)
	}
	if opt = m.IsEdns0(); opt == nil || !opt.Do() || opt.UDPSize() != ownSize || len(opt.Option) != 2 || !m.AuthenticatedData || !m.CheckingDisabled {
		t.Errorf("the answer is %s", m)
	} else if sub, ok := opt.Option[1].(*mdns.EDNS0_SUBNET); !ok || sub.SourceScope != 16 {
		t.Errorf("of the subnet comes back %v", opt.Option)
	}
	if m := ask(t, s, "www.example.com.", mdns.TypeA); m.IsEdns0() != nil || seen.Load().IsEdns0() != nil {
		t.Errorf("without EDNS the recursor is asked %s and the answer is %s", seen.Load(), m)
	}
}

// A recursor of before EDNS says that the question is malformed.
func TestRecursorWithoutEDNS(t *testing.T) {
	u := newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg {
		if q.IsEdns0() != nil {
			m := new(mdns.Msg)
			m.Id, m.Response, m.Rcode = q.Id, true, mdns.RcodeFormatError
			return m
		}
		return records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")
	})
	s, _ := start(t, newFake(), recursing(u.addr))
	if m := ask(t, s, "www.example.com.", mdns.TypeA, edns(1232)); len(m.Answer) != 1 || m.IsEdns0() == nil {
		t.Errorf("answer %s", m)
	}
}

func TestAnswersOfRecursorsFitTheClient(t *testing.T) {
	cut := func(network string, q *mdns.Msg) *mdns.Msg {
		if network == "udp" {
			m := new(mdns.Msg).SetReply(q)
			m.Truncated = true
			return m
		}
		m := records(t, q)
		for i := range 200 {
			m.Answer = append(m.Answer, &mdns.A{Hdr: head(q.Question[0].Name, mdns.TypeA, 60), A: net.IPv4(192, 0, 2, byte(i))})
		}
		return m
	}
	u := newUpstream(t, cut)
	s, _ := start(t, newFake(), recursing(u.addr))
	m := ask(t, s, "many.example.com.", mdns.TypeA)
	if got := u.questions(); got != "udp many.example.com., tcp many.example.com." {
		t.Errorf("asked: %s", got)
	}
	if n := len(m.Answer); !m.Truncated || n < 20 || n > 30 {
		t.Errorf("in 512 bytes: %d answers, cut %t", n, m.Truncated)
	}
	if m := ask(t, s, "many.example.com.", mdns.TypeA, edns(4096)); m.Truncated || len(m.Answer) != 200 {
		t.Errorf("in 4096 bytes: %d answers, cut %t", len(m.Answer), m.Truncated)
	}
	at, _ := serving(t, s, "127.0.0.1:0")
	whole, _, err := (&mdns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(new(mdns.Msg).SetQuestion("many.example.com.", mdns.TypeA), at)
	if err != nil || len(whole.Answer) != 200 || whole.Truncated {
		t.Errorf("over TCP: %v, %v", whole, err)
	}
	// Where TCP does not work the client learns that there is more.
	u = newUpstream(t, func(network string, q *mdns.Msg) *mdns.Msg {
		if network == "tcp" {
			return nil
		}
		m := records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")
		m.Truncated = true
		return m
	})
	s, _ = start(t, newFake(), recursing(u.addr))
	if m := ask(t, s, "many.example.com.", mdns.TypeA); !m.Truncated || len(m.Answer) != 1 {
		t.Errorf("without TCP: %s", m)
	}
}

// What a recursor says beside answers has any length, too.
func TestWhatRecursorsAddFitsTheClient(t *testing.T) {
	u := newUpstream(t, func(network string, q *mdns.Msg) *mdns.Msg {
		m := new(mdns.Msg).SetReply(q)
		if m.Truncated = network == "udp"; m.Truncated {
			return m
		}
		if strings.HasPrefix(q.Question[0].Name, "option.") {
			o := &mdns.OPT{Hdr: mdns.RR_Header{Name: ".", Rrtype: mdns.TypeOPT}}
			o.Option = append(o.Option, &mdns.EDNS0_EDE{InfoCode: mdns.ExtendedErrorCodeOther, ExtraText: strings.Repeat("no ", 500)})
			m.Extra = append(m.Extra, o)
			return m
		}
		m.Ns = append(m.Ns, &mdns.TXT{Hdr: head("example.com.", mdns.TypeTXT, 60), Txt: []string{strings.Repeat("x", 255), strings.Repeat("y", 255)}})
		return m
	})
	s, _ := start(t, newFake(), recursing(u.addr))
	for _, name := range []string{"authority.example.com.", "option.example.com."} {
		if m := ask(t, s, name, mdns.TypeA, edns(mdns.MinMsgSize)); !m.Truncated {
			t.Errorf("%s: %s", name, m)
		}
	}
}

// hostile is a recursor that says what a function makes of a question, packet by
// packet.
func hostile(t *testing.T, say func(q *mdns.Msg) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(mdns.Msg)
			if err := q.Unpack(buf[:n]); err != nil {
				t.Error(err)
				return
			}
			for _, b := range say(q) {
				_, _ = conn.WriteTo(b, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		running.Wait()
	})
	return conn.LocalAddr().String()
}

func packed(t *testing.T, m *mdns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

// forged is an answer with a wrong address, as somebody sends it who guesses.
func forged(t *testing.T, q *mdns.Msg, change func(*mdns.Msg)) []byte {
	m := records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.66")
	change(m)
	return packed(t, m)
}

func TestOnlyTheAnswerToTheQuestionCounts(t *testing.T) {
	forgeries := func(q *mdns.Msg) [][]byte {
		return [][]byte{
			forged(t, q, func(m *mdns.Msg) { m.Id++ }),
			forged(t, q, func(m *mdns.Msg) { m.Question[0].Name = "x" + m.Question[0].Name }),
			forged(t, q, func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeTXT }),
			forged(t, q, func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }),
			forged(t, q, func(m *mdns.Msg) { m.Question = nil }),
			forged(t, q, func(m *mdns.Msg) { m.Response = false }),
			forged(t, q, func(m *mdns.Msg) { m.Opcode = mdns.OpcodeNotify }),
			{1, 2, 3},
			forged(t, q, func(*mdns.Msg) {})[:20],
		}
	}
	late := hostile(t, func(q *mdns.Msg) [][]byte {
		return append(forgeries(q), packed(t, records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")))
	})
	s, _ := start(t, newFake(), recursing(late))
	if got := show(ask(t, s, "www.example.com.", mdns.TypeA)); got != "NOERROR www.example.com. 60 A 192.0.2.1" {
		t.Errorf("among forgeries: %s", got)
	}
	good := internet(t)
	s, _ = start(t, newFake(), recursing(hostile(t, forgeries), good.addr))
	if got := show(ask(t, s, "www.example.com.", mdns.TypeA)); got != "NOERROR www.example.com. 60 A 192.0.2.1" {
		t.Errorf("after forgeries alone: %s", got)
	}
	// A flood ends the wait for the answer.
	flood := hostile(t, func(q *mdns.Msg) [][]byte {
		var out [][]byte
		for range maxIgnored + 1 {
			out = append(out, forged(t, q, func(m *mdns.Msg) { m.Id++ }))
		}
		return out
	})
	s, _ = start(t, newFake(), recursing(flood), func(c *Config) { c.DNS.RecursorTimeout = time.Minute })
	begin := time.Now()
	if m := ask(t, s, "www.example.com.", mdns.TypeA); m.Rcode != mdns.RcodeServerFailure || time.Since(begin) > 8*time.Second {
		t.Errorf("after a flood: %s after %s", show(m), time.Since(begin))
	}
}

func TestTheNextRecursorIsAsked(t *testing.T) {
	good := internet(t)
	silent := newUpstream(t, func(string, *mdns.Msg) *mdns.Msg { return nil })
	var codes []string
	for _, rcode := range []int{mdns.RcodeServerFailure, mdns.RcodeRefused, mdns.RcodeNotImplemented} {
		u := newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg { return new(mdns.Msg).SetRcode(q, rcode) })
		codes = append(codes, u.addr)
	}
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.LocalAddr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ := start(t, newFake(), recursing(append(append([]string{nobody, silent.addr}, codes...), good.addr)...))
	for round := range 2 {
		begin := time.Now()
		if got := show(ask(t, s, "www.example.com.", mdns.TypeA)); got != "NOERROR www.example.com. 60 A 192.0.2.1" {
			t.Errorf("answer %s", got)
		}
		if took := time.Since(begin); round == 1 && took > 200*time.Millisecond {
			t.Errorf("with a recursor that was silent before it takes %s", took)
		}
	}
	if got := silent.questions(); got != "udp www.example.com." {
		t.Errorf("the silent one is asked %s", got)
	}
	if got := show(ask(t, s, "none.example.com.", mdns.TypeA)); got != "NXDOMAIN ns SOA example.com. 60" {
		t.Errorf("no such name: %s", got)
	}
	s, reg := start(t, newFake(), recursing(append([]string{nobody, silent.addr}, codes...)...))
	begin := time.Now()
	if m := ask(t, s, "www.example.com.", mdns.TypeA); m.Rcode != mdns.RcodeServerFailure || time.Since(begin) > 5*time.Second {
		t.Errorf("with none that has an answer: %s after %s", show(m), time.Since(begin))
	}
	for i, want := range [...]float64{recursorUsed: 0, recursorRefused: 3, recursorSilent: 2} {
		if got := testutil.ToFloat64(s.metrics.recursorAnswers[i]); got != want {
			t.Errorf("answers of kind %d: %v, want %v", i, got, want)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestStrategyOfRecursors(t *testing.T) {
	answer := func(_ string, q *mdns.Msg) *mdns.Msg { return records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1") }
	one, other := newUpstream(t, answer), newUpstream(t, answer)
	for _, strategy := range []string{"sequential", "random"} {
		s, _ := start(t, newFake(), recursing(one.addr, other.addr), func(c *Config) { c.DNS.RecursorStrategy = strategy })
		for i := range 60 {
			ask(t, s, fmt.Sprintf("%d.example.com.", i), mdns.TypeA)
		}
		first, second := strings.Count(one.questions(), "udp"), strings.Count(other.questions(), "udp")
		if first+second != 60 || (second > 10) != (strategy == "random") || first < 10 {
			t.Errorf("%s: %d and %d questions", strategy, first, second)
		}
	}
}

// Each question goes out from another port under another ID.
func TestRecursionIsHardToGuess(t *testing.T) {
	var mu sync.Mutex
	ids := map[uint16]bool{}
	u := newUpstream(t, func(_ string, q *mdns.Msg) *mdns.Msg {
		mu.Lock()
		defer mu.Unlock()
		ids[q.Id] = true
		return records(t, q, q.Question[0].Name+" 60 IN A 192.0.2.1")
	})
	s, _ := start(t, newFake(), recursing(u.addr))
	const asked = 50
	for i := range asked {
		m := ask(t, s, fmt.Sprintf("%d.example.com.", i), mdns.TypeA, func(m *mdns.Msg) { m.Id = 7 })
		if m.Id != 7 {
			t.Errorf("answer to 7 under %d", m.Id)
		}
	}
	if len(u.from) < asked*8/10 || len(ids) < asked*8/10 {
		t.Errorf("%d questions came from %d ports with %d IDs", asked, len(u.from), len(ids))
	}
}

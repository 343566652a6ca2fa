//go:build linux

package observe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/legate-project/legate/internal/proctest"
)

// How a recursor behaves.
const (
	answers = iota
	silent
	slow
)

// slowness is how late a slow recursor is.
const slowness = 400 * time.Millisecond

// recursor is a DNS server for names outside the domain.
type recursor struct{ mood atomic.Int32 }

func startRecursor(t testing.TB, h *proctest.Host, ips ...string) *recursor {
	t.Helper()
	r := &recursor{}
	for _, ip := range ips {
		var pc net.PacketConn
		if err := h.Inside(func() (err error) {
			pc, err = net.ListenPacket("udp", net.JoinHostPort(ip, "53"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s := &dns.Server{PacketConn: pc, Handler: r}
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.ActivateAndServe() }) // ends with the test
		t.Cleanup(func() {
			_ = pc.Close()
			wg.Wait()
		})
	}
	return r
}

// ServeDNS implements dns.Handler.
func (r *recursor) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	switch r.mood.Load() {
	case silent:
		return
	case slow:
		<-time.After(slowness)
	}
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(192, 0, 2, 1)}}
	_ = w.WriteMsg(m) // who asked may be gone
}

// load asks the federation for everything that dashboards show, until the test
// ends. What fails is not looked at: faults are what this is for.
type load struct {
	f    *federation
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func startLoad(t testing.TB, f *federation) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{f: f, stop: cancel}
	t.Cleanup(func() {
		cancel()
		l.wg.Wait()
	})
	home, c := f.servers, f.clients[0]
	for i, n := range append(append([]*node(nil), home...), f.clients...) {
		f.must(http.MethodPut, n.url("/v1/agent/service/register"), fmt.Sprintf(`{"Name":"web","ID":"web%d","Port":%d}`, i, 8000+i))
	}
	for _, n := range f.others {
		f.must(http.MethodPut, n.url("/v1/agent/service/register"), `{"Name":"web","Port":9000}`)
		f.must(http.MethodPut, n.url("/v1/agent/service/register"), `{"Name":"far","Port":9001}`)
	}
	f.must(http.MethodPost, c.url("/v1/query"), `{"Name":"far","Service":{"Service":"far","Failover":{"NearestN":2}}}`)
	for w := range 4 { // writers and readers of keys
		n := append(home[:2:2], c, c)[w]
		l.each(ctx, 15*time.Millisecond, func(i int) {
			l.http(ctx, http.MethodPut, n.url(fmt.Sprintf("/v1/kv/load/%d/%d", w, i%200)), strings.Repeat("v", 512))
			l.http(ctx, http.MethodGet, n.url(fmt.Sprintf("/v1/kv/load/%d/%d", w, i%200)), "")
		})
	}
	for _, o := range f.others { // across datacenters, in both directions
		l.each(ctx, 50*time.Millisecond, func(i int) {
			l.http(ctx, http.MethodPut, c.url("/v1/kv/far?dc="+o.dc), fmt.Sprint(i))
			l.http(ctx, http.MethodGet, home[i%3].url("/v1/kv/far?dc="+o.dc), "")
		})
		l.each(ctx, 50*time.Millisecond, func(i int) { l.http(ctx, http.MethodGet, o.url("/v1/kv/far?dc=dc1"), "") })
	}
	l.rest(ctx)
	l.names(ctx)
	return l
}

// rest asks for what is asked more seldom.
func (l *load) rest(ctx context.Context) {
	c, s := l.f.clients[0], l.f.servers[0]
	l.each(ctx, 300*time.Millisecond, func(i int) {
		l.http(ctx, http.MethodGet, c.url("/v1/health/service/web?dc=nearest"), "")
		l.http(ctx, http.MethodGet, c.url("/v1/health/service/web?dc=all"), "")
		l.http(ctx, http.MethodGet, c.url("/v1/health/service/far?cached&dc=dc2"), "")
		l.http(ctx, http.MethodGet, c.url("/v1/query/far/execute"), "")
		l.http(ctx, http.MethodGet, s.url("/v1/kv/load/0/0?consistent"), "")
		l.http(ctx, http.MethodPut, s.url("/v1/txn"), `[{"KV":{"Verb":"set","Key":"txn","Value":"dA=="}}]`)
		l.http(ctx, http.MethodGet, s.url("/v1/kv/absent"), "")
		l.http(ctx, http.MethodPut, c.url("/v1/event/fire/load"), "x")
	})
	l.each(ctx, 3*time.Second, func(i int) { // sessions that nobody renews
		l.http(ctx, http.MethodPut, c.url("/v1/session/create"), `{"TTL":"2s","LockDelay":"0s"}`)
		l.http(ctx, http.MethodPut, c.url("/v1/agent/service/register"), fmt.Sprintf(`{"Name":"web","ID":"again","Port":%d}`, 7000+i%100))
	})
	for _, n := range []*node{c, s} { // blocking queries
		l.each(ctx, 10*time.Millisecond, func(i int) {
			l.http(ctx, http.MethodGet, n.url("/v1/kv/far?wait=2s&index=1000000000"), "")
		})
		l.each(ctx, 10*time.Millisecond, func(i int) {
			l.http(ctx, http.MethodGet, n.url("/v1/kv/load/0/?recurse&keys&wait=1s&index=100000000"), "")
		})
	}
}

// names asks DNS.
func (l *load) names(ctx context.Context) {
	agents := append(append([]*node(nil), l.f.clients[0], l.f.servers[0]), l.f.others...)
	questions := []struct {
		name string
		kind uint16
	}{
		{"web.service.consul.", dns.TypeA}, {"web.service.consul.", dns.TypeSRV}, {"far.service.dc2.consul.", dns.TypeA}, {"web.service.nearest.consul.", dns.TypeA},
		{"web.service.dc1.consul.", dns.TypeAAAA}, {"absent.service.consul.", dns.TypeA}, {"s1.node.consul.", dns.TypeA}, {"1.1.8.10.in-addr.arpa.", dns.TypePTR},
		{"www.example.test.", dns.TypeA}, {"mail.example.test.", dns.TypeA}, {"api.example.test.", dns.TypeA},
	}
	for _, n := range agents {
		l.each(ctx, 40*time.Millisecond, func(i int) {
			q := questions[i%len(questions)]
			name := q.name
			if strings.HasSuffix(name, ".test.") { // a new one each time
				name = fmt.Sprintf("h%d.%s", i, name)
			}
			l.ask(n, new(dns.Msg).SetQuestion(name, q.kind))
		})
	}
}

// ask asks DNS once and waits for the answer, or not for ever.
func (l *load) ask(n *node, q *dns.Msg) {
	var c net.Conn
	err := l.f.watch.Inside(func() (err error) {
		c, err = net.Dial("udp", net.JoinHostPort(n.ip, "8600"))
		return err
	})
	if err != nil {
		return
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	if conn.SetDeadline(time.Now().Add(time.Second)) == nil && conn.WriteMsg(q) == nil {
		_, _ = conn.ReadMsg()
	}
}

func (l *load) http(ctx context.Context, method, url, body string) {
	_, _ = l.f.ask(ctx, method, url, body)
}

// each does something again and again.
func (l *load) each(ctx context.Context, every time.Duration, do func(i int)) {
	l.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			do(i)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

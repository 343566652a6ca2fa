package dns

import (
	"context"
	"net"
	"net/netip"
	"testing"

	mdns "github.com/miekg/dns"
)

// benchmarkQueries keeps some queries in flight on one socket each.
func benchmarkQueries(b *testing.B, addr string) {
	query, err := new(mdns.Msg).SetQuestion("web.service.consul.", mdns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 512)
		for pb.Next() {
			if _, err := conn.Write(query); err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Read(buf); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkServe compares with a responder that has its answer ready; both
// ends share the machine.
func BenchmarkServe(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		answer := &mdns.A{Hdr: head("web.service.consul.", mdns.TypeA, 5), A: net.IPv4(10, 0, 0, 1)}
		srv := &mdns.Server{PacketConn: conn, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, req *mdns.Msg) {
			m := new(mdns.Msg).SetReply(req)
			m.Answer = append(m.Answer, answer)
			_ = w.WriteMsg(m)
		})}
		go func() { _ = srv.ActivateAndServe() }()
		defer conn.Close()
		benchmarkQueries(b, conn.LocalAddr().String())
	})
	b.Run("legate", func(b *testing.B) {
		s, _ := start(b, newFake())
		at, _ := serving(b, s, "127.0.0.1:0")
		benchmarkQueries(b, at)
	})
}

func BenchmarkPacket(b *testing.B) {
	for _, c := range []struct {
		name, qname string
		qtype       uint16
	}{{"A", "web.service.consul.", mdns.TypeA}, {"SRV", "web.service.consul.", mdns.TypeSRV}, {"A of 200", "many.service.consul.", mdns.TypeA}} {
		b.Run(c.name, func(b *testing.B) {
			s, _ := start(b, newFake())
			in, err := new(mdns.Msg).SetQuestion(c.qname, c.qtype).SetEdns0(4096, false).Pack()
			if err != nil {
				b.Fatal(err)
			}
			out := make([]byte, firstBuffer)
			b.ReportAllocs()
			for b.Loop() {
				s.packet(context.Background(), netip.Addr{}, in, out)
			}
		})
	}
}

package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// valueSize is what the keys of the benchmark hold, in bytes.
const valueSize = 512

// serveBare is the server beside: the same bytes with nothing behind them.
func serveBare(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("use: bench bare http|dns ADDRESS")
	}
	switch args[0] {
	case "http":
		body := []byte(`[{"LockIndex":0,"Key":"bench/key","Flags":0,"Value":"` + string(bytes.Repeat([]byte("QUFB"), valueSize/3+1)) + `","CreateIndex":20,"ModifyIndex":20}]`)
		// The same headers, too: the same bytes but for the names.
		var same = map[string][]string{"Content-Type": {"application/json"}, "Vary": {"Accept-Encoding"}, "X-Consul-Index": {"20"},
			"X-Consul-Knownleader": {"true"}, "X-Consul-Lastcontact": {"0"}, "X-Consul-Effective-Consistency": {"leader"},
			"X-Consul-Query-Backend": {"blocking-query"}, "X-Consul-Default-Acl-Policy": {"allow"}, "X-Legate-Datacenter": {"dc1"}}
		s := &http.Server{Addr: args[1], ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), same)
			w.Write(body)
		})}
		return s.ListenAndServe()
	case "dns":
		conn, err := net.ListenPacket("udp", args[1])
		if err != nil {
			return err
		}
		s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(answerBare)}
		return s.ActivateAndServe()
	}
	return fmt.Errorf("unknown bare server %q", args[0])
}

// answerBare returns three addresses, as a service with three instances does.
func answerBare(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	for i := range 3 {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 0, 0, byte(i+1))})
	}
	w.WriteMsg(m)
}

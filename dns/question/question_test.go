package question

import (
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
)

func packed(t *testing.T, m *mdns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPlainQuestions(t *testing.T) {
	long := strings.Repeat("a.", 126) + "b." // 255 bytes on the wire
	for name, c := range map[string]struct {
		change func(*mdns.Msg)
		limit  int // 0 for one that is not plain
		asked  uint8
	}{
		"as stub resolvers ask": {func(*mdns.Msg) {}, 512, RD | Small},
		"not recursive":         {func(m *mdns.Msg) { m.RecursionDesired = false }, 512, Small},
		"CD and AD":             {func(m *mdns.Msg) { m.CheckingDisabled, m.AuthenticatedData = true, true }, 512, RD | CD | Small},
		"EDNS":                  {func(m *mdns.Msg) { m.SetEdns0(1232, false) }, 1232, RD | EDNS},
		"EDNS with DO":          {func(m *mdns.Msg) { m.SetEdns0(4096, true) }, 4096, RD | EDNS | DO},
		"EDNS of little":        {func(m *mdns.Msg) { m.SetEdns0(100, false) }, 512, RD | EDNS | Small},
		"EDNS of too much":      {func(m *mdns.Msg) { m.SetEdns0(65535, false) }, MaxUDP, RD | EDNS},
		"the longest name":      {func(m *mdns.Msg) { m.Question[0].Name = long }, 512, RD | Small},
		"the root":              {func(m *mdns.Msg) { m.Question[0].Name = "." }, 512, RD | Small},
		"a cookie":              {func(m *mdns.Msg) { option(m, &mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "0123456789abcdef"}) }, 1232, RD | EDNS},
		"a client subnet": {func(m *mdns.Msg) {
			option(m, &mdns.EDNS0_SUBNET{Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: 8, Address: []byte{10, 0, 0, 0}})
		}, 0, 0},
		"another version": {func(m *mdns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, 0, 0},
		"two questions":   {func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) }, 0, 0},
		"another class":   {func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }, 0, 0},
		"any type":        {func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeANY }, 0, 0},
		"a transfer":      {func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeAXFR }, 0, 0},
		"an update":       {func(m *mdns.Msg) { m.Opcode = mdns.OpcodeUpdate }, 0, 0},
		"an answer":       {func(m *mdns.Msg) { m.Response = true }, 0, 0},
		"with an answer section": {func(m *mdns.Msg) {
			m.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: "x.", Rrtype: mdns.TypeA, Class: 1}, A: []byte{1, 2, 3, 4}}}
		}, 0, 0},
		"with a signature": {func(m *mdns.Msg) { m.SetTsig("key.", mdns.HmacSHA256, 300, 1) }, 0, 0},
	} {
		m := new(mdns.Msg).SetQuestion("Web.Service.Consul.", mdns.TypeSRV)
		c.change(m)
		b := packed(t, m)
		var q Plain
		ok := q.Read(b)
		if ok != (c.limit > 0) || ok && (q.Limit != c.limit || q.Asked != c.asked || q.Type != mdns.TypeSRV) {
			t.Errorf("%s: %v, %d bytes, asked %b", name, ok, q.Limit, q.Asked)
		}
		if !ok {
			continue
		}
		var same Plain
		m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
		if !same.Read(packed(t, m)) || string(same.Key()) != string(q.Key()) {
			t.Errorf("%s: in other letters it is another question", name)
		}
		for n := range b { // what is cut is not plain, nor is what has more behind it
			if q.Read(b[:n]) {
				t.Errorf("%s: %d bytes of %d are read as a question", name, n, len(b))
			}
		}
		if q.Read(append(b, 0)) {
			t.Errorf("%s: with a byte more it is read as a question", name)
		}
	}
}

func option(m *mdns.Msg, o mdns.EDNS0) {
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []mdns.EDNS0{o}
}

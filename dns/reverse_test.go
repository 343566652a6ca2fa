package dns

import (
	"net/netip"
	"slices"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/dns/names"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

const (
	six     = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."
	nowhere = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa."
)

func withAddresses() *fake {
	f := newFake()
	f.addresses = map[string]catalog.NamesAt{
		"@10.0.0.1":    {{Datacenter: "dc1", Node: "n1"}},
		"@fd00::1":     {{Node: "N1"}},
		"@10.0.0.2":    {{Datacenter: "dc1", Node: "a"}, {Datacenter: "dc1", Node: "b.rack"}, {Service: "web"}},
		"@10.9.0.1":    {{Service: "db"}, {Service: "web"}},
		"@10.0.0.3":    {{Datacenter: "dc1", Node: "odd node"}},
		"all@10.2.0.1": {{Datacenter: "dc2", Node: "far1"}},
		"all@10.2.0.9": {{Datacenter: "dc3", Service: "vip"}},
	}
	return f
}

// TestReverseQuestions: one row is one question with its answer.
func TestReverseQuestions(t *testing.T) {
	for _, c := range []struct {
		qname string
		qtype uint16
		want  string
	}{
		{"1.0.0.10.in-addr.arpa.", mdns.TypePTR, "NOERROR 1.0.0.10.in-addr.arpa. 0 PTR n1.node.dc1.consul."},
		{"1.0.0.10.IN-addr.ARPA.", mdns.TypeANY, "NOERROR 1.0.0.10.IN-addr.ARPA. 0 PTR n1.node.dc1.consul."},
		{"1.0.0.10.in-addr.arpa.", mdns.TypeA, "NOERROR" + soa},
		{six, mdns.TypePTR, "NOERROR " + six + " 0 PTR N1.node.dc1.consul."},
		{nowhere, mdns.TypePTR, "NXDOMAIN" + soa},
		{"2.0.0.10.in-addr.arpa.", mdns.TypePTR, "NOERROR 2.0.0.10.in-addr.arpa. 0 PTR a.node.dc1.consul. 2.0.0.10.in-addr.arpa. 0 PTR b.rack.node.dc1.consul."},
		{"1.0.9.10.in-addr.arpa.", mdns.TypePTR, "NOERROR 1.0.9.10.in-addr.arpa. 0 PTR db.service.dc1.consul. 1.0.9.10.in-addr.arpa. 0 PTR web.service.dc1.consul."},
		{"3.0.0.10.in-addr.arpa.", mdns.TypePTR, "NOERROR" + soa}, // its name cannot be said
		{"1.0.2.10.in-addr.arpa.", mdns.TypePTR, "NOERROR 1.0.2.10.in-addr.arpa. 0 PTR far1.node.dc2.consul."},
		{"9.0.2.10.in-addr.arpa.", mdns.TypePTR, "NOERROR 9.0.2.10.in-addr.arpa. 0 PTR vip.service.dc3.consul."},
		{"9.9.9.9.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"9.9.9.9.in-addr.arpa.", mdns.TypeTXT, "NXDOMAIN" + soa},

		// Names that others are below, and names of nothing.
		{"10.in-addr.arpa.", mdns.TypeNS, "NOERROR" + soa},
		{"in-addr.arpa.", mdns.TypeA, "NOERROR" + soa},
		{"d.f.ip6.arpa.", mdns.TypePTR, "NOERROR" + soa},
		{"1.1.0.0.10.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"256.0.0.10.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"01.0.0.10.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"0x1.0.0.10.in-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"10.d.f.ip6.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"xin-addr.arpa.", mdns.TypePTR, "NXDOMAIN" + soa},
		{"home.arpa.", mdns.TypeA, "NXDOMAIN" + soa},
	} {
		s, _ := start(t, withAddresses())
		m := ask(t, s, c.qname, c.qtype, edns(4096))
		if got := show(m); got != c.want || !m.Authoritative {
			t.Errorf("%s %s:\n got %s\nwant %s", c.qname, mdns.TypeToString[c.qtype], got, c.want)
		}
	}
}

func TestOtherDatacentersAreAskedForAddressesThatThisOneHasNot(t *testing.T) {
	f := withAddresses()
	s, _ := start(t, f)
	ask(t, s, "1.0.0.10.in-addr.arpa.", mdns.TypePTR)
	if !slices.Equal(f.asked, []string{""}) {
		t.Errorf("asked of %q", f.asked)
	}
	f.asked = nil
	ask(t, s, "1.0.2.10.in-addr.arpa.", mdns.TypePTR)
	if !slices.Equal(f.asked, []string{"", op.All}) || f.last.Consistency != op.Cached {
		t.Errorf("asked of %q with %+v", f.asked, f.last)
	}
	// One that cannot be reached may have the address.
	f.outcomes = []op.Outcome{{Datacenter: "dc2", State: op.Unreachable}}
	if m := ask(t, s, "9.9.9.9.in-addr.arpa.", mdns.TypePTR); m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("while a datacenter is out of reach: %s", show(m))
	}
}

func TestNamesOfAddressesAreRead(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "255.254.3.10", "::", "fd00:1234:5678:9abc:def0:1234:5678:9abc", "2001:db8::1"} {
		want := netip.MustParseAddr(s)
		name, err := mdns.ReverseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, kind := names.ReverseOf(name); got != want || kind != names.Whole {
			t.Errorf("%s: %v %v, want %v", name, got, kind, want)
		}
	}
}

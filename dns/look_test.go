package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/legate-project/legate/op"
)

// What is looked at is what clients get by TCP, found by the Caller that was given.
func TestALookIsWhatClientsGet(t *testing.T) {
	s, _ := start(t, newFake())
	s.draw = func(int) int { return 0 } // each in the same order
	apart, _ := start(t, refusing{})
	apart.draw = s.draw
	for _, name := range []string{"web.service.consul", "WEB.Service.consul.", "v1.2.web.service.dc1.consul.", "many.service.consul.", "ext.service.consul.", "far.service.dc2.consul.", "none.service.consul.",
		"web.service.down.consul.", "web.service.dc9.consul.", "n1.node.consul.", "odd.service.consul.", "0a000001.addr.consul.", "consul.", "service.consul.", "nonsense.consul.", "x.virtual.consul.",
		"1.0.0.10.in-addr.arpa.", "10.in-addr.arpa.", "www.example.com.", ".", "web.service.alt.example."} {
		for _, qtype := range []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeSRV, mdns.TypeTXT, mdns.TypeANY, mdns.TypeSOA, mdns.TypeNS, mdns.TypePTR} {
			in, err := new(mdns.Msg).SetQuestion(mdns.Fqdn(name), qtype).Pack()
			if err != nil {
				t.Fatal(err)
			}
			// The letters of the question are put back for clients alone.
			want := strings.ReplaceAll(show(unpacked(t, s.respond(context.Background(), peer{tcp: true}, in, nil))), "WEB.Service.", "web.service.")
			seen := apart.Look(t.Context(), Look{Name: name, Type: qtype, Caller: newFake()})
			if got := show(&seen.Message); got != want {
				t.Errorf("%s %s:\n%s\nclients get\n%s", name, mdns.Type(qtype), got, want)
			}
		}
	}
}

// refusing has nothing to say to clients.
type refusing struct{}

func (refusing) Do(context.Context, *op.Call) (*op.Reply, error) {
	return nil, op.Errorf(op.CodeInternal, "the wrong Caller was asked")
}

// For what is looked at no recursor is asked, and it is said that they would be. What does not fit a packet of UDP is
// said by its size.
func TestALookSaysWhatItLeavesOut(t *testing.T) {
	u := internet(t)
	s, _ := start(t, newFake(), recursing(u.addr))
	for name, want := range map[string]string{
		"www.example.com.": "REFUSED true []", "ext.service.consul.": "NOERROR true []", "1.0.9.10.in-addr.arpa.": "NXDOMAIN true []",
		"many.service.consul.": "NOERROR true [512 1232]", "web.service.consul.": "NOERROR true []",
	} {
		seen := s.Look(t.Context(), Look{Name: name, Type: mdns.TypeA, From: netip.MustParseAddr("10.0.0.1"), Caller: newFake()})
		if got := fmt.Sprint(mdns.RcodeToString[seen.Message.Rcode], " ", seen.Recurses, " ", seen.Cut); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if asked := u.questions(); asked != "" {
		t.Error("recursors were asked for", asked)
	}
}

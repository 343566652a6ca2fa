package dns

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

// Bounds on node metadata in answers.
const (
	maxString = 255 // bytes of one string of a TXT record (RFC 1035, section 3.3.14)
	rawPrefix = "rfc1035-"
)

func (x *exchange) add(rr mdns.RR) { x.answer = append(x.answer, record{rr: rr}) }

func head(owner string, qtype uint16, ttl uint32) mdns.RR_Header {
	return mdns.RR_Header{Name: owner, Rrtype: qtype, Class: mdns.ClassINET, Ttl: ttl}
}

// addrRecord returns an A or AAAA record; record and bytes are one allocation.
func addrRecord(owner string, a netip.Addr, ttl uint32) mdns.RR {
	if a.Is4() {
		r := &struct {
			rr  mdns.A
			raw [net.IPv4len]byte
		}{raw: a.As4()}
		r.rr = mdns.A{Hdr: head(owner, mdns.TypeA, ttl), A: r.raw[:]}
		return &r.rr
	}
	r := &struct {
		rr  mdns.AAAA
		raw [net.IPv6len]byte
	}{raw: a.As16()}
	r.rr = mdns.AAAA{Hdr: head(owner, mdns.TypeAAAA, ttl), AAAA: r.raw[:]}
	return &r.rr
}

// isAddress reports whether a target is at an address, not at a host name.
func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// glue is the address of a target, none for a host name.
func glue(target, addr string, ttl uint32) []mdns.RR {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return nil
	}
	return []mdns.RR{addrRecord(target, a.Unmap().WithZone(""), ttl)}
}

// metaTXT returns one TXT record for each pair of a node's metadata, as in RFC
// 1464. Where the key begins with rfc1035- the value stands alone.
func metaTXT(owner string, meta map[string]string, ttl uint32) []mdns.RR {
	if len(meta) == 0 {
		return nil
	}
	out := make([]mdns.RR, 0, len(meta))
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		text := meta[key]
		if !strings.HasPrefix(key, rawPrefix) {
			text = rfc1464(key) + "=" + text
		}
		out = append(out, &mdns.TXT{Hdr: head(owner, mdns.TypeTXT, ttl), Txt: chunks(text)})
	}
	return out
}

// rfc1464 quotes what would end a key too early.
func rfc1464(key string) string {
	if !strings.ContainsAny(key, "`=") {
		return key
	}
	return strings.NewReplacer("`", "``", "=", "`=").Replace(key)
}

// chunks cuts a text into the strings of a TXT record. The library reads
// backslashes in them as escapes.
func chunks(text string) []string {
	var out []string
	for {
		n := min(len(text), maxString)
		out = append(out, strings.ReplaceAll(text[:n], `\`, `\\`))
		if text = text[n:]; text == "" {
			return out
		}
	}
}

func (x *exchange) soa() *mdns.SOA {
	zone, c := x.domain[1:], &x.conf.SOA
	return &mdns.SOA{Hdr: head(zone, mdns.TypeSOA, uint32(c.MinTTL)), Ns: "ns." + zone, Mbox: "hostmaster." + zone,
		Serial: uint32(time.Now().Unix()), Refresh: uint32(c.Refresh), Retry: uint32(c.Retry), Expire: uint32(c.Expire), Minttl: uint32(c.MinTTL)}
}

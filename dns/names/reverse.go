package names

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Zones of names that stand for addresses (RFC 1035, section 3.5, and RFC 3596).
const (
	zone4 = "in-addr.arpa."
	zone6 = "ip6.arpa."
)

// Reverse is what a name in lower case says of an address.
type Reverse uint8

const (
	None  Reverse = iota
	Part          // the names of addresses are below it
	Whole         // it is the name of an address
)

// ReverseOf reads a name below in-addr.arpa or ip6.arpa.
func ReverseOf(name string) (netip.Addr, Reverse) {
	digits, long, size := "", 3, 4
	var ok bool
	if digits, ok = strings.CutSuffix(name, zone4); !ok {
		if digits, ok = strings.CutSuffix(name, zone6); !ok {
			return netip.Addr{}, None
		}
		long, size = 1, 32
	}
	if digits == "" {
		return netip.Addr{}, Part
	}
	digits, ok = strings.CutSuffix(digits, ".")
	labels := strings.Split(digits, ".")
	if !ok || len(labels) > size {
		return netip.Addr{}, None
	}
	slices.Reverse(labels)
	parts := make([]byte, 0, size)
	for _, l := range labels {
		base := 10
		if size == 32 {
			base = 16
		}
		n, err := strconv.ParseUint(l, base, 8)
		if err != nil || len(l) > long || len(l) > 1 && l[0] == '0' {
			return netip.Addr{}, None
		}
		parts = append(parts, byte(n))
	}
	if len(parts) < size {
		return netip.Addr{}, Part
	}
	if size == 4 {
		return netip.AddrFrom4([4]byte(parts)), Whole
	}
	var a [16]byte
	for i := range a {
		a[i] = parts[2*i]<<4 | parts[2*i+1]
	}
	return netip.AddrFrom16(a), Whole
}

package relay

import (
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// sourceOf tells the kernel to send from an address of this host.
func sourceOf(ip net.IP) []byte {
	switch {
	case ip == nil || ip.IsUnspecified():
		return nil
	case ip.To4() != nil:
		return (&ipv4.ControlMessage{Src: ip.To4()}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: ip}).Marshal()
}

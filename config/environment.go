package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/hashicorp/go-sockaddr/template"
)

// Environment is what a configuration asks of its host. A nil function asks
// the real host.
type Environment struct {
	// Hostname is the default of node_name.
	Hostname func() (string, error)
	// Expand expands a go-sockaddr template.
	Expand func(text string) (string, error)
	// InterfaceAddrs lists the host's addresses, for advertise_addr.
	InterfaceAddrs func() ([]netip.Addr, error)
}

func (e Environment) orReal() Environment {
	if e.Hostname == nil {
		e.Hostname = os.Hostname
	}
	if e.Expand == nil {
		e.Expand = template.Parse
	}
	if e.InterfaceAddrs == nil {
		e.InterfaceAddrs = interfaceAddrs
	}
	return e
}

func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	addrs := make([]netip.Addr, 0, len(list))
	for _, a := range list {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil {
			addrs = append(addrs, prefix.Addr().Unmap())
		}
	}
	return addrs, nil
}

// privateAddr returns the only address that others can be told: private IPv4
// (RFC 1918 and RFC 6598) or, for IPv6, global unicast.
func privateAddr(list []netip.Addr, ipv6 bool) (string, error) {
	kind := "private IPv4"
	if ipv6 {
		kind = "global IPv6"
	}
	shared := netip.MustParsePrefix("100.64.0.0/10")
	var found []netip.Addr
	for _, a := range list {
		fits := a.Is4() && (a.IsPrivate() || shared.Contains(a))
		if ipv6 {
			fits = a.Is6() && a.IsGlobalUnicast()
		}
		if fits {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("the host has no %s address: set bind_addr or advertise_addr", kind)
	case 1:
		return found[0].String(), nil
	}
	return "", fmt.Errorf("the host has several %s addresses %v: set bind_addr or advertise_addr", kind, found)
}

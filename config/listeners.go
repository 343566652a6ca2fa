package config

import (
	"net"
	"strconv"
	"strings"
)

// unixPrefix begins an address that is the path of a Unix socket.
const unixPrefix = "unix://"

// HTTPAddrs returns where the HTTP interface listens: host:port or unix://
// paths; none if its port is off.
func (c *Config) HTTPAddrs() []string {
	return listeners(c.ClientAddrs, c.Addresses.HTTP, c.Ports.HTTP)
}

// HTTPSAddrs is the same for HTTPS.
func (c *Config) HTTPSAddrs() []string {
	return listeners(c.ClientAddrs, c.Addresses.HTTPS, c.Ports.HTTPS)
}

// DNSAddrs is the same for DNS, on UDP and TCP; never a path.
func (c *Config) DNSAddrs() []string { return listeners(c.ClientAddrs, c.Addresses.DNS, c.Ports.DNS) }

func listeners(client, own []string, port int) []string {
	if port < 0 {
		return nil
	}
	hosts := client
	if len(own) > 0 {
		hosts = own
	}
	var addrs []string
	for _, host := range hosts {
		if !strings.HasPrefix(host, unixPrefix) {
			host = net.JoinHostPort(host, strconv.Itoa(port))
		}
		addrs = append(addrs, host)
	}
	return addrs
}

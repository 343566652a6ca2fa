package doctorcmd

import (
	"cmp"
	"net"
	"strconv"
	"strings"

	"github.com/legate-project/legate/config"
)

// portsOf are those that an agent with this configuration listens at.
func portsOf(c *config.Config) []port {
	var out []port
	add := func(key, addr string, networks ...string) {
		if strings.HasPrefix(addr, unixStart) {
			return
		}
		for _, n := range networks {
			out = append(out, port{key: key, network: n, addr: addr})
		}
	}
	at := func(host string, number int) string { return net.JoinHostPort(host, strconv.Itoa(number)) }
	for _, a := range c.HTTPAddrs() {
		add("ports.http", a, "tcp")
	}
	for _, a := range c.HTTPSAddrs() {
		add("ports.https", a, "tcp")
	}
	for _, a := range c.DNSAddrs() {
		add("ports.dns", a, "udp", "tcp")
	}
	add("ports.serf_lan", at(cmp.Or(c.SerfLANBind, c.BindAddr), c.Ports.SerfLAN), "udp", "tcp")
	if c.Server {
		add("ports.server", at(c.BindAddr, c.Ports.Server), "udp", "tcp")
		if c.Ports.SerfWAN > 0 {
			add("ports.serf_wan", at(cmp.Or(c.SerfWANBind, c.BindAddr), c.Ports.SerfWAN), "udp")
		}
	}
	return out
}

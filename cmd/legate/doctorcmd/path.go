package doctorcmd

import (
	"net"
	"strconv"
	"strings"
)

// path is how large packets get through to a server, one way.
type path struct {
	datacenter, server, addr string
	known                    bool // a member
	failed                   bool // gossip says so
	largest                  int  // bytes in a packet of UDP that was answered; 0 if none was
	smallest                 int  // of those that were not, 0 if all were
	err                      error
}

const (
	pathsOfEach  = 2  // servers of a datacenter that are probed
	pathsAtMost  = 64 // in all
	pathsAtOnce  = 16
	quicBegins   = 1208 // bytes of the packets that connections begin with, through gateways
	quicGoesWell = 1400
)

// pathSizes are the packets that are sent, in bytes of UDP: the least that QUIC allows,
// what connections begin with through gateways, what fits IPv6's least MTU, a tunnel's, what they grow to.
func pathSizes() []int { return []int{1200, quicBegins, 1232, 1280, 1372, quicGoesWell, 1452} }

// destinations are servers of other datacenters, or for a client agent those of its own.
func (f *facts) destinations() []path {
	var out []path
	of := map[string]int{}
	add := func(p path) {
		if of[p.datacenter] < pathsOfEach && len(out) < pathsAtMost {
			of[p.datacenter]++
			out = append(out, p)
		}
	}
	members := f.wan
	if !f.settings.Server {
		members = f.members
	}
	for i := range members {
		m := &members[i]
		port := m.Port
		if !f.settings.Server {
			port, _ = strconv.Atoi(m.Tags["port"]) // none is 0, and is not asked
		}
		elsewhere := !f.settings.Server || m.datacenter() != f.settings.Datacenter
		if m.server() && (m.Status == alive || m.Status == failed) && elsewhere && port > 0 {
			add(path{datacenter: m.datacenter(), server: m.Name, addr: net.JoinHostPort(m.Addr, strconv.Itoa(port)), known: true, failed: m.Status == failed})
		}
	}
	// Where nobody else is known, the way may be why.
	if len(out) == 0 && f.settings.Server && f.settings.Ports.SerfWAN > 0 {
		for _, entry := range f.settings.RetryJoinWAN {
			if host := hostOf(entry); host != "" {
				add(path{datacenter: host, server: host, addr: net.JoinHostPort(host, portOf(entry, f.settings.Ports.SerfWAN))})
			}
		}
	}
	return out
}

// hostOf is the host of an entry of retry_join; "" where a cloud is asked.
func hostOf(entry string) string {
	if strings.Contains(entry, "=") || strings.Contains(entry, "{{") {
		return ""
	}
	if host, _, err := net.SplitHostPort(entry); err == nil {
		return host
	}
	return strings.Trim(entry, "[]")
}

func portOf(entry string, otherwise int) string {
	if _, port, err := net.SplitHostPort(entry); err == nil {
		return port
	}
	return strconv.Itoa(otherwise)
}

// pathSize says which packets do not get through.
func pathSize(f *facts) []Finding {
	if len(f.paths) == 0 {
		return []Finding{fine("There is no other datacenter to send to")}
	}
	found := []Finding(nil)
	least := 0
	for _, p := range f.paths {
		if v := judgePath(p); v.Result != isFine {
			found = append(found, v.of(p.server))
		} else if p.largest > 0 && (least == 0 || p.largest < least) {
			least = p.largest
		}
	}
	switch {
	case least == 0:
		return orFine(found, "%s: failed, and answers nothing", count(len(f.paths), "server"))
	case least < quicGoesWell:
		return orFine(found, "Packets of %d bytes get through, on the smallest way; up to 1452 are tried", least)
	}
	return orFine(found, "Packets of %d bytes or more get through to %s", least, count(len(f.paths), "server"))
}

func judgePath(p path) Finding {
	switch {
	case p.err != nil:
		return warning("No packet can be sent to %s: %v.", p.addr, p.err).do("Look at routes and the packet filter of this machine.")
	case p.largest == 0 && p.failed:
		return fine("%s has failed, and answers nothing", p.addr)
	case p.largest == 0 && p.known:
		return skipped("%s answers no packet from a port other than the agent's: a packet filter may be the reason", p.addr)
	case p.largest == 0:
		return warning("Nobody answers at %s/udp.", p.addr).do("Start the server there, or let UDP pass both ways (ports.serf_wan).")
	case p.largest < quicBegins:
		return problem("Packets of %d bytes get through to %s and those of %d do not: connections through gateways begin with %d.", p.largest, p.addr, p.smallest, quicBegins).
			do("Raise the MTU on the way (tunnels, VPN) to 1256 or more, or let ICMP pass that says how large packets may be.")
	}
	return fine("Packets of %d bytes get through to %s", p.largest, p.addr)
}

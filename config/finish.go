package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// finisher completes a decoded configuration: defaults that hang on other
// keys, templates, addresses that follow from others; then it validates.
type finisher struct {
	cfg    *Config
	set    map[string]string // key → source
	env    Environment
	faults []error
	notes  []string
}

// fault reports a key with the source that set it, if one did.
func (f *finisher) fault(key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if source, ok := f.set[key]; ok {
		text = source + ": " + key + ": " + text
	} else if key != "" {
		text = key + ": " + text
	}
	f.faults = append(f.faults, fmt.Errorf("%s", text))
}

func (f *finisher) note(key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if source, ok := f.set[key]; ok {
		text = source + ": " + text
	}
	f.notes = append(f.notes, text)
}

func (f *finisher) isSet(key string) bool {
	_, ok := f.set[key]
	return ok
}

func (f *finisher) finish() {
	f.names()
	f.modes()
	f.addresses()
	f.ports()
	f.inheritTLS()
}

func (f *finisher) names() {
	c := f.cfg
	c.Datacenter = strings.ToLower(c.Datacenter)
	c.PrimaryDatacenter = strings.ToLower(c.PrimaryDatacenter)
	if c.PrimaryDatacenter == "" {
		c.PrimaryDatacenter = c.Datacenter
	}
	c.NodeID = strings.ToLower(c.NodeID)
	c.Domain = dnsDomain(c.Domain)
	c.AltDomain = dnsDomain(c.AltDomain)
	if c.NodeName != "" {
		return
	}
	name, err := f.env.Hostname()
	if err != nil {
		f.fault("node_name", "is not set and the host's name is not known: %v", err)
	}
	c.NodeName = name
}

func dnsDomain(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(s, ".")) + "."
}

// modes sets what hangs on being a server.
func (f *finisher) modes() {
	c := f.cfg
	if !f.isSet("leave_on_terminate") {
		c.LeaveOnTerminate = !c.Server
	}
	if !f.isSet("skip_leave_on_interrupt") {
		c.SkipLeaveOnInterrupt = c.Server
	}
	if c.DevMode && c.Server && c.BootstrapExpect == 0 {
		c.Bootstrap = true
	}
	if c.BootstrapExpect == 1 && !c.Bootstrap {
		f.note("bootstrap_expect", "'bootstrap_expect = 1' means the same as 'bootstrap = true'")
		c.Bootstrap, c.BootstrapExpect = true, 0
	}
	if c.Performance.RaftMultiplier == 0 {
		c.Performance.RaftMultiplier = defaultRaftMultiple // 0 asks for the default, as in Consul
	}
}

func (f *finisher) addresses() {
	c := f.cfg
	c.BindAddr = f.ip("bind_addr", c.BindAddr)
	f.fallback("serf_lan", &c.SerfLANBind, c.BindAddr)
	f.fallback("serf_wan", &c.SerfWANBind, c.BindAddr)
	f.advertise()
	for _, a := range []struct {
		key  string
		addr *string
	}{
		{"advertise_addr_ipv4", &c.AdvertiseAddrIPv4}, {"advertise_addr_ipv6", &c.AdvertiseAddrIPv6},
		{"advertise_addr_wan_ipv4", &c.AdvertiseAddrWANIPv4}, {"advertise_addr_wan_ipv6", &c.AdvertiseAddrWANIPv6},
	} {
		*a.addr = f.ip(a.key, *a.addr)
	}
	c.Recursors = f.recursors(c.Recursors)
	c.ClientAddrs = f.words("client_addr", c.ClientAddrs)
	c.Addresses.DNS = f.words("addresses.dns", c.Addresses.DNS)
	c.Addresses.HTTP = f.words("addresses.http", c.Addresses.HTTP)
	c.Addresses.HTTPS = f.words("addresses.https", c.Addresses.HTTPS)
}

func (f *finisher) advertise() {
	c := f.cfg
	if c.AdvertiseAddr = f.ip("advertise_addr", c.AdvertiseAddr); c.AdvertiseAddr == "" {
		c.AdvertiseAddr = c.BindAddr
		if f.isSet("serf_lan") && isAny(c.BindAddr) {
			c.AdvertiseAddr = c.SerfLANBind
		}
		if isAny(c.AdvertiseAddr) {
			c.AdvertiseAddr = f.onlyAddr(c.AdvertiseAddr)
		}
	}
	if c.Gateway.Enabled && !strings.Contains(c.AdvertiseAddrWAN, "{{") && isName(c.AdvertiseAddrWAN) {
		return // others look a gateway's name up
	}
	f.fallback("advertise_addr_wan", &c.AdvertiseAddrWAN, c.AdvertiseAddr)
}

func (f *finisher) onlyAddr(bind string) string {
	list, err := f.env.InterfaceAddrs()
	addr := ""
	if err == nil {
		addr, err = privateAddr(list, strings.Contains(bind, ":"))
	}
	if err != nil {
		f.fault("advertise_addr", "%v", err)
	}
	return addr
}

// fallback expands an address and replaces an empty one.
func (f *finisher) fallback(key string, addr *string, other string) {
	if *addr = f.ip(key, *addr); *addr == "" {
		*addr = other
	}
}

// expand expands templates; anything else stays as it is.
func (f *finisher) expand(key, text string) string {
	if !strings.Contains(text, "{{") {
		return strings.TrimSpace(text)
	}
	out, err := f.env.Expand(text)
	if err != nil {
		f.fault(key, "expand %q: %v", text, err)
		return ""
	}
	if strings.TrimSpace(out) == "" {
		f.fault(key, "the template %q gives no address on this host", text)
	}
	return strings.TrimSpace(out)
}

// ip expands to one IP address, without brackets; empty stays empty.
func (f *finisher) ip(key, text string) string {
	out := f.expand(key, text)
	if out == "" {
		return ""
	}
	addr, err := parseIP(out)
	if err != nil {
		f.fault(key, "%q is not one IP address", out)
		return ""
	}
	return addr.String()
}

func parseIP(s string) (netip.Addr, error) {
	return netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
}

// recursors expands a list of DNS servers; each is asked once.
func (f *finisher) recursors(list []string) []string {
	var out []string
	for _, text := range list {
		for _, word := range strings.Fields(f.expand("recursors", text)) {
			if addr, err := parseIP(word); err == nil {
				word = addr.String()
			}
			if !slices.Contains(out, word) {
				out = append(out, word)
			}
		}
	}
	return out
}

// words expands and splits a list of listener addresses.
func (f *finisher) words(key string, list []string) []string {
	var out []string
	for _, text := range list {
		for _, word := range strings.Fields(f.expand(key, text)) {
			if strings.HasPrefix(word, unixPrefix) && key != "addresses.dns" {
				out = append(out, word)
				continue
			}
			addr, err := parseIP(word)
			if err != nil {
				f.fault(key, "%q is not an IP address", word)
				continue
			}
			out = append(out, addr.String())
		}
	}
	return out
}

func isAny(addr string) bool {
	ip, err := parseIP(addr)
	return err == nil && ip.IsUnspecified()
}

// isName reports whether an address is a host's name, for others to look up.
func isName(addr string) bool {
	_, err := parseIP(addr)
	return err != nil && regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`).MatchString(addr)
}

// ports makes everything below 1 mean off.
func (f *finisher) ports() {
	p := &f.cfg.Ports
	for _, port := range []*int{&p.DNS, &p.HTTP, &p.HTTPS, &p.SerfWAN, &p.GRPC, &p.GRPCTLS} {
		if *port <= 0 {
			*port = -1
		}
	}
	if f.cfg.Server && !f.isSet("ports.grpc_tls") && !f.cfg.DevMode {
		p.GRPCTLS = 8503
	}
}

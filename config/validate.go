package config

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/legate-project/legate/internal/version"
)

// Bounds of what names and pairs may be; the numbers are Consul's.
const (
	maxNodeName     = 128
	maxDatacenter   = 63 // one DNS label
	maxMetaPairs    = 64
	maxMetaKey      = 128
	maxMetaValue    = 512
	minReconnect    = 8 * time.Hour
	minRejoinAge    = 6 * time.Hour
	maxRaftMultiple = 10

	defaultRaftMultiple = 5
)

func (f *finisher) validate() {
	f.checkNames()
	f.checkCommands()
	f.checkModes()
	f.checkFailover()
	f.checkAddresses()
	f.checkPorts()
	f.checkTimes()
	f.checkChoices()
	f.checkTelemetry()
	f.checkTracing()
	f.checkUI()
	f.checkMeta("node_meta", f.cfg.NodeMeta)
	f.checkTLS()
	f.checkDefinitions()
}

// checkTracing does not show the endpoint: it can have a password in it.
func (f *finisher) checkTracing() {
	t := f.cfg.Telemetry
	if !(t.TraceSampleRatio >= 0 && t.TraceSampleRatio <= 1) {
		f.fault("telemetry.trace_sample_ratio", "%v is not between 0 and 1", t.TraceSampleRatio)
	}
	if t.OTLPEndpoint == "" {
		return
	}
	u, err := url.Parse(t.OTLPEndpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		f.fault("telemetry.otlp_endpoint", "must be http://host:port or https://host:port, with or without a path; what the collector knows its clients by belongs into otlp_headers")
	}
}

func (f *finisher) checkNames() {
	c := f.cfg
	f.checkDatacenter("datacenter", c.Datacenter)
	if c.PrimaryDatacenter != c.Datacenter {
		f.checkDatacenter("primary_datacenter", c.PrimaryDatacenter)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`).MatchString(c.Federation.Name) {
		f.fault("federation.name", "%q must be 1 to 64 letters, digits, '-', '_' or '.'", c.Federation.Name)
	}
	f.checkReach()
	switch name := c.NodeName; {
	case strings.TrimSpace(name) == "":
		f.fault("node_name", "node_name cannot be empty")
	case len(name) > maxNodeName:
		f.fault("node_name", "is longer than %d bytes", maxNodeName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl): // others would refuse it as a member
		f.fault("node_name", "%q has control characters, or is no UTF-8", name)
	case !regexp.MustCompile(`^[A-Za-z0-9-]{1,63}$`).MatchString(name):
		f.note("node_name", "the node name %q cannot be found through DNS: only letters, digits and dashes can", name)
	}
	if c.NodeID != "" {
		if id, err := uuid.Parse(c.NodeID); err != nil || id.String() != c.NodeID {
			f.fault("node_id", "%q is not a UUID", c.NodeID)
		}
	}
	if c.DataDir == "" && !c.DevMode {
		f.fault("data_dir", "data_dir cannot be empty")
	}
	if c.Domain == "" || c.Domain == "." {
		f.fault("domain", "cannot be empty")
	}
}

// maxGateways bounds the gateways that a server is reached through, maxRate gateway.rate, in Mbit/s: more
// than there are networks for.
const maxGateways, maxRate = 8, 1_000_000

// checkReach judges how the datacenter is reached.
func (f *finisher) checkReach() {
	c := f.cfg
	switch reach := c.Federation.Reach; {
	case reach != ReachDirect && reach != ReachGateways:
		f.fault("federation.reach", "%q is neither direct nor gateways", reach)
	case len(c.Federation.Gateways) > 0 && reach != ReachGateways:
		f.fault("federation.gateways", "takes federation.reach = \"gateways\": a server that others reach directly needs none")
	case (c.Federation.Transit || len(c.Federation.Links) > 0) && reach == ReachGateways:
		f.fault("federation", "transit and links take federation.reach = \"direct\": through gateways all are reached, and others reach who carries directly")
	case len(c.Federation.Gateways) > maxGateways:
		f.fault("federation.gateways", "names %d gateways, %d at most are used", len(c.Federation.Gateways), maxGateways)
	}
	for _, dc := range c.Federation.Links {
		f.checkDatacenter("federation.links", dc)
	}
	for _, g := range c.Federation.Gateways {
		if !isGateway(g) {
			f.fault("federation.gateways", "%q is neither host nor host:port", g)
		}
	}
	switch {
	case len(c.EncryptWANKey) == 0:
	case !c.Server:
		f.fault("encrypt_wan", "is for servers: take it out of the configuration of this client agent, which is not to know it")
	case len(c.EncryptKey) == 0 && c.DisableKeyringFile:
		f.fault("encrypt_wan", "takes encrypt: without a key for the LAN pool everybody who reaches it is a server")
	case bytes.Equal(c.EncryptWANKey, c.EncryptKey):
		f.fault("encrypt_wan", "is the same key as encrypt, which all client agents have: make another (legate keygen)")
	}
	switch {
	case !c.Gateway.Enabled:
	case c.Server:
		f.fault("gateway", "is for client agents: run one beside the servers, on the machine that others reach")
	case c.Ports.SerfWAN < 0:
		f.fault("gateway", "others reach a gateway at ports.serf_wan, which is -1")
	case c.Gateway.Rate <= 0:
		f.fault("gateway.rate", "is %d: nothing would be carried", c.Gateway.Rate)
	case c.Gateway.Rate > maxRate:
		f.fault("gateway.rate", "is %d, %d at most", c.Gateway.Rate, maxRate)
	}
}

// isGateway reports whether an address is host or host:port.
func isGateway(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = strings.Trim(addr, "[]"), "1"
	}
	_, err = parseIP(host)
	n, bad := strconv.ParseUint(port, 10, 16)
	return (err == nil || isName(host)) && bad == nil && n > 0
}

// checkCommands notes where somebody runs commands on this agent whom nobody has allowed
// that.
func (f *finisher) checkCommands() {
	c := f.cfg
	if c.ACL.Enabled && c.ACL.DefaultPolicy == "deny" {
		return
	}
	const enable = `set acl { enabled = true, default_policy = "deny" }`
	if c.EnableScriptChecks && len(c.HTTPConfig.AllowWriteHTTPFrom) == 0 {
		f.note("enable_script_checks", "enable_script_checks is DANGEROUS without access control: who reaches the HTTP port of this agent runs commands as its user. "+
			"Use enable_local_script_checks for those of files alone, or "+enable+", or say in http_config.allow_write_http_from who may register checks")
	}
	if !c.DisableRemoteExec {
		f.note("disable_remote_exec", "disable_remote_exec = false is DANGEROUS without access control: who reaches the HTTP port of any agent of this datacenter runs commands as this agent's user. "+
			"Set disable_remote_exec = true, or "+enable)
	}
}

func (f *finisher) checkDatacenter(key, name string) {
	switch {
	case name == "":
		f.fault(key, "%s cannot be empty", key)
	case name == "nearest" || name == "all":
		f.fault(key, "%q is a word of queries and cannot name a datacenter", name)
	case len(name) > maxDatacenter || !regexp.MustCompile(`^[a-z0-9_-]+$`).MatchString(name):
		f.fault(key, "%q cannot name a datacenter: 1 to %d of a-z, 0-9, '-' and '_' can", name, maxDatacenter)
	}
}

// maxFailover is how many datacenters may stand in for one.
const maxFailover = 32

func (f *finisher) checkFailover() {
	for _, service := range slices.Sorted(maps.Keys(f.cfg.DNSConfig.Failover)) {
		key, list := "dns_config.failover", f.cfg.DNSConfig.Failover[service]
		if len(list) == 0 || len(list) > maxFailover {
			f.fault(key, "%q has %d datacenters: 1 to %d can stand in", service, len(list), maxFailover)
		}
		for i, dc := range list {
			if dc != "nearest" || i < len(list)-1 {
				f.checkDatacenter(key, dc)
			}
		}
	}
}

func (f *finisher) checkTelemetry() {
	t := &f.cfg.Telemetry
	if t.Compat != "" && t.Compat != "consul" {
		f.fault("telemetry.compat", "%q is not known: consul is", t.Compat)
	}
	for _, p := range t.PrefixFilter {
		if len(p) < 2 || p[0] != '+' && p[0] != '-' {
			f.fault("telemetry.prefix_filter", "%q must be + or - and a prefix", p)
		}
	}
	for key, addr := range map[string]string{"statsd_address": t.StatsdAddr, "statsite_address": t.StatsiteAddr, "dogstatsd_addr": t.DogstatsdAddr} {
		if _, port, err := net.SplitHostPort(addr); addr != "" && (err != nil || port == "") {
			f.fault("telemetry."+key, "%q must be host:port", addr)
		}
	}
}

func (f *finisher) checkModes() {
	c := f.cfg
	if c.Server && c.AdvertiseReconnectTimeout > 0 {
		f.fault("advertise_reconnect_timeout", "is for clients: the others remember a server for their own reconnect_timeout")
	}
	if c.Bootstrap && !c.Server {
		f.fault("bootstrap", "'bootstrap = true' requires 'server = true'")
	}
	switch n := c.BootstrapExpect; {
	case n < 0:
		f.fault("bootstrap_expect", "cannot be %d: it cannot be negative", n)
	case n == 0:
	case !c.Server:
		f.fault("bootstrap_expect", "'bootstrap_expect > 0' requires 'server = true'")
	case c.Bootstrap:
		f.fault("bootstrap_expect", "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")
	case n == 2:
		f.note("bootstrap_expect", "bootstrap_expect = 2: two servers survive no failure, use 3")
	case n%2 == 0:
		f.note("bootstrap_expect", "bootstrap_expect is %d: an even number of servers survives no more failures than one less", n)
	}
	switch {
	case !c.ReadReplica:
	case !c.Server:
		f.fault("read_replica", "'read_replica = true' requires 'server = true'")
	case c.Bootstrap:
		f.fault("read_replica", "a server that never votes cannot start a datacenter alone: take bootstrap, or bootstrap_expect = 1, or -dev away")
	}
	if n := c.FeatureLevel; n < 0 || n > version.Level {
		f.fault("feature_level", "cannot be %d: this version knows the levels 1 to %d (docs/upgrading.md), and 0 is for the highest", n, version.Level)
	}
	if c.FeatureLevel > 0 && !c.Server {
		f.note("feature_level", "feature_level has no effect on a client: it is what servers write by")
	}
	f.checkAutopilot(&c.Autopilot)
	f.checkJoins("retry_join", c.RetryJoin)
	f.checkJoins("retry_join_wan", c.RetryJoinWAN)
	switch {
	case len(c.RetryJoinWAN) == 0:
	case !c.Server:
		f.note("retry_join_wan", "retry_join_wan has no effect on a client: only servers join the WAN")
	case c.Ports.SerfWAN < 0:
		f.fault("retry_join_wan", "cannot join the WAN while ports.serf_wan is -1")
	}
}

func (f *finisher) checkAutopilot(a *Autopilot) {
	if a.LastContactThreshold <= 0 {
		f.fault("autopilot.last_contact_threshold", "is %v: no server but the leader would ever be healthy", a.LastContactThreshold)
	}
	if a.ServerStabilizationTime < 0 {
		f.fault("autopilot.server_stabilization_time", "cannot be negative")
	}
	if a.MaxTrailingLogs < 0 || a.MinQuorum < 0 {
		f.fault("autopilot", "max_trailing_logs and min_quorum cannot be negative")
	}
	if len(a.RedundancyZoneTag) > maxMetaKey {
		f.fault("autopilot.redundancy_zone_tag", "is longer than %d bytes, as no key of node_meta is", maxMetaKey)
	}
}

// dnsPort is that of a recursor that names none.
const dnsPort = 53

func (f *finisher) checkAddresses() {
	c := f.cfg
	const anyAddr = "address cannot be 0.0.0.0, :: or [::]"
	if isAny(c.AdvertiseAddr) {
		f.fault("advertise_addr", "Advertise %s", anyAddr)
	}
	if isAny(c.AdvertiseAddrWAN) && c.AdvertiseAddrWAN != c.AdvertiseAddr {
		f.fault("advertise_addr_wan", "Advertise WAN %s", anyAddr)
	}
	for _, recursor := range c.Recursors {
		at, err := netip.ParseAddrPort(recursor)
		if err != nil {
			var addr netip.Addr
			addr, err = parseIP(recursor)
			at = netip.AddrPortFrom(addr, dnsPort)
		}
		switch {
		case err != nil:
			f.fault("recursors", "%q is neither an IP address nor ip:port", recursor)
		case at.Addr().IsUnspecified():
			f.fault("recursors", "DNS recursor %s", anyAddr)
		case slices.Contains(c.DNSAddrs(), at.String()):
			f.note("recursors", "the recursor %s is this agent's own DNS: nobody else will be found there", at)
		}
	}
	f.checkCIDRs("serf_lan_allowed_cidrs", c.SerfLANAllowedCIDRs)
	f.checkAllowed("serf_lan_allowed_cidrs", c.SerfLANAllowedCIDRs, c.AdvertiseAddr)
	f.checkCIDRs("serf_wan_allowed_cidrs", c.SerfWANAllowedCIDRs)
	if c.Server && c.Ports.SerfWAN > 0 {
		f.checkAllowed("serf_wan_allowed_cidrs", c.SerfWANAllowedCIDRs, c.AdvertiseAddrWAN)
	}
	f.checkCIDRs("http_config.allow_write_http_from", c.HTTPConfig.AllowWriteHTTPFrom)
}

func (f *finisher) checkCIDRs(key string, list []string) {
	for _, cidr := range list {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			f.fault(key, "%q is not a network such as 10.0.0.0/8", cidr)
		}
	}
}

// checkAllowed keeps an agent from shutting itself out.
func (f *finisher) checkAllowed(key string, list []string, own string) {
	addr, err := parseIP(own)
	if err != nil || len(list) == 0 {
		return
	}
	for _, cidr := range list {
		if p, err := netip.ParsePrefix(cidr); err != nil || p.Contains(addr.Unmap()) {
			return
		}
	}
	f.fault(key, "this agent's own address, %s, is in none of the networks", own)
}

// checkPorts keeps ports in range and apart.
func (f *finisher) checkPorts() {
	p := f.cfg.Ports
	ports := []struct {
		key    string
		port   int
		always bool
	}{
		{"ports.dns", p.DNS, false}, {"ports.http", p.HTTP, false}, {"ports.https", p.HTTPS, false},
		{"ports.serf_lan", p.SerfLAN, true}, {"ports.serf_wan", p.SerfWAN, false}, {"ports.server", p.Server, true},
	}
	if p.GatewayTCP > 65535 {
		f.fault("ports.gateway_tcp", "%d is no port: use 1 to 65535, or -1 for none", p.GatewayTCP)
	}
	used := map[int]string{}
	for _, p := range ports {
		switch {
		case p.port > 65535, p.port < 1 && p.always:
			f.fault(p.key, "%d is no port: use 1 to 65535", p.port)
			continue
		case p.port < 0:
			continue
		}
		if other, taken := used[p.port]; taken {
			f.fault(p.key, "%d is also the port of %s", p.port, other)
		}
		used[p.port] = p.key
	}
}

func (f *finisher) checkTimes() {
	c := f.cfg
	for _, t := range []struct {
		key        string
		value, min time.Duration
	}{
		{"reconnect_timeout", c.ReconnectTimeoutLAN, minReconnect},
		{"reconnect_timeout_wan", c.ReconnectTimeoutWAN, minReconnect},
		{"server_rejoin_age_max", c.ServerRejoinAgeMax, minRejoinAge},
		{"advertise_reconnect_timeout", c.AdvertiseReconnectTimeout, 0},
		{"retry_interval", c.RetryInterval, time.Millisecond},
		{"retry_interval_wan", c.RetryIntervalWAN, time.Millisecond},
		{"default_query_time", c.DefaultQueryTime, time.Second},
		{"max_query_time", c.MaxQueryTime, time.Second},
		{"session_ttl_min", c.SessionTTLMin, 0},
		{"check_update_interval", c.CheckUpdateInterval, 0},
		{"discovery_max_stale", c.DiscoveryMaxStale, 0},
		{"view_max_stale", c.ViewMaxStale, time.Second},
		{"log_rotate_duration", c.LogRotateDuration, 0},
		{"performance.leave_drain_time", c.Performance.LeaveDrainTime, 0},
		{"performance.rpc_hold_timeout", c.Performance.RPCHoldTimeout, 0},
		{"limits.rpc_client_timeout", c.Limits.RPCClientTimeout, time.Millisecond},
		{"limits.https_handshake_timeout", c.Limits.HTTPSHandshakeTimeout, time.Millisecond},
		{"limits.rpc_handshake_timeout", c.Limits.RPCHandshakeTimeout, 10 * time.Millisecond},
		{"dns_config.max_stale", c.DNSConfig.MaxStale, 0},
		{"dns_config.cache_max_age", c.DNSConfig.CacheMaxAge, 0},
		{"dns_config.answer_timeout", c.DNSConfig.AnswerTimeout, 10 * time.Millisecond},
		{"dns_config.node_ttl", c.DNSConfig.NodeTTL, 0},
		{"dns_config.recursor_timeout", c.DNSConfig.RecursorTimeout, 0},
	} {
		if t.value < t.min {
			f.fault(t.key, "%s is too short: it must be at least %s", t.value, t.min)
		}
	}
	if c.DefaultQueryTime > c.MaxQueryTime {
		f.fault("default_query_time", "%s is longer than max_query_time, %s", c.DefaultQueryTime, c.MaxQueryTime)
	}
}

func (f *finisher) checkChoices() {
	c := f.cfg
	f.choice("log_level", strings.ToUpper(c.LogLevel), "TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR")
	f.choice("dns_config.recursor_strategy", c.DNSConfig.RecursorStrategy, "sequential", "random")
	f.choice("syslog_facility", strings.ToUpper(c.SyslogFacility), syslogFacilities()...)
	if mode := c.UnixSockets.Mode; mode != "" {
		if n, err := strconv.ParseUint(mode, 8, 32); err != nil || n > 0o777 {
			f.fault("unix_sockets.mode", "%q is no permission in octal, such as 0660", mode)
		}
	}
	f.choice("limits.request_limits.mode", c.Limits.RequestLimits.Mode, "disabled", "permissive", "enforcing")
	if r := c.Limits.RPCRate; r != -1 && !(r > 0) { // not a number is not above 0 either
		f.fault("limits.rpc_rate", "%v would let no call through: want calls a second, or -1 for no limit", r)
	}
	f.choice("acl.default_policy", c.ACL.DefaultPolicy, "allow", "deny")
	f.choice("acl.down_policy", c.ACL.DownPolicy, "allow", "deny", "extend-cache", "async-cache")
	if m := c.Performance.RaftMultiplier; m < 1 || m > maxRaftMultiple {
		f.fault("performance.raft_multiplier", "%d must be 1 to %d", m, maxRaftMultiple)
	}
	for _, n := range []struct {
		key        string
		value, min int
	}{
		{"retry_max", c.RetryMax, 0}, {"retry_max_wan", c.RetryMaxWAN, 0},
		{"check_output_max_size", c.CheckOutputMaxSize, 1},
		{"dns_config.udp_answer_limit", c.DNSConfig.UDPAnswerLimit, 0},
		{"dns_config.a_record_limit", c.DNSConfig.ARecordLimit, 0},
		{"limits.http_max_conns_per_client", c.Limits.HTTPMaxConnsPerClient, 0},
		{"limits.rpc_max_conns_per_client", c.Limits.RPCMaxConnsPerClient, 0},
		{"limits.rpc_max_burst", c.Limits.RPCMaxBurst, 1},
		{"limits.kv_max_value_size", c.Limits.KVMaxValueSize, 1},
		{"limits.txn_max_req_len", c.Limits.TxnMaxReqLen, 1},
		{"log_rotate_bytes", c.LogRotateBytes, 0},
		{"log_rotate_max_files", c.LogRotateMaxFiles, -1},
	} {
		if n.value < n.min {
			f.fault(n.key, "%d must be at least %d", n.value, n.min)
		}
	}
}

// syslogFacilities are the words of RFC 5424, section 6.2.1, that programs other
// than the kernel use, in the order of their numbers.
func syslogFacilities() []string {
	return []string{"KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
		"LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7"}
}

func (f *finisher) choice(key, value string, allowed ...string) {
	for _, a := range allowed {
		if value == a {
			return
		}
	}
	f.fault(key, "%q must be one of %s", value, strings.Join(allowed, ", "))
}

func (f *finisher) checkMeta(key string, meta map[string]string) {
	if len(meta) > maxMetaPairs {
		f.fault(key, "has %d pairs: at most %d are allowed", len(meta), maxMetaPairs)
	}
	keyForm := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	names := make([]string, 0, len(meta))
	for name := range meta {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		switch {
		case len(name) > maxMetaKey || !keyForm.MatchString(name):
			f.fault(key, "the key %q must be 1 to %d letters, digits, '-' and '_'", name, maxMetaKey)
		case len(meta[name]) > maxMetaValue:
			f.fault(key, "the value of %q is longer than %d bytes", name, maxMetaValue)
		case strings.HasPrefix(name, "consul-") && key == "node_meta":
			f.fault(key, "the key %q: the prefix consul- is reserved", name)
		}
	}
}

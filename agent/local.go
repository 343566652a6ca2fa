package agent

import (
	"cmp"
	"maps"
	"net/netip"
	"time"

	"github.com/legate-project/legate/agent/local"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/state/catalog/mesh"
)

// startLocal restores this agent's own services and checks and begins to keep
// the catalog in line with them.
func (a *Agent) startLocal() error {
	cfg := local.Config{
		Caller: a.own, Datacenter: a.cfg.Datacenter, NodeName: a.cfg.NodeName, NodeID: a.id, Address: a.cfg.AdvertiseAddr,
		TaggedAddresses: taggedAddresses(a.cfg), Meta: nodeMeta(a.cfg), Dir: a.dir.path, Token: a.tokens.forAgent, RegistrationToken: a.tokens.forRegistration, Rights: a.rights,
		OutputMaxSize: a.cfg.CheckOutputMaxSize, DiscardOutput: a.cfg.DiscardCheckOutput, UpdateInterval: a.cfg.CheckUpdateInterval,
		SyncPeriod: a.opts.Timing.SyncPeriod, HoldTimeout: a.cfg.Performance.RPCHoldTimeout, CoordinatePeriod: a.opts.Timing.CoordinatePeriod,
		ScriptsFromAPI: a.cfg.EnableScriptChecks, ScriptsFromFiles: a.cfg.EnableScriptChecks || a.cfg.EnableLocalScriptChecks,
		ClusterSize: func() int { return len(a.lan.Members()) }, Log: a.log, Registerer: a.reg,
	}
	cfg.SidecarPorts = [2]int{a.cfg.Ports.SidecarMinPort, a.cfg.Ports.SidecarMaxPort}
	if a.cfg.DevMode && cfg.CoordinatePeriod == 0 {
		cfg.CoordinatePeriod = time.Second
	}
	if !a.cfg.DisableCoordinates {
		cfg.Coordinate = a.lan.Coordinate
	}
	if place := a.cfg.Locality; place != (mesh.Locality{}) {
		cfg.Locality = &place
	}
	s, err := local.New(cfg)
	if err != nil {
		return err
	}
	if err := s.Define(a.cfg.Services, a.cfg.Checks); err != nil {
		return err
	}
	a.local = s
	a.localState.Store(s)
	if err := a.group.OnStop("local services and checks", s.Stop); err != nil {
		return err
	}
	return s.Start()
}

// serversChanged tells the agent's own state that a server may have appeared.
func (a *Agent) serversChanged() {
	if s := a.localState.Load(); s != nil && len(a.servers.Servers()) > 0 {
		s.ServerAppeared()
	}
}

// nodeMeta is the configured meta and what clients expect to find besides.
func nodeMeta(c *config.Config) map[string]string {
	meta := map[string]string{"consul-network-segment": "", "consul-version": version.Consul}
	for k, v := range c.NodeMeta {
		meta[k] = v
	}
	return meta
}

// taggedAddresses names the node's addresses by network and IP version. What
// the configuration says wins.
func taggedAddresses(c *config.Config) map[string]string {
	m := map[string]string{"lan": cmp.Or(c.TaggedAddresses["lan"], c.AdvertiseAddr), "wan": cmp.Or(c.TaggedAddresses["wan"], c.AdvertiseAddrWAN)}
	for name, addr := range maps.Clone(m) {
		ip, err := netip.ParseAddr(addr)
		switch {
		case err != nil:
		case ip.Is4():
			m[name+"_ipv4"] = addr
		default:
			m[name+"_ipv6"] = addr
		}
	}
	for name, addr := range map[string]string{"lan_ipv4": c.AdvertiseAddrIPv4, "lan_ipv6": c.AdvertiseAddrIPv6,
		"wan_ipv4": c.AdvertiseAddrWANIPv4, "wan_ipv6": c.AdvertiseAddrWANIPv6} {
		if addr != "" {
			m[name] = addr
		}
	}
	maps.Copy(m, c.TaggedAddresses)
	return m
}

// Local is this agent's own services and checks.
func (a *Agent) Local() *local.State { return a.local }

// LANMembers lists the members of the datacenter's pool.
func (a *Agent) LANMembers() []gossip.Member { return a.lan.Members() }

// DistanceTo is the round trip to another datacenter: the median over its
// servers, measured or estimated. It is false on client agents and while it is
// unknown.
func (a *Agent) DistanceTo(datacenter string) (time.Duration, bool) {
	if a.server == nil || a.server.router == nil {
		return 0, false
	}
	return a.server.router.Distance(datacenter)
}

package agent

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/legate-project/legate/agent/watches"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
)

// Stats are what `info` shows: sections of key and value, under the names
// that scripts know.
func (a *Agent) Stats() map[string]map[string]string {
	run, reported := a.local.Counts()
	stats := map[string]map[string]string{
		"agent": {
			"check_monitors": strconv.Itoa(run), "check_ttls": strconv.Itoa(reported),
			"checks": strconv.Itoa(len(a.local.Checks())), "services": strconv.Itoa(len(a.local.Services())),
		},
		"build":    {"version": version.Consul, "legate_version": a.opts.Version, "version_metadata": "", "prerelease": "", "revision": version.Revision()},
		"runtime":  runtimeStats(),
		"serf_lan": a.lan.Stats(),
	}
	acl := "disabled"
	if a.cfg.ACL.Enabled {
		acl = "enabled"
	}
	if a.server == nil {
		stats["consul"] = map[string]string{"server": "false", "acl": acl, "known_servers": strconv.Itoa(len(a.servers.Servers()))}
		return stats
	}
	s := a.server
	id, addr := s.raft.Leader()
	stats["consul"] = map[string]string{
		"server": "true", "acl": acl, "bootstrap": strconv.FormatBool(a.cfg.Bootstrap || a.cfg.DevMode),
		"leader": strconv.FormatBool(id == a.id), "leader_addr": addr, "known_datacenters": "1",
	}
	stats["raft"] = s.raft.Stats()
	if s.wan != nil {
		stats["serf_wan"] = s.wan.Stats()
		stats["consul"]["known_datacenters"] = strconv.Itoa(1 + len(s.router.Datacenters()))
	}
	return stats
}

func runtimeStats() map[string]string {
	return map[string]string{
		"os": runtime.GOOS, "arch": runtime.GOARCH, "version": runtime.Version(),
		"max_procs": strconv.Itoa(runtime.GOMAXPROCS(0)), "goroutines": strconv.Itoa(runtime.NumGoroutine()), "cpu_count": strconv.Itoa(runtime.NumCPU()),
	}
}

// buildDate is the time of the commit that this was built from, as clients
// read it; empty if it is not known.
func buildDate() string {
	if d := version.Date(); !d.IsZero() {
		return d.Format(time.RFC3339)
	}
	return ""
}

// Reload applies what can change while the agent runs: services and checks
// from files, the node's metadata, certificates, dns_config, tokens and the log
// level. If one
// of them is not valid, nothing changes.
func (a *Agent) Reload(cfg *config.Config) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	logLevel, err := logging.ParseLevel(cfg.LogLevel)
	if err != nil {
		return fmt.Errorf("reload log_level: %w", err)
	}
	s := a.localState.Load()
	if s == nil {
		return errors.New("reload: the agent is still starting")
	}
	handlers, err := watches.Parse(cfg.Watches)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	useCertificates, err := a.certs.Prepare(cfg.TLS)
	if err != nil {
		return fmt.Errorf("reload the certificates:\n%w", err)
	}
	if err := a.filterMetrics(&cfg.Telemetry); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	if err := s.Define(cfg.Services, cfg.Checks); err != nil {
		return fmt.Errorf("reload services and checks: %w", err)
	}
	if err := a.setWatches(handlers); err != nil {
		return fmt.Errorf("reload watches: %w", err)
	}
	if dns := a.dns.Load(); dns != nil {
		if err := dns.Reload(cfg.DNSConfig, cfg.Recursors); err != nil {
			return fmt.Errorf("reload: %w", err)
		}
	}
	now := *a.live.Load()
	now.Recursors, now.TLS = cfg.Recursors, cfg.TLS
	useCertificates()
	now.NodeMeta, now.DNSConfig, now.ACL.Tokens, now.LogLevel, now.EnableDebug = cfg.NodeMeta, cfg.DNSConfig, cfg.ACL.Tokens, cfg.LogLevel, cfg.EnableDebug
	now.Services, now.Checks, now.Watches, now.DiscardCheckOutput = cfg.Services, cfg.Checks, cfg.Watches, cfg.DiscardCheckOutput
	now.DiscoveryMaxStale = cfg.DiscoveryMaxStale
	kv, txn, https := now.Limits.KVMaxValueSize, now.Limits.TxnMaxReqLen, now.Limits.HTTPSHandshakeTimeout // these take a restart
	now.Limits = cfg.Limits
	now.Limits.KVMaxValueSize, now.Limits.TxnMaxReqLen, now.Limits.HTTPSHandshakeTimeout = kv, txn, https
	a.limits.Set(cfg.Limits)
	if a.server != nil {
		a.server.server.SetRates(requestRates(cfg))
	}
	now.Telemetry.FilterDefault, now.Telemetry.PrefixFilter = cfg.Telemetry.FilterDefault, cfg.Telemetry.PrefixFilter
	now.FeatureLevel = cfg.FeatureLevel
	a.live.Store(&now)
	a.tokens.configure(&now)
	s.SetNodeMeta(nodeMeta(&now))
	s.SetDiscardOutput(now.DiscardCheckOutput)
	if a.opts.Level != nil {
		a.opts.Level.Set(logLevel)
	}
	if a.server != nil {
		if err := a.server.show(func(self *lan.Server) { self.Level = a.server.server.Level(cfg.FeatureLevel) }); err != nil {
			return fmt.Errorf("reload feature_level: tell the datacenter: %w", err)
		}
	}
	a.log.Info("configuration reloaded")
	return nil
}

// Leads reports whether this agent is its datacenter's leader and may answer
// as such.
func (a *Agent) Leads() bool { return a.server != nil && a.server.server.Leads() }

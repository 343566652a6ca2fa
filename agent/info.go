package agent

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/logging"
)

// Stats are what `info` shows: sections of key and value, under the names
// that scripts know.
func (a *Agent) Stats() map[string]map[string]string {
	stats := map[string]map[string]string{
		"agent": {
			"check_monitors": "0", "check_ttls": "0",
			"checks": strconv.Itoa(len(a.local.Checks())), "services": strconv.Itoa(len(a.local.Services())),
		},
		"build":    {"version": compatibleBuild, "legate_version": a.opts.Version, "prerelease": "", "revision": revision()},
		"runtime":  runtimeStats(),
		"serf_lan": a.lan.Stats(),
	}
	if a.server == nil {
		stats["consul"] = map[string]string{"server": "false", "known_servers": strconv.Itoa(len(a.known.Servers()))}
		return stats
	}
	s := a.server
	id, addr := s.raft.Leader()
	stats["consul"] = map[string]string{
		"server": "true", "bootstrap": strconv.FormatBool(a.cfg.Bootstrap || a.cfg.DevMode),
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

// revision is the commit of this build, if the build knows it.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

// Reload applies what can change while the agent runs: services and checks
// from files, and the log level.
func (a *Agent) Reload(cfg *config.Config) error {
	if err := a.local.Define(cfg.Services, cfg.Checks); err != nil {
		return fmt.Errorf("reload services and checks: %w", err)
	}
	if a.opts.Level != nil {
		level, err := logging.ParseLevel(cfg.LogLevel)
		if err != nil {
			return err
		}
		a.opts.Level.Set(level)
	}
	a.log.Info("configuration reloaded")
	return nil
}

// Leads reports whether this agent is its datacenter's leader and may answer
// as such.
func (a *Agent) Leads() bool { return a.server != nil && a.server.server.Leads() }

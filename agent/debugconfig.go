package agent

import (
	"net"
	"strconv"
	"strings"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/version"
)

// secretShown stands for a secret that is set, as in config.Settings.
const secretShown = "hidden"

// debugConfig is the configuration by its own keys and, beside those, by the
// names that Consul has for it at run time: addresses with their network,
// durations as text, nothing secret.
func (a *Agent) debugConfig() map[string]any {
	c := a.live.Load()
	all := c.Settings()
	for _, known := range []map[string]any{a.debugIdentity(c), a.debugAddresses(c), debugGossip(c), debugInterfaces(c), debugProcess(c)} {
		for name, v := range known {
			all[name] = v
		}
	}
	return all
}

// debugIdentity is who this agent is.
func (a *Agent) debugIdentity(c *config.Config) map[string]any {
	return map[string]any{
		"NodeName": c.NodeName, "NodeID": a.id, "Datacenter": c.Datacenter, "PrimaryDatacenter": orElse(c.PrimaryDatacenter, c.Datacenter),
		"NodeMeta": nodeMeta(c), "TaggedAddresses": taggedAddresses(c), "DisableHostNodeID": c.DisableHostNodeID,
		"DataDir": c.DataDir, "DevMode": c.DevMode, "ServerMode": c.Server, "Bootstrap": c.Bootstrap, "BootstrapExpect": c.BootstrapExpect,
		"ReadReplica": c.ReadReplica, "Version": version.Consul, "VersionPrerelease": "", "VersionMetadata": "",
		"Revision": version.Revision(), "BuildDate": buildDate(),
		"ACLsEnabled": c.ACL.Enabled, "ACLTokenReplication": c.ACL.EnableTokenReplication, "ACLEnableKeyListPolicy": c.ACL.EnableKeyListPolicy,
		"ConnectEnabled": false, "PeeringEnabled": false, "SegmentName": "", "PartitionName": "",
	}
}

// debugAddresses is where others find this agent.
func (a *Agent) debugAddresses(c *config.Config) map[string]any {
	lan, wan := orElse(c.SerfLANBind, c.BindAddr), orElse(c.SerfWANBind, c.BindAddr)
	return map[string]any{
		"AdvertiseAddrLAN": c.AdvertiseAddr, "AdvertiseAddrWAN": c.AdvertiseAddrWAN, "BindAddr": c.BindAddr, "ClientAddrs": c.ClientAddrs,
		"ServerPort": c.Ports.Server, "SerfPortLAN": c.Ports.SerfLAN, "SerfPortWAN": c.Ports.SerfWAN,
		"RPCAdvertiseAddr": overTCP(c.AdvertiseAddr, c.Ports.Server), "RPCBindAddr": overTCP(c.BindAddr, c.Ports.Server),
		"SerfAdvertiseAddrLAN": overTCP(c.AdvertiseAddr, c.Ports.SerfLAN), "SerfAdvertiseAddrWAN": overTCP(c.AdvertiseAddrWAN, c.Ports.SerfWAN),
		"SerfBindAddrLAN": overTCP(lan, c.Ports.SerfLAN), "SerfBindAddrWAN": overTCP(wan, c.Ports.SerfWAN),
		"SerfAllowedCIDRsLAN": c.SerfLANAllowedCIDRs, "SerfAllowedCIDRsWAN": c.SerfWANAllowedCIDRs,
		"TranslateWANAddrs": c.TranslateWANAddrs,
	}
}

// overTCP is an address with its network; empty where the port is off.
func overTCP(host string, port int) string {
	if port < 0 {
		return ""
	}
	return "tcp://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// debugGossip is how this agent joins, leaves and hears of others.
func debugGossip(c *config.Config) map[string]any {
	key := map[bool]string{true: secretShown}
	return map[string]any{
		"RetryJoinLAN": config.JoinEntriesToShow(c.RetryJoin), "RetryJoinIntervalLAN": c.RetryInterval.String(), "RetryJoinMaxAttemptsLAN": c.RetryMax,
		"RetryJoinWAN": config.JoinEntriesToShow(c.RetryJoinWAN), "RetryJoinIntervalWAN": c.RetryIntervalWAN.String(), "RetryJoinMaxAttemptsWAN": c.RetryMaxWAN,
		"ReconnectTimeoutLAN": c.ReconnectTimeoutLAN.String(), "ReconnectTimeoutWAN": c.ReconnectTimeoutWAN.String(),
		"RejoinAfterLeave": c.RejoinAfterLeave, "LeaveOnTerm": c.LeaveOnTerminate, "SkipLeaveOnInt": c.SkipLeaveOnInterrupt,
		"LeaveDrainTime": c.Performance.LeaveDrainTime.String(), "RPCHoldTimeout": c.Performance.RPCHoldTimeout.String(),
		"EncryptKey": key[len(c.EncryptKey) > 0], "EncryptWANKey": key[len(c.EncryptWANKey) > 0], "EncryptVerifyIncoming": c.EncryptVerifyIncoming, "EncryptVerifyOutgoing": c.EncryptVerifyOutgoing,
		"RPCProtocol": c.Protocol, "RaftProtocol": c.RaftProtocol, "RaftSnapshotInterval": c.RaftSnapshotInterval.String(),
		"RaftSnapshotThreshold": c.RaftSnapshotThreshold, "RaftTrailingLogs": c.RaftTrailingLogs, "RaftMultiplier": c.Performance.RaftMultiplier,
		"DisableCoordinates": c.DisableCoordinates, "DisableRemoteExec": c.DisableRemoteExec, "DisableKeyringFile": c.DisableKeyringFile,
	}
}

// debugInterfaces is what this agent answers, and where.
func debugInterfaces(c *config.Config) map[string]any {
	return map[string]any{
		"DNSPort": c.Ports.DNS, "DNSAddrs": withNetwork(c.DNSAddrs(), "tcp://", "udp://"), "DNSDomain": c.Domain, "DNSAltDomain": c.AltDomain,
		"DNSRecursors": c.Recursors, "DNSRecursorTimeout": c.DNSConfig.RecursorTimeout.String(), "DNSNodeTTL": c.DNSConfig.NodeTTL.String(),
		"DNSOnlyPassing": c.DNSConfig.OnlyPassing, "DNSAllowStale": c.DNSConfig.AllowStale, "DNSMaxStale": c.DNSConfig.MaxStale.String(),
		"DNSEnableTruncate": c.DNSConfig.EnableTruncate, "DNSUDPAnswerLimit": c.DNSConfig.UDPAnswerLimit, "DNSARecordLimit": c.DNSConfig.ARecordLimit,
		"HTTPPort": c.Ports.HTTP, "HTTPAddrs": withNetwork(c.HTTPAddrs(), "tcp://"), "HTTPSPort": c.Ports.HTTPS, "HTTPSAddrs": withNetwork(c.HTTPSAddrs(), "tcp://"),
		"GRPCPort": -1, "GRPCAddrs": []string{}, "GRPCTLSPort": -1, "GRPCTLSAddrs": []string{},
		"HTTPBlockEndpoints": c.HTTPConfig.BlockEndpoints, "HTTPUseCache": c.HTTPConfig.UseCache, "HTTPMaxConnsPerClient": c.Limits.HTTPMaxConnsPerClient,
		"AllowWriteHTTPFrom": c.HTTPConfig.AllowWriteHTTPFrom, "DefaultQueryTime": c.DefaultQueryTime.String(), "MaxQueryTime": c.MaxQueryTime.String(),
		"DiscoveryMaxStale": c.DiscoveryMaxStale.String(), "KVMaxValueSize": c.Limits.KVMaxValueSize, "TxnMaxReqLen": c.Limits.TxnMaxReqLen,
		"SessionTTLMin": c.SessionTTLMin.String(), "EnableUI": c.UIConfig.Enabled, "EnableDebug": c.EnableDebug,
		"CheckUpdateInterval": c.CheckUpdateInterval.String(), "CheckOutputMaxSize": c.CheckOutputMaxSize, "DiscardCheckOutput": c.DiscardCheckOutput,
		"EnableLocalScriptChecks": c.EnableLocalScriptChecks, "EnableRemoteScriptChecks": c.EnableScriptChecks,
	}
}

// withNetwork lists each address once for each network; paths of Unix sockets
// have theirs already.
func withNetwork(addrs []string, networks ...string) []string {
	out := make([]string, 0, len(addrs)*len(networks))
	for _, addr := range addrs {
		if strings.HasPrefix(addr, "unix://") {
			out = append(out, addr)
			continue
		}
		for _, network := range networks {
			out = append(out, network+addr)
		}
	}
	return out
}

// debugProcess is the agent as a process: its log and its metrics.
func debugProcess(c *config.Config) map[string]any {
	return map[string]any{
		"Logging": map[string]any{
			"LogLevel": c.LogLevel, "LogJSON": c.LogJSON, "LogFilePath": c.LogFile, "LogRotateBytes": c.LogRotateBytes,
			"LogRotateDuration": c.LogRotateDuration.String(), "LogRotateMaxFiles": c.LogRotateMaxFiles,
			"EnableSyslog": c.EnableSyslog, "SyslogFacility": c.SyslogFacility,
		},
		"Telemetry": map[string]any{
			"Disable": false, "MetricsPrefix": c.Telemetry.MetricsPrefix, "DisableHostname": c.Telemetry.DisableHostname,
			"FilterDefault": c.Telemetry.FilterDefault, "AllowedPrefixes": prefixes(c.Telemetry.PrefixFilter, "+"), "BlockedPrefixes": prefixes(c.Telemetry.PrefixFilter, "-"),
			"StatsdAddr": c.Telemetry.StatsdAddr, "StatsiteAddr": c.Telemetry.StatsiteAddr, "DogstatsdAddr": c.Telemetry.DogstatsdAddr, "DogstatsdTags": c.Telemetry.DogstatsdTags,
		},
		"PidFile": c.PidFile, "AutoReloadConfig": c.AutoReloadConfig,
	}
}

// prefixes are those of the list that have the sign, without it.
func prefixes(list []string, sign string) []string {
	out := []string{}
	for _, p := range list {
		if rest, ok := strings.CutPrefix(p, sign); ok {
			out = append(out, rest)
		}
	}
	return out
}

package agentcmd

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/version"
)

// banner shows what is about to run, before the log begins.
func banner(w io.Writer, cfg *config.Config, id string) error {
	mode := "client"
	switch {
	case cfg.Server:
		mode = "server"
	case cfg.Gateway.Enabled:
		mode = "client, gateway between datacenters"
	}
	switch {
	case cfg.ReadReplica:
		mode += " (read replica: it never votes)"
	case cfg.Bootstrap:
		mode += " (bootstrap)"
	case cfg.BootstrapExpect > 0:
		mode += fmt.Sprintf(" (expects %d)", cfg.BootstrapExpect)
	}
	if cfg.DevMode {
		mode += ", for development: nothing is kept"
	}
	cluster := fmt.Sprintf("%s (LAN: %d", cfg.AdvertiseAddr, cfg.Ports.SerfLAN)
	if cfg.Server {
		cluster += fmt.Sprintf(", WAN: %d, server: %d", cfg.Ports.SerfWAN, cfg.Ports.Server)
	} else if cfg.Gateway.Enabled {
		cluster += fmt.Sprintf(", WAN: %d", cfg.Ports.SerfWAN)
	}
	lines := [][2]string{
		{"Version", version.Release()},
		{"Node name", cfg.NodeName},
		{"Node ID", id},
		{"Datacenter", cfg.Datacenter + " of federation " + cfg.Federation.Name},
		{"Mode", mode},
		{"Client addresses", fmt.Sprintf("%v (HTTP: %d, HTTPS: %d, DNS: %d)", cfg.ClientAddrs, cfg.Ports.HTTP, cfg.Ports.HTTPS, cfg.Ports.DNS)},
		{"Cluster address", cluster + ")"},
		{"Others reach it", reached(cfg)},
		{"Gossip encryption", onOff(encrypted(cfg))},
		{"TLS", tlsText(cfg)},
	}
	var b strings.Builder
	b.WriteString("==> Starting Legate agent\n")
	for _, line := range lines {
		if line[1] == "" {
			continue
		}
		fmt.Fprintf(&b, "%20s: %s\n", line[0], line[1])
	}
	b.WriteString("\n==> The log follows\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// reached says where agents of other datacenters reach this one, if that is not at its cluster
// address.
func reached(cfg *config.Config) string {
	switch {
	case cfg.Server && cfg.Federation.Reach == config.ReachGateways && len(cfg.Federation.Gateways) > 0:
		return "through gateways: " + strings.Join(cfg.Federation.Gateways, ", ")
	case cfg.Server && cfg.Federation.Reach == config.ReachGateways:
		return "through gateways of its datacenter"
	case (cfg.Server || cfg.Gateway.Enabled) && cfg.AdvertiseAddrWAN != cfg.AdvertiseAddr:
		return "at " + net.JoinHostPort(cfg.AdvertiseAddrWAN, strconv.Itoa(cfg.Ports.SerfWAN))
	}
	return ""
}

// encrypted tells whether there is a gossip key: a configured one, or those that are
// kept.
func encrypted(cfg *config.Config) bool {
	if len(cfg.EncryptKey) > 0 || cfg.DevMode || cfg.DisableKeyringFile || cfg.DataDir == "" {
		return len(cfg.EncryptKey) > 0
	}
	_, err := os.Stat(filepath.Join(cfg.DataDir, "serf", "local.keyring"))
	return err == nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// tlsText says what secures connections between agents.
func tlsText(cfg *config.Config) string {
	switch {
	case cfg.TLS.InternalRPC.CertFile != "":
		return "certificates from files"
	case encrypted(cfg):
		return "certificates derived from the gossip key"
	}
	return "self-signed certificates, identities are not checked"
}

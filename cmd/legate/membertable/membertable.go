// Package membertable writes the members of a gossip pool as operators know them.
package membertable

import (
	"net"
	"sort"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Addr is where a member gossips, host:port.
func Addr(m *api.AgentMember) string {
	return net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port)))
}

// Row is the line about a member, cell by cell.
func Row(m *api.AgentMember) []string {
	kind, segment := "unknown", m.Tags["segment"]
	switch m.Tags["role"] {
	case "node":
		kind = "client"
		if segment == "" {
			segment = "<default>"
		}
	case "consul":
		kind, segment = "server", "<all>"
	}
	build, _, _ := strings.Cut(m.Tags["build"], ":")
	partition := m.Tags["ap"]
	if partition == "" {
		partition = "default"
	}
	return []string{m.Name, Addr(m), Status(m.Status), kind, build, m.Tags["vsn"], m.Tags["dc"], partition, segment}
}

// Status names a status by the numbers of the API.
func Status(status int) string {
	names := []string{"none", "alive", "leaving", "left", "failed"}
	if status < 0 || status >= len(names) {
		return "unknown(" + strconv.Itoa(status) + ")"
	}
	return names[status]
}

// Tags are the tags of a member, in order.
func Tags(tags map[string]string) string {
	pairs := make([]string, 0, len(tags))
	for key, value := range tags {
		pairs = append(pairs, key+"="+value)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

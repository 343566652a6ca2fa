package clustercmd

import (
	"net"
	"sort"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"
)

// memberAddr is where a member gossips, host:port.
func memberAddr(m *api.AgentMember) string {
	return net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port)))
}

// memberRow is the line about a member, cell by cell.
func memberRow(m *api.AgentMember) []string {
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
	return []string{m.Name, memberAddr(m), memberStatus(m.Status), kind, build, m.Tags["vsn"], m.Tags["dc"], partition, segment}
}

// memberStatus names a status by the numbers of the API.
func memberStatus(status int) string {
	names := []string{"none", "alive", "leaving", "left", "failed"}
	if status < 0 || status >= len(names) {
		return "unknown(" + strconv.Itoa(status) + ")"
	}
	return names[status]
}

// memberTags are the tags of a member, in order.
func memberTags(tags map[string]string) string {
	pairs := make([]string, 0, len(tags))
	for key, value := range tags {
		pairs = append(pairs, key+"="+value)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

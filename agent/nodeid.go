package agent

import (
	"crypto/sha512"
	"os"
	"strings"

	"github.com/google/uuid"
)

// freshID is the ID of a node that has none yet: random or, if the configuration
// says so, of the host.
func (a *Agent) freshID() string {
	if a.cfg.DisableHostNodeID {
		return uuid.NewString()
	}
	if id, ok := hostNodeID(hostIDFiles()); ok {
		return id
	}
	a.log.Warn("the host has no ID of its own: the node ID is chosen at random (disable_host_node_id)")
	return uuid.NewString()
}

// hostIDFiles hold what stays the same as long as the host does: the ID of the
// machine, then that of the system which was installed on it.
func hostIDFiles() []string {
	return []string{"/sys/class/dmi/id/product_uuid", "/etc/machine-id", "/var/lib/dbus/machine-id"}
}

// hostNodeID makes a UUID out of the first of the files that holds anything. It
// does not show what that is, which others may rely on to be secret.
func hostNodeID(files []string) (string, bool) {
	for _, file := range files {
		b, err := os.ReadFile(file)
		text := strings.ToLower(strings.TrimSpace(string(b)))
		if err != nil || text == "" {
			continue
		}
		sum := sha512.Sum512([]byte("legate node ID v1 " + text))
		id := uuid.UUID(sum[:16])
		id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8 of RFC 9562: of one's own making
		return id.String(), true
	}
	return "", false
}

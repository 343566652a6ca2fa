//go:build linux

package e2e

import (
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// idleMemory is the most resident memory that an agent with nothing to do may
// hold, in bytes. A server has some 49 MiB, of which 40 are pages of the program's
// file. Of a file that was just written the kernel would map 10 MiB more.
const idleMemory = 60 << 20

func TestIdleAgentsAreSmall(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	server := start(t, spec{host: h, name: "server", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip}})
	proctest.Until(t, patience, "the agents work", func() error { return client.put("k", "v", "") })
	for range 5 * time.Second / (500 * time.Millisecond) {
		<-time.After(500 * time.Millisecond)
		for _, n := range []*node{server, client} {
			if now, _, err := n.Memory(); err != nil || now > idleMemory {
				t.Errorf("%s holds %d MiB, at most %d are allowed (%v)", n.name, now>>20, idleMemory>>20, err)
				return
			}
		}
	}
	for _, n := range []*node{server, client} {
		now, peak, err := n.Memory()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f MiB resident, %.1f MiB at most", n.name, float64(now)/(1<<20), float64(peak)/(1<<20))
	}
}

//go:build linux

package proctest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	netnsDir    = "/run/netns"
	netnsPrefix = "legate-"
	dialTimeout = 5 * time.Second
)

// Host is a network namespace, or the machine itself. Processes on different
// hosts reach each other through the network between them only.
type Host struct {
	Name   string
	netns  string   // its file name below netnsDir; empty is the machine itself
	second byte     // second byte of its loopback addresses
	cables []string // names of its interfaces
}

// Machine is the host that the test itself runs on.
func Machine() *Host { return &Host{Name: "machine"} }

// Loopback returns a host whose loopback addresses no other test uses: a
// network of its own for root, a free range of the machine's for others.
func Loopback(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() == 0 {
		h := NewFabric(t).namespace("lo")
		h.second = 77
		return h
	}
	const first, last, guard = 130, 200, "7999" // a port that no agent uses
	for second := byte(first); second < last; second++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:%s", second, guard))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
		return &Host{Name: "machine", second: second}
	}
	t.Fatal("no free range of loopback addresses")
	return nil
}

// Addr returns a loopback address of this host, 127.x.i.j.
func (h *Host) Addr(i, j int) string { return fmt.Sprintf("127.%d.%d.%d", h.second, i, j) }

// Inside calls do on a thread that is inside the host's network: sockets that
// it opens and processes that it starts belong there. do must not start
// goroutines that open sockets.
func (h *Host) Inside(do func() error) (err error) {
	if h.netns == "" {
		return do()
	}
	// A thread that stays in a foreign network must not be used again, so it is
	// not unlocked then, and ends with its goroutine.
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	away, err := os.Open(filepath.Join(netnsDir, h.netns))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of %s: %w", h.Name, err)
	}
	defer func() {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("come back from the network of %s: %w", h.Name, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return do()
}

// DialContext connects from the host; for http.Transport. The address is an IP
// address and a port.
func (h *Host) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: dialTimeout}
	err = h.Inside(func() error {
		var err error
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Transport returns what HTTP clients need to ask from this host.
func (h *Host) Transport() *http.Transport {
	return &http.Transport{DialContext: h.DialContext, MaxIdleConnsPerHost: 2}
}

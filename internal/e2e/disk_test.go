//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// smallDisk is a folder that is a disk of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("legate-e2e", dir, "tmpfs", 0, "size=64m"); err != nil {
		if errors.Is(err, syscall.EPERM) && os.Getenv("CI") != "true" {
			t.Skipf("making small disks takes the right to mount: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all room of a disk with one file.
func fill(t *testing.T, disk string) (file string) {
	t.Helper()
	file = filepath.Join(disk, "ballast")
	f, err := os.Create(file)
	must(t, "make a file", err)
	defer f.Close()
	const most = 64 << 20
	for _, size := range []int{1 << 16, 1 << 12} {
		for block, n := make([]byte, size), 0; n < most; n += size {
			if _, err := f.Write(block); err != nil {
				break // it is full
			}
		}
	}
	return file
}

// TestDisksAreFull: a server whose disk is full ends with exit code 1 and names the file,
// does not start before there is room, and then has everything. With two such servers of three
// writes fail, and what is there is read. A client agent whose disk is full goes on, and keeps
// no new definitions.
func TestDisksAreFull(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	lan := []string{h.Addr(1, 1), h.Addr(1, 2), h.Addr(1, 3)}
	config := map[string]any{"performance": map[string]any{"raft_multiplier": 1, "rpc_hold_timeout": "500ms"}}
	servers, disks, ballast := make([]*node, 3), make([]string, 3), make([]string, 3)
	for i := range servers {
		disks[i] = smallDisk(t)
		servers[i] = start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: lan[i], expect: 3, lan: lan, dir: filepath.Join(disks[i], "data"), config: config})
	}
	disk := smallDisk(t)
	agent := start(t, spec{host: h, name: "agent", dc: "dc1", ip: h.Addr(1, 9), lan: lan, dir: filepath.Join(disk, "data"), config: config})
	proctest.Until(t, patience, "a client agent writes", func() error { return agent.put("k", "v", "") })

	full := fill(t, disk)
	web := &api.AgentServiceRegistration{Name: "web", Port: 80}
	if err := agent.client.Agent().ServiceRegister(web); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("a registration on a full disk: %v", err)
	}
	must(t, "write through it", agent.put("k", "v", ""))
	must(t, "make room", os.Remove(full))
	must(t, "register", agent.client.Agent().ServiceRegister(web))

	for i := range 2 {
		ballast[i] = fill(t, disks[i])
	}
	bulk := strings.Repeat("x", 256<<10)
	for i := 0; i < 200 && !(servers[0].Exited() && servers[1].Exited()); i++ { // the log has reserved room that it uses first
		_ = servers[2].put("bulk", bulk, "") // without a majority it fails
	}
	for _, n := range servers[:2] {
		if code := n.WaitExit(patience); code != 1 {
			t.Errorf("%s ends with exit code %d", n.name, code)
		}
		contains(t, n.name, n.Tail(4), "the disk has failed", n.dir, "no space left on device")
		calm(t, n.name, n.String())
	}
	if err := servers[2].put("k", "late", ""); err == nil {
		t.Error("one of three writes")
	}
	if pair, _, err := servers[2].client.KV().Get("k", &api.QueryOptions{AllowStale: true}); err != nil || pair == nil || string(pair.Value) != "v" {
		t.Errorf("a stale read: %v, %v", pair, err)
	}

	servers[0].launch()
	if code := servers[0].WaitExit(patience); code != 1 {
		t.Errorf("a start on a full disk ends with exit code %d", code)
	}
	contains(t, "the start", servers[0].Tail(4), "no space left on device")
	for i, n := range servers[:2] {
		must(t, "make room", os.Remove(ballast[i]))
		n.start()
	}
	took := proctest.Until(t, patience, "all have everything and write", func() error {
		var errs []error
		for _, n := range servers {
			errs = append(errs, n.get("k", "v", ""), n.put("room", "v", ""))
		}
		return errors.Join(errs...)
	})
	t.Logf("they write %s after there is room", took)
}

//go:build linux

package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "grafana" {
		os.Exit(standIn())
	}
	os.Exit(proctest.Main(m, "github.com/legate-project/legate/cmd/legate"))
}

const (
	// patience is how long anything may take that has no tighter promise.
	patience = 60 * time.Second
	// key is the federation's.
	key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	// foreign is the key of who does not belong to it.
	foreign = "Zm9yZWlnbmZvcmVpZ25mb3JlaWduZm9yZWlnbmZvcmU="
)

// node is an agent on a host of its own.
type node struct {
	*proctest.Process
	host     *proctest.Host
	name, dc string
	ip       string
	args     []string
	disk     *disk // nil: the machine's
}

func (n *node) url(path string) string { return "http://" + n.ip + ":8500" + path }

// federation is datacenters, each behind a switch, with a router between them,
// and the host of those who ask and watch, which is in all datacenters.
type federation struct {
	t       testing.TB
	fabric  *proctest.Fabric
	router  *proctest.Host
	watch   *proctest.Host
	lans    []*proctest.Switch
	servers []*node // of dc1
	clients []*node // of dc1
	others  []*node // one server of each other datacenter
	http    *http.Client
}

// size says how large a federation is.
type size struct {
	others, clients int
	disks           bool // servers of dc1 have disks of their own
}

func subnet(dc int) string { return fmt.Sprintf("10.8.%d.", dc+1) }

func newFederation(t testing.TB, s size) *federation {
	t.Helper()
	if os.Getenv("CI") == "true" && os.Geteuid() != 0 {
		t.Fatal("building networks takes root")
	}
	f := &federation{t: t, fabric: proctest.NewFabric(t)}
	var routed, watching []proctest.Leg
	for dc := range s.others + 1 {
		lan := f.fabric.Switch(fmt.Sprintf("lan%d", dc+1))
		f.lans = append(f.lans, lan)
		routed = append(routed, proctest.Leg{Switch: lan, CIDR: subnet(dc) + "254/24"})
		watching = append(watching, proctest.Leg{Switch: lan, CIDR: subnet(dc) + "250/24"})
	}
	f.router, f.watch = f.fabric.Router("router", routed...), f.fabric.Router("watch", watching...)
	transport := f.watch.Transport()
	transport.MaxIdleConnsPerHost = 16
	t.Cleanup(transport.CloseIdleConnections)
	f.http = &http.Client{Transport: transport, Timeout: 15 * time.Second}

	var lan []string
	for i := range 3 {
		lan = append(lan, fmt.Sprintf("-retry-join=%s%d", subnet(0), i+1))
	}
	for i := range 3 {
		n := f.node(0, fmt.Sprintf("s%d", i+1), i+1, append(lan, "-server", "-bootstrap-expect=3")...)
		if s.disks {
			n.disk = newDisk(t)
			n.args = append(n.args, "-data-dir="+n.disk.dir)
		}
		f.servers = append(f.servers, n)
	}
	for i := range s.clients {
		f.clients = append(f.clients, f.node(0, fmt.Sprintf("c%d", i+1), i+11, lan...))
	}
	for i := range s.others {
		f.others = append(f.others, f.node(i+1, "s1", 1, "-server", "-bootstrap-expect=1", "-retry-join-wan="+f.servers[0].ip, "-retry-join-wan="+f.servers[1].ip))
	}
	for _, n := range f.nodes() {
		f.start(n)
	}
	return f
}

func (f *federation) node(dc int, name string, host int, args ...string) *node {
	f.t.Helper()
	n := &node{name: name, dc: fmt.Sprintf("dc%d", dc+1), ip: fmt.Sprintf("%s%d", subnet(dc), host)}
	n.host = f.lans[dc].Host(n.dc+name, n.ip+"/24", subnet(dc)+"254")
	dir := f.t.TempDir()
	conf, err := json.Marshal(map[string]any{
		"performance": map[string]any{"raft_multiplier": 1},
		"recursors":   []string{subnet(dc) + "250"}, "dns_config": map[string]any{"recursor_timeout": "500ms"},
		// Failures and their ends are known in seconds.
		"gossip_wan":      map[string]any{"probe_interval": "1s", "probe_timeout": "500ms", "suspicion_mult": 3},
		"session_ttl_min": "1s", "retry_interval": "1s", "retry_interval_wan": "1s", "leave_on_terminate": false,
		"rejoin_after_leave": true,
		"primary_datacenter": "dc1", "acl": map[string]any{"enabled": true, "default_policy": "allow"},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	file := filepath.Join(dir, "agent.json")
	write(f.t, file, string(conf))
	n.args = append([]string{"agent", "-config-file=" + file, "-data-dir=" + filepath.Join(dir, "data"), "-node=" + name, "-dc=" + n.dc,
		"-bind=" + n.ip, "-client=" + n.ip, "-encrypt=" + key, "-retry-interval=1s", "-retry-interval-wan=1s"}, args...)
	return n
}

// nodes are all agents.
func (f *federation) nodes() (all []*node) {
	return append(append(append(all, f.servers...), f.clients...), f.others...)
}

// targets are the agents as Prometheus is told of them.
func (f *federation) targets() (out []target) {
	for _, n := range f.nodes() {
		out = append(out, target{[]string{n.ip + ":8500"}, map[string]string{"dc": n.dc, "node": n.name, "__metrics_path__": "/metrics"}})
	}
	return out
}

func (f *federation) start(n *node) {
	f.t.Helper()
	n.Process = proctest.Start(f.t, n.host, n.dc+" "+n.name, n.args...)
}

// restart starts it again if it is gone.
func (f *federation) restart(n *node) {
	f.t.Helper()
	if n.Exited() {
		f.start(n)
	}
}

// ask asks an agent and returns the body of an answer of 200.
func (f *federation) ask(ctx context.Context, method, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := f.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, res.Status, b)
	}
	return string(b), err
}

// must asks until it works.
func (f *federation) must(method, url, body string) (answer string) {
	f.t.Helper()
	proctest.Until(f.t, patience, method+" "+url, func() (err error) {
		answer, err = f.ask(f.t.Context(), method, url, body)
		return err
	})
	return answer
}

// whole waits until every agent takes a write for every datacenter.
func (f *federation) whole() {
	f.t.Helper()
	for _, n := range f.nodes() {
		for _, to := range append([]*node{f.servers[0]}, f.others...) {
			f.must(http.MethodPut, n.url("/v1/kv/whole/"+n.name+n.dc+"?dc="+to.dc), "x")
		}
	}
}

// leader returns the server of dc1 that leads, as most say.
func (f *federation) leader() (found *node) {
	f.t.Helper()
	proctest.Until(f.t, patience, "a leader that most agree on", func() error {
		votes := map[string]int{}
		for _, n := range f.servers {
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
			if addr, err := f.ask(ctx, http.MethodGet, n.url("/v1/status/leader"), ""); err == nil {
				votes[strings.Trim(strings.TrimSpace(addr), `"`)]++
			}
			cancel()
		}
		for _, n := range f.servers {
			if votes[n.ip+":8300"] >= 2 && !n.Exited() {
				found = n
				return nil
			}
		}
		return fmt.Errorf("the servers say %v", votes)
	})
	return found
}

// follower returns a server of dc1 that does not lead.
func (f *federation) follower() *node {
	f.t.Helper()
	leader := f.leader()
	for _, n := range f.servers {
		if n != leader {
			return n
		}
	}
	return nil
}

// between makes the router treat packets between datacenters by rules of nft.
func (f *federation) between(rules ...string) {
	f.t.Helper()
	f.fabric.Firewall(f.router, "table inet filter {\nchain forward {\ntype filter hook forward priority 0; policy accept;\n"+strings.Join(rules, "\n")+"\n}\n}\n")
}

// cut parts a datacenter, by number, from the others.
func (f *federation) cut(dc int) {
	f.t.Helper()
	f.between(fmt.Sprintf("ip saddr %s0/24 drop", subnet(dc)), fmt.Sprintf("ip daddr %s0/24 drop", subnet(dc)))
}

// deafen makes an agent hear nothing from other agents; the host that watches
// still reaches it.
func (f *federation) deafen(n *node, from string) {
	f.t.Helper()
	f.fabric.Firewall(n.host, "table inet filter {\nchain input {\ntype filter hook input priority 0; policy accept;\nip saddr "+from+" drop\n}\n}\n")
}

// heal ends every fault.
func (f *federation) heal() {
	f.t.Helper()
	f.between()
	for _, n := range f.nodes() {
		f.fabric.Firewall(n.host, "")
		n.Signal(syscall.SIGCONT)
		f.restart(n)
	}
}

// disk is a small disk that can be made to stand still.
type disk struct {
	t     testing.TB
	mount string
	dir   string // for data
}

// Requests of Linux to stop and let go writes of a file system (linux/fs.h).
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

func newDisk(t testing.TB) *disk {
	t.Helper()
	const bytes = 1 << 30 // of which only what is written takes room
	at := t.TempDir()
	image, mount := filepath.Join(at, "image"), filepath.Join(at, "disk")
	file, err := os.Create(image)
	if err == nil {
		err = errors.Join(file.Truncate(bytes), file.Close(), os.Mkdir(mount, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	proctest.Tool(t, proctest.Machine(), "", "mkfs.ext4", "-q", image)
	proctest.Tool(t, proctest.Machine(), "", "mount", "-o", "loop", image, mount)
	d := &disk{t: t, mount: mount, dir: filepath.Join(mount, "data")}
	t.Cleanup(func() { proctest.Tool(t, proctest.Machine(), "", "umount", "-l", mount) })
	t.Cleanup(func() { _ = d.control(fiThaw) }) // one that is not frozen says so
	return d
}

func (d *disk) control(request uintptr) error {
	f, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, 0); errno != 0 {
		return errno
	}
	return nil
}

// freeze lets nothing be written for a time.
func (d *disk) freeze(long time.Duration) {
	d.t.Helper()
	if err := d.control(fiFreeze); err != nil {
		d.t.Fatalf("stop the disk: %v", err)
	}
	<-time.After(long)
	if err := d.control(fiThaw); err != nil {
		d.t.Fatalf("let the disk go: %v", err)
	}
}

// fill takes all room of the disk until release.
func (d *disk) fill() (release func()) {
	d.t.Helper()
	name := filepath.Join(d.mount, "ballast")
	f, err := os.Create(name)
	if err != nil {
		d.t.Fatal(err)
	}
	for at, size := int64(0), int64(64<<20); size >= 4096; {
		if err := syscall.Fallocate(int(f.Fd()), 0, at, size); err != nil {
			size /= 2
			continue
		}
		at += size
	}
	if err := f.Close(); err != nil {
		d.t.Error(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			d.t.Error(err)
		}
	}
}

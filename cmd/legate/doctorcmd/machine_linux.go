package doctorcmd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/legate-project/legate/agent/host"
)

// read fills in what Linux says of the machine.
func (m *machine) read(s settings) string {
	m.readBuffer = number("/proc/sys/net/core/rmem_max")
	m.writeBuffer = number("/proc/sys/net/core/wmem_max")
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	m.clockKnown = err == nil
	m.clockFree = state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0
	h := host.Read("/")
	m.memory, m.available = h.Memory.Total, h.Memory.Available
	for _, sock := range sockets("udp") {
		if sock.listens(s) {
			m.drops += sock.drops
		}
	}
	return ""
}

// number is what a file of one number has, 0 if it cannot be read.
func number(file string) uint64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // 0 is unknown
	return n
}

// socket is a line of /proc/net/udp and the like.
type socket struct {
	addr  netip.AddrPort
	inode string
	drops uint64
}

// sockets lists those that wait for whom they do not know: of udp or tcp.
func sockets(network string) []socket {
	waits := map[string]string{"tcp": "0A", "udp": "07"}[network]
	var out []socket
	for _, name := range []string{network, network + "6"} {
		b, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[3] != waits {
				continue
			}
			addr, ok := kernelAddr(fields[1])
			if !ok {
				continue
			}
			drops, _ := strconv.ParseUint(fields[len(fields)-1], 10, 64) // tcp has none
			out = append(out, socket{addr, fields[9], drops})
		}
	}
	return out
}

// kernelAddr reads an address as /proc/net writes it: words of 32 bits in the order of
// the machine's bytes, in hexadecimal.
func kernelAddr(text string) (netip.AddrPort, bool) {
	ip, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(ip)
	p, bad := strconv.ParseUint(port, 16, 16)
	if err != nil || bad != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), ok
}

// listens reports whether it is one of the agent's with these settings.
func (s socket) listens(of settings) bool {
	ports := []int{of.Ports.SerfLAN, of.Ports.SerfWAN, of.Ports.Server}
	bind, err := netip.ParseAddr(of.Bind)
	same := err != nil || bind.IsUnspecified() || s.addr.Addr() == bind || s.addr.Addr().IsUnspecified()
	return same && slices.Contains(ports, int(s.addr.Port()))
}

// owner is the process that has a socket; 0 if that cannot be seen.
func owner(inode string) int {
	want := "socket:[" + inode + "]"
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == want {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}

// ownerOf names the process that listens at an address, for people; "" if that cannot
// be seen.
func ownerOf(network, addr string) string {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ""
	}
	for _, s := range sockets(network) {
		same := s.addr.Addr() == at.Addr() || s.addr.Addr().IsUnspecified() || at.Addr().IsUnspecified()
		if !same || s.addr.Port() != at.Port() {
			continue
		}
		if pid := owner(s.inode); pid > 0 {
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err != nil {
				return ""
			}
			return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// read finds the agent's process and looks at it.
func (p *process) read(s settings) string {
	for _, sock := range sockets("tcp") {
		if int(sock.addr.Port()) == s.Ports.SerfLAN && sock.listens(s) {
			p.pid = owner(sock.inode)
		}
	}
	if p.pid == 0 {
		return "this user cannot see which process the agent is: run this as its user, or as root"
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return fmt.Sprintf("this user cannot look at process %d: run this as its user, or as root", p.pid)
	}
	for line := range strings.Lines(string(b)) { // the kernel writes numbers
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "VmSwap":
			kib, _ := strconv.ParseUint(strings.Fields(value)[0], 10, 64)
			p.swap = kib << 10
		case "CapEff":
			rights, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			p.forces = rights&(1<<unix.CAP_NET_ADMIN) != 0
		}
	}
	return ""
}

// read looks at the disk of the data directory and, if no agent runs, tries it.
func (d *disk) read(dir string, try bool) string {
	d.dir = dir
	if dir == "" {
		return "there is no data directory: nothing is kept"
	}
	at := dir
	info, err := os.Stat(at)
	for d.missing = errors.Is(err, fs.ErrNotExist); errors.Is(err, fs.ErrNotExist) && at != "/"; info, err = os.Stat(at) {
		at = filepath.Dir(at) // where it is going to be made
	}
	if err != nil {
		return fmt.Sprintf("this user cannot look into %s: run this as the agent's user, or as root", dir)
	}
	if !info.IsDir() {
		d.wrong = fmt.Sprintf("%s is no directory", at)
		return ""
	}
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return fmt.Sprintf("look at the file system of %s: %v", at, err)
	}
	size := uint64(s.Bsize)
	d.total, d.free, d.files, d.filesFree, d.kind = s.Blocks*size, s.Bavail*size, s.Files, s.Ffree, fileSystem(int64(s.Type))
	if try {
		d.try(at)
	}
	return ""
}

// fileSystem names those that are no place for state; the others are "".
func fileSystem(magic int64) string {
	return map[int64]string{
		unix.TMPFS_MAGIC: inMemory, unix.RAMFS_MAGIC: inMemory, unix.NFS_SUPER_MAGIC: "NFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB",
		unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	}[magic&0xffffffff]
}

// try writes a file there and measures how long the disk takes to have it.
func (d *disk) try(at string) {
	d.held(filepath.Join(d.dir, "lock"))
	f, err := os.CreateTemp(at, "legate-doctor-*")
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			d.wrong = fmt.Sprintf("this user (%d) cannot write into %s", os.Geteuid(), at)
		} else {
			d.wrong = err.Error()
		}
		d.why = d.wrong
		return
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block, end := make([]byte, syncSize), time.Now().Add(syncTimeout)
	for range syncCount {
		begin := time.Now()
		if _, err = f.Write(block); err == nil {
			err = f.Sync()
		}
		if err != nil {
			d.wrong = fmt.Sprintf("write into %s: %v", at, err)
			d.why = d.wrong
			return
		}
		d.syncs = append(d.syncs, time.Since(begin))
		if time.Now().After(end) {
			return
		}
	}
}

// held finds out whether an agent has the directory, without making anything.
func (d *disk) held(lock string) {
	f, err := os.Open(lock)
	if err != nil {
		return
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		d.inUse = true
	}
}

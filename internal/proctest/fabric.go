//go:build linux

package proctest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Fabric is the network of one test: hosts, switches and routers, each a
// network namespace. Nothing of it touches the machine's own network.
type Fabric struct {
	t      testing.TB
	prefix string
	made   int
}

// NewFabric returns an empty network that is removed when the test ends. Tests
// are skipped for users other than root.
func NewFabric(t testing.TB) *Fabric {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("building networks takes root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("building networks takes the program %s: %v", tool, err)
		}
	}
	// The address of the fabric tells those of one test run apart.
	f := &Fabric{t: t}
	f.prefix = fmt.Sprintf("%s%d-%p-", netnsPrefix, os.Getpid(), f)
	return f
}

// ip runs lines of commands of the program ip.
func (f *Fabric) ip(lines ...string) {
	f.t.Helper()
	Tool(f.t, Machine(), strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
}

// namespace makes a host that is connected to nothing but itself.
func (f *Fabric) namespace(name string) *Host {
	f.t.Helper()
	h := &Host{Name: name, netns: f.prefix + name}
	f.ip("netns add " + h.netns)
	f.t.Cleanup(func() { f.ip("netns delete " + h.netns) })
	f.batch(h, "link set lo up")
	return h
}

// Switch joins hosts of one subnet.
type Switch struct {
	f    *Fabric
	host *Host
}

// Switch adds a switch.
func (f *Fabric) Switch(name string) *Switch {
	f.t.Helper()
	s := &Switch{f: f, host: f.namespace(name)}
	f.batch(s.host, "link add br0 type bridge", "link set br0 up")
	return s
}

// batch runs commands of the program ip inside a host.
func (f *Fabric) batch(h *Host, lines ...string) {
	f.t.Helper()
	Tool(f.t, Machine(), strings.Join(lines, "\n")+"\n", "ip", "-n", h.netns, "-batch", "-")
}

// Host adds a host at the switch: its address with the length of the prefix,
// and the gateway to other subnets, empty for none.
func (s *Switch) Host(name, cidr, gateway string) *Host {
	s.f.t.Helper()
	h := s.f.namespace(name)
	s.plug(h, cidr)
	if gateway != "" {
		s.f.batch(h, "route add default via "+gateway)
	}
	return h
}

// plug connects a host to the switch by one more cable.
func (s *Switch) plug(h *Host, cidr string) {
	s.f.t.Helper()
	s.f.made++
	near, far := fmt.Sprintf("eth%d", s.f.made), fmt.Sprintf("port%d", s.f.made)
	s.f.batch(h, fmt.Sprintf("link add %s type veth peer name %s netns %s", near, far, s.host.netns),
		"addr add "+cidr+" dev "+near+nodad(cidr), "link set "+near+" up")
	s.f.batch(s.host, "link set "+far+" master br0", "link set "+far+" up")
	h.cables = append(h.cables, near)
}

// nodad has an IPv6 address be used at once: nobody else has it.
func nodad(cidr string) string {
	if strings.Contains(cidr, ":") {
		return " nodad"
	}
	return ""
}

// MTU sets the size of the largest packets that a host sends and takes at each of its cables, in
// bytes with the header of IP.
func (f *Fabric) MTU(h *Host, size int) {
	f.t.Helper()
	var lines []string
	for _, cable := range h.cables {
		lines = append(lines, fmt.Sprintf("link set dev %s mtu %d", cable, size))
	}
	f.batch(h, lines...)
}

// Leg is a router's place at a switch.
type Leg struct {
	Switch *Switch
	CIDR   string
}

// Router adds a host that forwards between switches.
func (f *Fabric) Router(name string, legs ...Leg) *Host {
	f.t.Helper()
	h := f.namespace(name)
	for _, leg := range legs {
		leg.Switch.plug(h, leg.CIDR)
	}
	forward := func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	}
	if err := h.Inside(forward); err != nil {
		f.t.Fatalf("make %s forward: %v", name, err)
	}
	return h
}

// Firewall replaces the packet filter of a host by the rules (a file of nft).
func (f *Fabric) Firewall(h *Host, rules string) {
	f.t.Helper()
	Tool(f.t, h, "flush ruleset\n"+rules, "nft", "-f", "-")
}

// Counter returns how many packets the named counter of a table "inet filter"
// of the host's packet filter has seen.
func (f *Fabric) Counter(h *Host, name string) int {
	f.t.Helper()
	out := Tool(f.t, h, "", "nft", "list", "counter", "inet", "filter", name)
	_, after, ok := strings.Cut(out, "packets ")
	var n int
	if _, err := fmt.Sscan(after, &n); !ok || err != nil {
		f.t.Fatalf("read the counter %s: %q", name, out)
	}
	return n
}

// Forget has a host forget the flows that its packet filter has seen, as a balancer does when it
// sends them elsewhere: those of address translation would go on as they began.
func (f *Fabric) Forget(h *Host) {
	f.t.Helper()
	forget := func() error {
		s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		// Of the connection tracker (1), deletion (2); with no flow named that is all of IPv4.
		ask := binary.NativeEndian.AppendUint32(nil, unix.SizeofNlMsghdr+4)
		ask = binary.NativeEndian.AppendUint16(ask, 1<<8|2)
		ask = binary.NativeEndian.AppendUint16(ask, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		ask = append(ask, 0, 0, 0, 0, 0, 0, 0, 0, unix.AF_INET, 0, 0, 0)
		if err := unix.Sendto(s, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		answer := make([]byte, 512)
		n, _, err := unix.Recvfrom(s, answer, 0)
		if err != nil || n < unix.SizeofNlMsghdr+4 {
			return fmt.Errorf("an answer of %d bytes: %w", n, err)
		}
		if code := binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:]); code != 0 {
			return unix.Errno(-int32(code))
		}
		return nil
	}
	if err := h.Inside(forget); err != nil {
		f.t.Fatalf("have %s forget its flows: %v", h.Name, err)
	}
}

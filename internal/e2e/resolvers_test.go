//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// instancesOfMany is how many instances the service many has.
const instancesOfMany = 300

// resolving is an agent that answers DNS on port 53, and what asks it: dnsmasq for
// its domain, Unbound for its domain as for one with servers of its own (stub), and
// Unbound for everything (forwarder), both with random letters in questions (0x20).
// The agent's recursor is another dnsmasq.
type resolving struct {
	host                                   *proctest.Host
	agent                                  *node
	dnsmasq, stub, forwarder, recursor, ip string
}

func newResolving(t *testing.T) *resolving {
	t.Helper()
	for _, name := range []string{"dig", "nsupdate", "dnsmasq", "unbound", "getent", "unshare"} {
		program(t, name)
	}
	if os.Geteuid() != 0 {
		missing(t, "the user root, who may listen on port 53,")
	}
	h := proctest.Loopback(t)
	r := &resolving{host: h, ip: h.Addr(1, 1), recursor: h.Addr(2, 1), dnsmasq: h.Addr(2, 2), stub: h.Addr(2, 3), forwarder: h.Addr(2, 4)}
	r.start(t, r.recursor, "dnsmasq", "dnsmasq", "--host-record=www.example.test,192.0.2.10", "--cname=alias.example.test,www.example.test", "--ptr-record=10.2.0.192.in-addr.arpa,www.example.test", "--local=/test/", "--local=/in-addr.arpa/")
	r.agent = start(t, spec{host: h, name: "s1", dc: "dc1", ip: r.ip, expect: 1,
		config: map[string]any{"ports": map[string]any{"dns": 53}, "recursors": []string{r.recursor}}})
	r.register(t)
	r.start(t, r.dnsmasq, "dnsmasq", "dnsmasq", "--server=/consul/"+r.ip, "--server=/50.10.in-addr.arpa/"+r.ip, "--server=/d.f.ip6.arpa/"+r.ip)
	zones := ""
	for _, zone := range []string{"consul.", "50.10.in-addr.arpa.", "d.f.ip6.arpa."} {
		zones += fmt.Sprintf("stub-zone:\n  name: %q\n  stub-addr: %s\n", zone, r.ip)
	}
	r.unbound(t, r.stub, zones+"forward-zone:\n  name: \".\"\n  forward-addr: "+r.recursor+"\n")
	r.unbound(t, r.forwarder, "forward-zone:\n  name: \".\"\n  forward-addr: "+r.ip+"\n")
	return r
}

// register fills the catalog: two nodes and their services, a service of many
// instances, one at a host name.
func (r *resolving) register(t *testing.T) {
	t.Helper()
	put := func(reg *api.CatalogRegistration) {
		t.Helper()
		_, err := r.agent.client.Catalog().Register(reg, nil)
		must(t, "register "+reg.Node, err)
	}
	proctest.Until(t, patience, "the agent takes registrations", func() error { return r.agent.put("ready", "", "") })
	put(&api.CatalogRegistration{Node: "n1", Address: "10.50.0.1", TaggedAddresses: map[string]string{"lan_ipv6": "fd00::1"},
		Service: &api.AgentService{ID: "web", Service: "web", Port: 80}})
	put(&api.CatalogRegistration{Node: "n2", Address: "10.50.0.2", Service: &api.AgentService{ID: "web", Service: "web", Port: 81, Address: "10.50.0.9"}})
	put(&api.CatalogRegistration{Node: "n2", Address: "10.50.0.2", Service: &api.AgentService{ID: "host", Service: "host", Port: 82, Address: "alias.example.test"}})
	for i := range instancesOfMany {
		put(&api.CatalogRegistration{Node: fmt.Sprint("m", i), Address: fmt.Sprintf("10.50.%d.%d", 1+i/100, 1+i%100), Service: &api.AgentService{Service: "many", Port: 83}})
	}
}

// start starts a program that answers DNS on an address.
func (r *resolving) start(t *testing.T, at, name, path string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	if name == "dnsmasq" {
		args = append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv", "--no-hosts", "--no-poll", "--bind-interfaces",
			"--dhcp-leasefile=" + filepath.Join(dir, "leases"), "--listen-address=" + at}, args...)
	}
	p := proctest.StartTool(t, r.host, name+" on "+at, append([]string{program(t, path)}, args...)...)
	proctest.Until(t, patience, p.Name+" listens", func() error {
		c, err := r.host.DialContext(t.Context(), "tcp", net.JoinHostPort(at, "53"))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func (r *resolving) unbound(t *testing.T, at, zones string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "unbound.conf")
	conf := fmt.Sprintf(`server:
  interface: %[1]s
  do-daemonize: no
  chroot: ""
  username: ""
  directory: %[2]q
  pidfile: ""
  use-syslog: no
  logfile: ""
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  use-caps-for-id: yes
  access-control: 127.0.0.0/8 allow
  outgoing-interface: %[1]s
  local-zone: "10.in-addr.arpa." nodefault
  local-zone: "2.0.192.in-addr.arpa." nodefault
  local-zone: "d.f.ip6.arpa." nodefault
  local-zone: "test." nodefault
remote-control:
  control-enable: no
`, at, dir)
	must(t, "write the configuration", os.WriteFile(file, []byte(conf+zones), 0o600))
	r.start(t, at, "unbound", "unbound", "-d", "-c", file)
}

// dig asks a server and gives the answers in order, or all that is said where more
// is wanted.
func (r *resolving) dig(t *testing.T, at string, args ...string) string {
	t.Helper()
	return proctest.Tool(t, r.host, "", append([]string{"dig", "@" + at, "+time=5", "+tries=1"}, args...)...)
}

func (r *resolving) short(t *testing.T, at string, args ...string) string {
	t.Helper()
	lines := strings.Fields(strings.ReplaceAll(strings.TrimSpace(r.dig(t, at, append([]string{"+short"}, args...)...)), " ", "_"))
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// TestResolversOfOthers has other people's software find names through an agent.
func TestResolversOfOthers(t *testing.T) {
	t.Parallel()
	r := newResolving(t)
	for name, at := range map[string]string{"dig": r.ip, "dnsmasq": r.dnsmasq, "Unbound with a stub zone": r.stub, "Unbound as a forwarder": r.forwarder} {
		t.Run(name, func(t *testing.T) { r.names(t, at) })
	}
	t.Run("recursor", r.throughTheAgent)
	t.Run("sizes", r.sizes)
	t.Run("refusals", r.refusals)
	t.Run("glibc", r.glibc)
	t.Run("Go", r.golang)
}

// names are those that every resolver finds.
func (r *resolving) names(t *testing.T, at string) {
	for _, c := range []struct{ args, want string }{
		{"n1.node.consul A", "10.50.0.1"},
		{"N1.NODE.Consul AAAA", "fd00::1"},
		{"web.service.consul A", "10.50.0.1 10.50.0.9"},
		{"web.service.dc1.consul A +tcp", "10.50.0.1 10.50.0.9"},
		{"_web._tcp.service.consul SRV", "1_1_80_n1.node.dc1.consul. 1_1_81_0a320009.addr.dc1.consul."},
		{"0a320009.addr.dc1.consul A", "10.50.0.9"},
		{"-x 10.50.0.1", "n1.node.dc1.consul."},
		{"-x 10.50.0.9", "web.service.dc1.consul."},
		{"-x fd00::1", "n1.node.dc1.consul."},
		{"none.service.consul A", ""},
		{"n2.node.consul AAAA", ""},
		{"host.service.consul A", "192.0.2.10 alias.example.test. www.example.test."},
	} {
		if got := r.short(t, at, strings.Fields(c.args)...); got != c.want {
			t.Errorf("%s: %s, want %s", c.args, got, c.want)
		}
	}
	for args, want := range map[string]string{"none.service.consul A": "NXDOMAIN", "none.node.consul AAAA": "NXDOMAIN", "-x 10.50.0.77": "NXDOMAIN",
		"n2.node.consul AAAA": "NOERROR", "web.service.consul MX": "NOERROR", "web.service.nowhere.consul A": "NXDOMAIN"} {
		out := r.dig(t, at, strings.Fields(args)...)
		contains(t, args, out, "status: "+want)
		if strings.Contains(args, "consul") { // theirs, if it is kept, is ours
			contains(t, args, out, "SOA")
		}
	}
	all := strings.Count(r.dig(t, at, "+short", "many.service.consul"), "10.50.")
	overTCP := strings.Count(r.dig(t, at, "+short", "+tcp", "many.service.consul"), "10.50.")
	if all != instancesOfMany || overTCP != instancesOfMany {
		t.Errorf("%d of %d instances, over TCP %d", all, instancesOfMany, overTCP)
	}
}

// throughTheAgent asks the agent for names that its recursor knows.
func (r *resolving) throughTheAgent(t *testing.T) {
	for _, at := range []string{r.ip, r.forwarder} {
		for args, want := range map[string]string{"www.example.test A": "192.0.2.10", "alias.example.test A": "192.0.2.10 www.example.test.", "-x 192.0.2.10": "www.example.test.", "none.example.test A": ""} {
			if got := r.short(t, at, strings.Fields(args)...); got != want {
				t.Errorf("%s of %s: %q, want %q", args, at, got, want)
			}
		}
	}
	contains(t, "an answer of the recursor", r.dig(t, r.ip, "www.example.test"), "status: NOERROR", "flags: qr rd ra;")
	contains(t, "an answer of the catalog", r.dig(t, r.ip, "web.service.consul"), "flags: qr aa rd ra;")
	contains(t, "no such name", r.dig(t, r.ip, "none.example.test"), "status: NXDOMAIN")
}

// sizes asks for a service of many instances in every way.
func (r *resolving) sizes(t *testing.T) {
	for args, want := range map[string]string{
		"many.service.consul +noedns +ignore":                  "flags: qr aa tc rd ra; QUERY: 1, ANSWER: 3,",
		"many.service.consul +noedns":                          "ANSWER: 300,", // over TCP, as the answer was cut
		"many.service.consul +bufsize=8192 +ignore":            "flags: qr aa rd ra; QUERY: 1, ANSWER: 300,",
		"many.service.consul +tcp":                             "flags: qr aa rd ra; QUERY: 1, ANSWER: 300,",
		"many.service.consul SRV +tcp":                         "ANSWER: 300,",
		"many.service.consul SRV +bufsize=1232 +ignore":        "flags: qr aa tc rd ra;",
		"many.service.consul ANY +bufsize=8192 +notcp +ignore": "QUERY: 1, ANSWER: 3,",
	} {
		out := r.dig(t, r.ip, strings.Fields(args)...)
		contains(t, args, out, want)
		for _, bad := range []string{"malformed", "Warning", "Messages"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: dig complains:\n%s", args, out)
			}
		}
	}
}

func (r *resolving) refusals(t *testing.T) {
	contains(t, "AXFR", r.dig(t, r.ip, "consul.", "AXFR"), "Transfer failed")
	contains(t, "CHAOS", r.dig(t, r.ip, "version.bind", "TXT", "CH"), "status: REFUSED")
	contains(t, "no recursion", r.dig(t, r.ip, "www.example.test", "+norecurse"), "status: REFUSED")
	contains(t, "EDNS 1", r.dig(t, r.ip, "web.service.consul", "+edns=1", "+noednsnegotiation"), "status: BADVERS")
	for _, way := range [][]string{{"nsupdate"}, {"nsupdate", "-v"}} { // over TCP
		res := proctest.Tool(t, r.host, "server "+r.ip+"\nzone consul.\nupdate add x.consul. 60 A 192.0.2.1\nsend\n", "sh", "-c", strings.Join(way, " ")+" 2>&1 || true")
		contains(t, strings.Join(way, " "), res, "NOTIMP")
	}
	out := r.dig(t, r.ip, "consul.", "SOA")
	contains(t, "SOA", out, "ns.consul. hostmaster.consul.", "s1.node.dc1.consul.", "status: NOERROR")
	contains(t, "NS", r.dig(t, r.ip, "web.service.consul.", "NS"), "NS\ts1.node.dc1.consul.", "A\t"+r.ip)
}

// glibc resolves as programs written in C do, with search domains.
func (r *resolving) glibc(t *testing.T) {
	dir := t.TempDir()
	conf, order := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf")
	must(t, "write resolv.conf", os.WriteFile(conf, []byte("nameserver "+r.ip+"\nsearch service.consul node.consul\noptions timeout:5 attempts:1\n"), 0o644))
	must(t, "write nsswitch.conf", os.WriteFile(order, []byte("hosts: dns\n"), 0o644))
	// run shows the words that a program prints, in order.
	run := func(args ...string) string {
		t.Helper()
		out := proctest.Tool(t, r.host, "", append([]string{"unshare", "--mount", "sh", "-c",
			`mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf && shift 2 && { "$@" || echo "exit $?"; }`, "sh", conf, order}, args...)...)
		words := strings.Fields(out)
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	const addresses = "import socket, sys; print(*{a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, 0, socket.SOCK_STREAM)})"
	for name, want := range map[string]string{
		"web":                 "10.50.0.1 10.50.0.9 fd00::1",
		"n1":                  "10.50.0.1 fd00::1", // no service is called so
		"n2":                  "10.50.0.2",
		"n1.node.dc1.consul":  "10.50.0.1 fd00::1",
		"www.example.test":    "192.0.2.10",
		"host.service.consul": "192.0.2.10",
	} {
		if got := run("python3", "-c", addresses, name); got != want {
			t.Errorf("getaddrinfo of %s: %s, want %s", name, got, want)
		}
	}
	if got := strings.Count(run("python3", "-c", addresses, "many"), "10.50."); got != instancesOfMany {
		t.Errorf("getaddrinfo finds %d instances", got)
	}
	for args, want := range map[string]string{
		"10.50.0.1":  "10.50.0.1 n1.node.dc1.consul",
		"10.50.0.9":  "10.50.0.9 web.service.dc1.consul",
		"fd00::1":    "fd00::1 n1.node.dc1.consul",
		"192.0.2.10": "192.0.2.10 www.example.test",
		"10.50.0.77": "2 exit",
		"none":       "2 exit",
		"n2":         "10.50.0.2 n2.node.consul",
	} {
		if got := run("getent", "hosts", args); got != want {
			t.Errorf("getent hosts %s: %s, want %s", args, got, want)
		}
	}
}

// golang resolves as programs written in Go do.
func (r *resolving) golang(t *testing.T) {
	res := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return r.host.DialContext(ctx, network, net.JoinHostPort(r.ip, "53"))
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	hosts, err := res.LookupHost(ctx, "web.service.consul.")
	slices.Sort(hosts)
	if err != nil || fmt.Sprint(hosts) != "[10.50.0.1 10.50.0.9 fd00::1]" {
		t.Errorf("hosts %v, %v", hosts, err)
	}
	if hosts, err := res.LookupHost(ctx, "many.service.consul."); err != nil || len(hosts) != instancesOfMany {
		t.Errorf("%d hosts, %v", len(hosts), err)
	}
	if _, list, err := res.LookupSRV(ctx, "web", "tcp", "service.consul."); err != nil || len(list) != 2 {
		t.Errorf("SRV %v, %v", list, err)
	}
	if names, err := res.LookupAddr(ctx, "10.50.0.1"); err != nil || fmt.Sprint(names) != "[n1.node.dc1.consul.]" {
		t.Errorf("names %v, %v", names, err)
	}
	// How far the aliases lead depends on whether the answer about IPv4 or IPv6 counts.
	if name, err := res.LookupCNAME(ctx, "host.service.consul."); err != nil || !strings.HasSuffix(name, ".example.test.") {
		t.Errorf("canonical name %s, %v", name, err)
	}
	if list, err := res.LookupNS(ctx, "consul."); err != nil || len(list) != 1 || list[0].Host != "s1.node.dc1.consul." {
		t.Errorf("name servers %v, %v", list, err)
	}
	var missing *net.DNSError
	if _, err := res.LookupHost(ctx, "none.service.consul."); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("of nothing: %v", err)
	}
}

//go:build linux

package e2e

import (
	"encoding/json"
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

// diagnosis is what the doctor says, by check.
type diagnosis map[string][]struct{ Check, Subject, Result, Found, Do string }

// doctor runs it beside a node, which need not run.
func (n *node) doctor(t *testing.T, args ...string) (diagnosis, int) {
	t.Helper()
	r := proctest.Run(t, n.host, append([]string{"doctor", "-format=json", "-http-addr=" + net.JoinHostPort(n.ip, "8500")}, args...)...)
	calm(t, "the doctor", r.Stdout+r.Stderr)
	var list []struct{ Check, Subject, Result, Found, Do string }
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil {
		t.Fatalf("the doctor ends with %d and says %q, %q", r.Code, r.Stdout, r.Stderr)
	}
	d := diagnosis{}
	for _, f := range list {
		d[f.Check] = append(d[f.Check], f)
	}
	return d, r.Code
}

// says returns an error unless a check says this in its result, with the texts.
func (d diagnosis) says(check, result string, texts ...string) error {
	for _, f := range d[check] {
		has := func(text string) bool { return strings.Contains(f.Subject+" "+f.Found+" "+f.Do, text) }
		if f.Result == result && !slices.ContainsFunc(texts, func(s string) bool { return !has(s) }) {
			return nil
		}
	}
	return fmt.Errorf("%s does not say %s with %q: %+v", check, result, texts, d[check])
}

// problems are all that are more than warnings.
func (d diagnosis) problems() (out []string) {
	for check, list := range d {
		for _, f := range list {
			if f.Result == "problem" {
				out = append(out, check+": "+f.Found)
			}
		}
	}
	return out
}

// TestTheDoctor: a healthy federation has no problem, whoever is asked; a dead server is one,
// and what it means for the others is said.
func TestTheDoctor(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	key := keygen(t)
	calmly := map[string]any{"autopilot": map[string]any{"last_contact_threshold": "10s", "cleanup_dead_servers": false}} // the machine is busy
	nodes := make([]*node, 5)
	for i := range 3 {
		nodes[i] = newNode(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(1, i+1), expect: 3, lan: []string{h.Addr(1, 1)}, key: key, config: calmly})
	}
	nodes[3] = newNode(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 9), lan: []string{h.Addr(1, 1)}, key: key})
	nodes[4] = newNode(t, spec{host: h, name: "t1", dc: "dc2", ip: h.Addr(2, 1), expect: 1, wan: []string{h.Addr(1, 1)}, key: key})
	for _, n := range nodes {
		n.launch()
	}
	for _, n := range []*node{nodes[0], nodes[3]} {
		proctest.Until(t, patience, n.name+" has no problem", func() error {
			d, code := n.doctor(t)
			if p := d.problems(); len(p) > 0 || code == 1 {
				return fmt.Errorf("it ends with %d: %q", code, p)
			}
			for _, list := range d {
				if list[0].Result == "skipped" {
					return fmt.Errorf("%+v is skipped", list[0])
				}
			}
			if n == nodes[3] {
				return d.says("path-size", "ok", "through to 2 servers")
			}
			return d.says("path-size", "ok", "through to 1 server")
		})
	}
	d, _ := nodes[0].doctor(t)
	must(t, "the clocks", d.says("clock-offset", "ok", "4 servers"))
	must(t, "the quorum", d.says("failure-tolerance", "ok", "1 server of 3"))
	must(t, "the process", d.says("swap", "ok", fmt.Sprint(nodes[0].Pid())))
	nodes[4].SetClock(10 * time.Minute)
	for _, n := range []*node{nodes[0], nodes[3]} {
		d, _ := n.doctor(t)
		if err := d.says("clock-offset", "problem", "The clock of t1 in dc2 is 10 minutes ahead of"); err != nil || len(d["clock-offset"]) != 1 {
			t.Errorf("%s: %v, %+v", n.name, err, d["clock-offset"])
		}
	}
	nodes[4].SetClock(0)
	nodes[2].Kill()
	proctest.Until(t, patience, "a dead server is found", func() error {
		d, code := nodes[0].doctor(t)
		if code != 1 {
			return fmt.Errorf("it ends with %d", code)
		}
		for _, want := range []error{d.says("failure-tolerance", "problem", "3 voters, of which 2"), d.says("server-health", "problem", "s3"), d.says("failed-members", "ok")} {
			if want != nil {
				return want
			}
		}
		return nil
	})
	text := proctest.Run(t, h, "doctor", "-http-addr="+nodes[0].ip+":8500").Stdout
	contains(t, "what people read", text, "Problem: server-health, s3", "Problem: failure-tolerance, dc1", "Do: ", " found nothing")
}

// TestTheDoctorFindsFaultsOfOneAgent: few files, a certificate that is about to expire, names
// that DNS cannot say; and a token without rights, which hears what it lacks.
func TestTheDoctorFindsFaultsOfOneAgent(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	const root = "11111111-2222-3333-4444-555555555555"
	p := newPKI(t)
	n := newNode(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1, token: root,
		config: map[string]any{"tls": map[string]any{"internal_rpc": p.cert("dc1-server-consul-0", "-server", "-days=3")}, "retry_join_wan": []string{"no-such-host.invalid"}}})
	n.Process = proctest.StartTool(t, h, "s1", append([]string{"sh", "-c", `ulimit -n 1024 && exec "$0" "$@"`, os.Getenv(proctest.BinaryVar)}, n.args()...)...)
	n.WaitLine(0, patience, "agent started")
	proctest.Until(t, patience, "a name that is none", func() error {
		_, err := n.client.Catalog().Register(&api.CatalogRegistration{Node: "under_score", Address: "10.0.0.1", Service: &api.AgentService{Service: "a.b"}}, nil)
		return err
	})
	d, code := n.doctor(t, "-token="+root)
	if code != 1 {
		t.Errorf("it ends with %d", code)
	}
	for _, want := range []error{
		d.says("open-files", "problem", "1024 files"), d.says("certificates", "problem", "internal_rpc expires in"), d.says("node-names", "warning", "under_score"),
		d.says("service-names", "warning", "a.b"), d.says("failure-tolerance", "warning", "alone"), d.says("join-names", "warning", "no-such-host.invalid"),
		d.says("gossip-encryption", "warning", "not encrypted"), d.says("scripts", "ok"),
	} {
		if want != nil {
			t.Error(want)
		}
	}
	_, _, err := n.client.ACL().PolicyCreate(&api.ACLPolicy{Name: "doctor",
		Rules: `operator = "read" agent_prefix "" { policy = "read" } node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }`}, nil)
	must(t, "make a policy", err)
	token, _, err := n.client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "doctor"}}}, nil)
	must(t, "make a token", err)
	d, _ = n.doctor(t, "-token="+token.SecretID)
	for check, list := range d {
		if list[0].Result == "skipped" {
			t.Errorf("a token that may read is not enough for %s: %+v", check, list)
		}
	}
	d, code = n.doctor(t)
	for _, want := range []error{
		d.says("ready", "ok"), d.says("open-files", "skipped", "agent:read"), d.says("failure-tolerance", "skipped", "operator:read"), d.says("node-names", "skipped", "node:read"),
		d.says("disk-space", "skipped", "agent:read"), d.says("service-names", "skipped", "service:read"), d.says("failed-members", "skipped", "node:read"),
	} {
		if want != nil {
			t.Error(want)
		}
	}
	if p := d.problems(); len(p) > 0 || code == 1 {
		t.Errorf("without rights it ends with %d and finds %q", code, p)
	}
}

// TestTheDoctorLooksWhereNoAgentRuns: who else has the ports, and whether the data
// directory is free and can be written.
func TestTheDoctorLooksWhereNoAgentRuns(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	n := newNode(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	file := filepath.Join(t.TempDir(), "agent.json")
	must(t, "write", os.WriteFile(file, []byte(fmt.Sprintf(`{"server":true,"bootstrap_expect":1,"data_dir":%q,"bind_addr":%q,"client_addr":%q,"retry_join_wan":[%q]}`, n.dir, n.ip, n.ip, h.Addr(9, 9))), 0o600))
	var taken net.PacketConn
	must(t, "take a port", h.Inside(func() (err error) {
		taken, err = net.ListenPacket("udp", net.JoinHostPort(n.ip, "8302"))
		return err
	}))
	t.Cleanup(func() { _ = taken.Close() })
	d, code := n.doctor(t, "-config-file="+file)
	if code != 1 {
		t.Errorf("it ends with %d", code)
	}
	for _, want := range []error{
		d.says("agent", "problem", "No agent answers", n.ip), d.says("ports", "problem", "8302/udp (ports.serf_wan)", fmt.Sprintf("process %d", os.Getpid())),
		d.says("data-directory", "ok", "going to be made"), d.says("disk-space", "ok"), d.says("path-size", "warning", "Nobody answers at "+h.Addr(9, 9)), d.says("failure-tolerance", "skipped", "no agent answers"),
	} {
		if want != nil {
			t.Error(want)
		}
	}
	if len(d["ports"]) != 1 {
		t.Errorf("the other ports are free: %+v", d["ports"])
	}
	must(t, "give the port back", taken.Close())
	n.start()
	d, _ = n.doctor(t, "-http-addr="+net.JoinHostPort(n.ip, "8599"), "-config-file="+file)
	if err := d.says("data-directory", "problem", "in use by another agent"); err != nil {
		t.Error(err)
	}
}

// TestTheDoctorMeasuresTheWay: a tunnel on the way lets large packets through neither whole nor
// in parts; connections between the datacenters do not come about, and it is said why.
func TestTheDoctorMeasuresTheWay(t *testing.T) {
	t.Parallel()
	f := proctest.NewFabric(t)
	a, b := f.Switch("left"), f.Switch("right")
	router := f.Router("router", proctest.Leg{Switch: a, CIDR: "10.1.0.1/24"}, proctest.Leg{Switch: b, CIDR: "10.2.0.1/24"})
	one := start(t, spec{host: a.Host("one", "10.1.0.2/24", "10.1.0.1"), name: "one", dc: "dc1", ip: "10.1.0.2", expect: 1})
	two := start(t, spec{host: b.Host("two", "10.2.0.2/24", "10.2.0.1"), name: "two", dc: "dc2", ip: "10.2.0.2", expect: 1, wan: []string{"10.1.0.2"}})
	way := func(result string, texts ...string) {
		t.Helper()
		proctest.Until(t, patience, "the way is "+result, func() error {
			d, _ := one.doctor(t)
			return d.says("path-size", result, texts...)
		})
	}
	way("ok", "Packets of 1452 bytes or more get through to 1 server")
	// Neither the machines nor their kernels hear of it: the router drops what is too large.
	f.Firewall(router, "table inet filter {\nchain forward {\ntype filter hook forward priority 0\nmeta length > 1230 drop\n}\n}\n")
	way("problem", "Packets of 1200 bytes get through to "+two.ip+":8302 and those of 1208 do not")
}

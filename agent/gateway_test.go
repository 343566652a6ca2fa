package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/gateways"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/transport/authority"
	"github.com/legate-project/legate/transport/identity"
	"github.com/legate-project/legate/transport/identity/identitytest"
)

// The keys of the pools in these tests.
const (
	wanKey = "V0FOV0FOV0FOV0FOV0FOVw=="
	lanKey = "TEFOTEFOTEFOTEFOTEFOTA=="
)

// behind is a federation of dc1 and dc2, which is reached through its own gateway.
type behind struct {
	a, b, g *one
	ips     map[*one]string
}

func newBehind(t *testing.T, first int) *behind {
	t.Helper()
	f := &behind{ips: map[*one]string{}}
	ip := func(i int) string { return loopback(first + i) }
	f.a = run(t, ip(0), t.TempDir(), fmt.Sprintf(`node_name = "a" ports { serf_wan = 8302 } encrypt = "%s" encrypt_wan = "%s"`, oneKey, wanKey))
	f.b = run(t, ip(1), t.TempDir(), fmt.Sprintf(`node_name = "b" datacenter = "dc2" ports { serf_wan = 8302 } encrypt = "%s" encrypt_wan = "%s"
		federation { reach = "gateways" } retry_join_wan = ["%s"] retry_interval_wan = "1s"`, lanKey, wanKey, ip(0)))
	f.g = begin(t, ip(2), t.TempDir(), fmt.Sprintf(`node_name = "g" datacenter = "dc2" ports { serf_wan = 8302 } encrypt = "%s" gateway = true retry_join = ["%s"] retry_interval = "1s"`, lanKey, ip(1)))
	for i, o := range []*one{f.a, f.b, f.g} {
		f.ips[o] = ip(i)
	}
	eventually(t, "the servers meet through the gateway", func() bool {
		members, err := f.a.client.Agent().Members(true)
		if err != nil || len(members) != 2 {
			return false
		}
		for _, m := range members {
			if m.Name == "b.dc2" {
				return m.Tags["via"] == ip(2)+":8302"
			}
		}
		return false
	})
	return f
}

// port is an address that an agent answers QUIC at.
func (f *behind) port(o *one, port int) string { return fmt.Sprintf("%s:%d", f.ips[o], port) }

// protocols are the names of all protocols over QUIC that this build knows.
func protocols(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../internal/version/agreed.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`= "(legate-[a-z]+/\d+)"`).FindAllStringSubmatch(string(b), -1) {
		all = append(all, m[1])
	}
	if len(all) < 11 {
		t.Fatalf("only %v are found", all)
	}
	return all
}

// stranger is an endpoint on a port of its own that speaks all protocols and believes
// everybody.
func stranger(t *testing.T, shows *tls.Certificate) *transport.Endpoint {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]transport.Protocol{}
	for _, name := range protocols(t) {
		all[name] = transport.Protocol{Gateways: true, Answer: func(context.Context, transport.Remote, []byte) []byte { return []byte("mine") }}
	}
	e, err := transport.New(transport.Config{Name: "stranger", Conn: conn, Identity: &identitytest.Stranger{Shows: shows}, Protocols: all})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = e.Close(ctx)
	})
	return e
}

// dials has a stranger ask at an address, and returns why it was refused, nil if it was let
// in. Who is let in by protocols without requests waits in vain: that is a while, then.
func dials(t *testing.T, e *transport.Endpoint, addr, protocol string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := e.RoundTrip(ctx, transport.Target{Addr: addr}, protocol, nil, []byte("{}"))
	if errors.Is(err, transport.ErrRefused) {
		return err
	}
	if errors.Is(err, transport.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s at %s: neither let in nor refused: %v", protocol, addr, err)
	}
	return nil
}

// dialled has an agent connect to a stranger, and returns why it refused that.
func dialled(t *testing.T, from *transport.Endpoint, to *transport.Endpoint, protocol string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := from.Reach(ctx, transport.Target{Addr: to.Addr().String()}, protocol)
	if err != nil && !errors.Is(err, transport.ErrRefused) {
		t.Errorf("%s: neither accepted nor refused: %v", protocol, err)
	}
	return err
}

// under makes what a peer with a key shows.
func under(t *testing.T, key string, p identity.Peer) *tls.Certificate {
	t.Helper()
	id, err := identity.NewDerived(raw(t, key), p)
	if err != nil {
		t.Fatal(err)
	}
	return id.Certificate()
}

// A table of roles and protocols: with a certificate that nobody doubts a gateway agrees on
// packets with servers and gateways of all datacenters, a client agent does nothing between
// them; and a gateway does nothing on the ports inside a datacenter, whoever dials.
func TestRolesAndProtocols(t *testing.T) {
	t.Parallel()
	f := newBehind(t, 90)
	peer := func(server, gateway bool) identity.Peer {
		return identity.Peer{Federation: "legate", Datacenter: "dc2", NodeID: "id-x", Name: "x", Server: server, Gateway: gateway}
	}
	ends := map[string]struct {
		addr  string
		calls *transport.Endpoint
		key   string
		wan   bool
	}{
		"a server, between datacenters":    {f.port(f.a, 8302), f.a.server.between, wanKey, true},
		"its own, between datacenters":     {f.port(f.b, 8302), f.b.server.between, wanKey, true},
		"a gateway, between datacenters":   {f.port(f.g, 8302), nil, wanKey, true},
		"a server, inside its datacenter":  {f.port(f.b, 8300), f.b.server.rpc, lanKey, false},
		"a gateway, inside its datacenter": {f.g.calls.Addr().String(), f.g.calls, lanKey, false},
	}
	for role, p := range map[string]identity.Peer{"a gateway": peer(false, true), "a client agent": peer(false, false)} {
		for name, end := range ends {
			if !end.wan && !p.Gateway {
				continue // client agents are at home there
			}
			e := stranger(t, under(t, end.key, p))
			for _, protocol := range protocols(t) {
				want := end.wan && p.Gateway && protocol == version.Relay
				if err := dials(t, e, end.addr, protocol); (err == nil) != want {
					t.Errorf("%s dials %s for %s: %v", role, name, protocol, err)
				}
				if end.calls == nil {
					continue
				}
				if err := dialled(t, end.calls, e, protocol); (err == nil) != want {
					t.Errorf("%s dials %s for %s: %v", name, role, protocol, err)
				}
			}
		}
	}
	// The same is let in as a server: it is the role that is refused.
	e := stranger(t, under(t, wanKey, peer(true, false)))
	for _, protocol := range []string{version.Relay, version.RPC, version.Bulk} {
		if err := errors.Join(dials(t, e, f.port(f.a, 8302), protocol), dialled(t, f.a.server.between, e, protocol)); err != nil {
			t.Errorf("a server for %s: %v", protocol, err)
		}
	}
	id, err := identity.NewDerived(raw(t, lanKey), peer(false, true))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []identity.Direction{identity.Incoming, identity.Outgoing} {
		if err := verifyServer(id, "dc2", d)(id.Certificate().Certificate, nil); err == nil {
			t.Error("Raft takes a gateway for a server")
		}
	}
}

// A gateway learns from a server of its datacenter which datacenters are removed, ends what it has with theirs,
// and lets them in no more; when they are allowed again it does.
func TestAGatewayRefusesRemovedDatacenters(t *testing.T) {
	t.Parallel()
	f := newBehind(t, 184)
	of := func(dc string) *transport.Endpoint {
		return stranger(t, under(t, wanKey, identity.Peer{Federation: "legate", Datacenter: dc, NodeID: "id-x", Name: "x", Server: true}))
	}
	removed, other := of("dc1"), of("dc3")
	relay := version.Relay
	if err := errors.Join(dials(t, removed, f.port(f.g, 8302), relay), dials(t, other, f.port(f.g, 8302), relay)); err != nil {
		t.Fatalf("before anything is removed: %v", err)
	}
	remotes := func(e *transport.Endpoint) int { return len(e.Remotes(relay)) }
	if remotes(removed) == 0 {
		t.Fatal("there is no session")
	}
	set := func(on bool) {
		t.Helper()
		if _, _, err := f.b.server.removals.Set(t.Context(), "dc1", on); err != nil {
			t.Fatal(err)
		}
	}
	set(true)
	eventually(t, "the gateway ends its sessions with dc1", func() bool { return remotes(removed) == 0 })
	if err := dials(t, removed, f.port(f.g, 8302), relay); err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("a server of a removed datacenter: %v", err)
	}
	if err := dials(t, other, f.port(f.g, 8302), relay); err != nil || remotes(other) == 0 {
		t.Errorf("a server of another one: %v", err)
	}
	set(false)
	eventually(t, "the gateway lets servers of dc1 in again", func() bool {
		removed.Anew(relay)
		return dials(t, removed, f.port(f.g, 8302), relay) == nil
	})
}

// Who takes a gateway over has its key of the LAN pool, its certificates and their key, and
// the authorities: with all of that he is a server for nobody across the WAN, of its own
// datacenter or of another one, dialling or dialled, and takes no calls of peers that are
// found by who they are.
func TestAGatewayThatIsTakenOver(t *testing.T) {
	t.Parallel()
	f := newBehind(t, 94)
	mine := *f.g.gateway.shows.Certificate()
	if _, err := os.Stat(f.g.dir.sub("serf", "remote.keyring")); err == nil || f.g.keys.WAN != nil {
		t.Error("it has a keyring of the WAN pool")
	}
	var err error
	if mine.Leaf, err = x509.ParseCertificate(mine.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	serverB := identity.Peer{Federation: "legate", Datacenter: "dc2", NodeID: f.b.id, Name: "b", Server: true}
	serverA := identity.Peer{Federation: "legate", Datacenter: "dc1", NodeID: f.a.id, Name: "a", Server: true}
	fresh := identity.Peer{Federation: "legate", Datacenter: "dc2", NodeID: "id-new", Name: "new", Server: true}
	for _, p := range []identity.Peer{serverB, serverA, fresh} {
		inside := under(t, lanKey, p)
		alone, err := identity.NewSelfSigned(p)
		if err != nil {
			t.Fatal(err)
		}
		beside := func(c *tls.Certificate) *tls.Certificate {
			return &tls.Certificate{Certificate: append(append([][]byte{}, c.Certificate...), mine.Certificate...), PrivateKey: c.PrivateKey}
		}
		for name, shows := range map[string]*tls.Certificate{
			"a certificate of the LAN pool's key":             inside,
			"the same beside the gateway's":                   beside(inside),
			"one that the gateway's key has signed":           identitytest.Forge(t, p, &mine),
			"one that is signed by itself":                    alone.Certificate(),
			"one that is signed by itself, and the gateway's": beside(alone.Certificate()),
		} {
			e := stranger(t, shows)
			for _, protocol := range []string{version.RPC, version.Gossip, version.Relay, version.View, version.Removal} {
				for _, addr := range []string{f.port(f.a, 8302), f.port(f.b, 8302), f.port(f.g, 8302)} {
					if err := dials(t, e, addr, protocol); err == nil {
						t.Errorf("%s says that it is %s, and is let in at %s for %s", name, p, addr, protocol)
					}
				}
				for _, from := range []*one{f.a, f.b} {
					if err := dialled(t, from.server.between, e, protocol); err == nil {
						t.Errorf("%s says that it is %s, and is called by %s for %s", name, p, f.ips[from], protocol)
					}
				}
			}
		}
	}
	f.takesNoCalls(t, serverB)
	f.learnsNoKeys(t)
}

// takesNoCalls: who has the key of the LAN pool may say that he has any name, and be given the
// certificates of a gateway of that name. Calls to the server of that name do not go there.
func (f *behind) takesNoCalls(t *testing.T, b identity.Peer) {
	t.Helper()
	b.Server = false
	lan := stranger(t, under(t, lanKey, b))
	request, key, err := identity.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := identity.NewDerived(raw(t, wanKey), identity.Peer{Federation: "legate", Datacenter: "dc2", Name: "b", Server: true})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := lan.RoundTrip(t.Context(), transport.Target{Addr: f.port(f.b, 8300)}, gateways.Protocol, nil,
		[]byte(`{"Request":"`+base64.StdEncoding.EncodeToString(request)+`"}`))
	if err != nil || !strings.Contains(string(answer), base64.StdEncoding.EncodeToString(keys.Authorities()[0])) {
		t.Fatalf("%s, %v", answer, err) // it would be better, and this test is then to be changed
	}
	b.Gateway = true
	certs, _, err := keys.Bestow(request, b)
	if err != nil {
		t.Fatal(err)
	}
	e := stranger(t, &tls.Certificate{Certificate: certs, PrivateKey: ed25519.PrivateKey(key)})
	if err := dials(t, e, f.port(f.a, 8302), version.Relay); err != nil {
		t.Fatalf("it may not even be a gateway: %v", err)
	}
	for _, protocol := range []string{version.RPC, version.Gossip} {
		if dials(t, e, f.port(f.a, 8302), protocol) == nil {
			t.Errorf("it is let in for %s", protocol)
		}
	}
	for range 20 {
		got, err := f.a.server.between.RoundTrip(t.Context(), transport.Target{Addr: f.port(f.b, 8302), NodeID: b.NodeID, Name: "b.dc2"}, version.RPC, nil, []byte("x"))
		if err != nil || string(got) == "mine" {
			t.Errorf("a call to the server is answered with %q, %v", got, err)
		}
	}
}

// learnsNoKeys: servers show the keys of the WAN pool to nobody who asks from another agent,
// and change them for nobody, though there is no access control.
func (f *behind) learnsNoKeys(t *testing.T) {
	t.Helper()
	for name, o := range map[string]*one{"the gateway": f.g, "a server": f.b} {
		rings, err := o.client.Operator().KeyringList(nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(rings)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), wanKey) != (o == f.b) || !strings.Contains(string(text), lanKey) {
			t.Errorf("%s shows %s", name, text)
		}
	}
	if code, text := put(t, f.g.url+"/v1/operator/keyring/wan", `{"Key":"`+anotherKey+`"}`); code != 403 || !strings.Contains(text, "for servers") {
		t.Errorf("through the gateway a key of the WAN pool is used: %d %s", code, text)
	}
	if err := f.g.client.Operator().KeyringInstall(anotherKey, nil); err != nil {
		t.Errorf("through the gateway a key is installed in LAN pools: %v", err)
	}
	if err := f.g.client.Operator().KeyringInstall(wanKey, nil); err == nil || !strings.Contains(err.Error(), "one of the WAN pool") {
		t.Errorf("the key of the WAN pool is installed in LAN pools: %v", err)
	}
	if n := len(f.b.keys.WAN.Keys()); n != 1 || f.b.keys.LAN.Has(raw(t, wanKey)) || !f.a.keys.LAN.Has(raw(t, anotherKey)) {
		t.Errorf("the WAN pool has %d keys", n)
	}
}

// A datacenter whose servers are so by certificates from files alone does with one key: a gateway
// that has a certificate of auto_encrypt is given one by a server's, as a gateway, and is
// believed. What it has makes no server.
func TestAGatewayByFilesAlone(t *testing.T) {
	t.Parallel()
	made, err := authority.New(authority.Settings{Domain: "consul", Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(made.Certificate, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	by, err := authority.Open(pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := by.Issue(authority.Request{Datacenter: "dc1", Domain: "consul", Life: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	for name, b := range map[string][]byte{"ca.pem": made.Certificate, "cert.pem": issued.Certificate, "key.pem": issued.Key} {
		if err := os.WriteFile(filepath.Join(files, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tlsBlock := func(more string) string {
		return fmt.Sprintf(`encrypt = "%s" ports { serf_wan = 8302 } tls { internal_rpc { ca_file = "%s/ca.pem" verify_incoming = true verify_outgoing = true verify_server_hostname = true %s } } `, oneKey, files, more)
	}
	s := run(t, loopback(102), t.TempDir(), tlsBlock(fmt.Sprintf(`cert_file = "%s/cert.pem" key_file = "%s/key.pem"`, files, files))+`auto_encrypt { allow_tls = true }`)
	g := begin(t, loopback(103), t.TempDir(), tlsBlock("")+fmt.Sprintf(`node_name = "g" gateway = true auto_encrypt { tls = true } retry_join = ["%s"] retry_interval = "1s"`, loopback(102)))
	eventually(t, "the server takes it for a gateway", func() bool {
		remote, err := s.server.between.Reach(t.Context(), transport.Target{Addr: loopback(103) + ":8302"}, version.Relay)
		return err == nil && remote.Peer.Gateway && remote.Peer.Name == "g"
	})
	mine := *g.gateway.shows.Certificate()
	if mine.Leaf, err = x509.ParseCertificate(mine.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	p := identity.Peer{Federation: "legate", Datacenter: "dc1", NodeID: s.id, Name: "n1", Server: true}
	for name, shows := range map[string]*tls.Certificate{
		"the gossip key's": under(t, oneKey, p), "one that the gateway's key has signed": identitytest.Forge(t, p, &mine), "a client agent's": g.certs.Identity().Certificate(),
	} {
		e := stranger(t, shows)
		for _, protocol := range []string{version.RPC, version.Gossip} {
			if dials(t, e, loopback(102)+":8302", protocol) == nil || dialled(t, s.server.between, e, protocol) == nil {
				t.Errorf("%s is that of a server for %s", name, protocol)
			}
		}
	}
}

// With access control the gateway's agent token decides whether it is one.
func TestAGatewayTakesTheRightToItsNode(t *testing.T) {
	t.Parallel()
	const management = "22222222-2222-2222-2222-222222222222"
	acl := `acl { enabled = true default_policy = "deny" tokens { %s } } ports { serf_wan = 8302 } encrypt = "` + lanKey + `" `
	cfg := fmt.Sprintf(acl, `initial_management = "`+management+`" agent = "`+management+`"`) + `encrypt_wan = "` + wanKey + `"`
	s := begin(t, loopback(104), t.TempDir(), "server = true bootstrap_expect = 1 "+cfg)
	eventually(t, "there is access control", func() bool {
		_, _, err := s.client.ACL().TokenReadSelf(&api.QueryOptions{Token: management})
		return err == nil
	})
	token := func(rules string) string {
		t.Helper()
		as := &api.WriteOptions{Token: management}
		policy, _, err := s.client.ACL().PolicyCreate(&api.ACLPolicy{Name: fmt.Sprint("p", len(rules)), Rules: rules}, as)
		if err != nil {
			t.Fatal(err)
		}
		made, _, err := s.client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, as)
		if err != nil {
			t.Fatal(err)
		}
		return made.SecretID
	}
	for i, c := range []struct {
		rules string
		may   bool
	}{{`node "g" { policy = "write" }`, true}, {`node "g" { policy = "read" }`, false}, {`node "another" { policy = "write" }`, false}} {
		g := begin(t, loopback(105), t.TempDir(), fmt.Sprintf(acl, `agent = "`+token(c.rules)+`"`)+
			fmt.Sprintf(`node_name = "g" gateway = true retry_join = ["%s"] retry_interval = "1s"`, loopback(104)))
		eventually(t, "it is a gateway, or told why not", func() bool {
			return g.gateway.keys.Certificate() != nil || strings.Contains(g.log.String(), "node:write on")
		})
		if got := g.gateway.keys.Certificate() != nil; got != c.may {
			t.Errorf("%d: with the rule %s it is a gateway: %t", i, c.rules, got)
		}
		g.stop(t)
	}
}

// A gateway whose datacenter has one key for both pools carries nothing, and its log says
// what to do.
func TestAGatewayWithOneKeyForBothPools(t *testing.T) {
	t.Parallel()
	one := func(i int, more string) string {
		return fmt.Sprintf(`encrypt = "%s" ports { serf_wan = 8302 } `, oneKey) + more
	}
	s := run(t, loopback(98), t.TempDir(), one(0, ""))
	g := begin(t, loopback(99), t.TempDir(), one(1, fmt.Sprintf(`node_name = "g" gateway = true retry_join = ["%s"]`, loopback(98))))
	eventually(t, "both say why", func() bool {
		return strings.Contains(g.log.String(), "encrypt_wan") && strings.Contains(s.log.String(), "a gateway gets no identity")
	})
	e := stranger(t, under(t, oneKey, identity.Peer{Federation: "legate", Datacenter: "dc2", Name: "x", Server: true}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := e.RoundTrip(ctx, transport.Target{Addr: loopback(99) + ":8302"}, version.Relay, nil, []byte("{}")); err == nil || errors.Is(err, transport.ErrRefused) {
		t.Errorf("it answers: %v", err)
	}
}

//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// pki is a directory of certificates that the program itself made.
type pki struct {
	t   testing.TB
	dir string
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{t, t.TempDir()}
	p.make("tls", "ca", "create")
	return p
}

// make runs the program in the directory.
func (p *pki) make(args ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv(proctest.BinaryVar), args...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name+".pem") }

func (p *pki) ca() string { return p.file("consul-agent-ca") }

// cert makes a certificate and returns its files, as settings of a tls block.
func (p *pki) cert(name string, args ...string) map[string]any {
	p.t.Helper()
	p.make(append([]string{"tls", "cert", "create"}, args...)...)
	return map[string]any{"ca_file": p.ca(), "cert_file": p.file(name), "key_file": p.file(name + "-key")}
}

// with adds settings.
func with(block map[string]any, more map[string]any) map[string]any {
	all := map[string]any{}
	for _, m := range []map[string]any{block, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

func tlsOf(rpc map[string]any) map[string]any {
	return map[string]any{"tls": map[string]any{"internal_rpc": rpc}}
}

// serverName is what ServerName in a TLS configuration of servers is.
const serverName = "server.dc1.consul"

// overTLS returns the official client for an agent's HTTPS.
func overTLS(t testing.TB, h *proctest.Host, address string, conf api.TLSConfig) *api.Client {
	t.Helper()
	transport := h.Transport()
	transport.ForceAttemptHTTP2 = true
	t.Cleanup(transport.CloseIdleConnections)
	config, err := api.SetupTLSConfig(&conf)
	if err != nil {
		t.Fatal(err)
	}
	transport.TLSClientConfig = config
	c, err := api.NewClient(&api.Config{Address: address, Scheme: "https", Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFilesAreTheIdentityOfAgents: two datacenters and a client agent whose
// certificates come from files, and strangers whose do not.
func TestFilesAreTheIdentityOfAgents(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	strict := map[string]any{"verify_incoming": true, "verify_outgoing": true, "verify_server_hostname": true}
	key := keygen(t)
	one, two := p.cert("dc1-server-consul-0", "-server"), p.cert("dc2-server-consul-0", "-server", "-dc=dc2")
	agent := p.cert("dc1-client-consul-0", "-client")
	home := start(t, spec{host: h, name: "home", dc: "dc1", ip: h.Addr(1, 1), expect: 3, key: key, config: tlsOf(with(one, strict))})
	var servers []*node
	for i := 2; i <= 3; i++ {
		servers = append(servers, start(t, spec{host: h, name: fmt.Sprint("home", i), dc: "dc1", ip: h.Addr(1, i), expect: 3, key: key, lan: []string{home.ip}, config: tlsOf(with(one, strict))}))
	}
	awaitLeader(t, patience, append(servers, home)...)
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, wan: []string{home.ip}, config: tlsOf(with(two, strict))})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 9), key: key, lan: []string{home.ip}, config: tlsOf(with(agent, strict))})
	proctest.Until(t, patience, "a client agent writes in both datacenters", func() error {
		if err := client.put("k", "v", "dc2"); err != nil {
			return err
		}
		if err := client.put("k", "v", ""); err != nil {
			return err
		}
		return away.get("k", "v", "dc1")
	})

	// The gossip key alone is no identity here, nor is a certificate of a client that
	// of a server, nor one of a server of another datacenter.
	bare := start(t, spec{host: h, name: "bare", dc: "dc1", ip: h.Addr(1, 10), key: key, lan: []string{home.ip}})
	if err := bare.get("k", "v", ""); err == nil {
		t.Error("an agent with the gossip key alone reads")
	}
	for _, c := range []struct {
		name, dc string
		cert     map[string]any
		why      string
	}{{"key", "dc3", nil, "no ca_file"}, {"lazy", "dc3", map[string]any{"ca_file": p.ca()}, "verify_incoming"}, {"pretender", "dc3", agent, "server.dc3.consul"}, {"otherdc", "dc3", two, "server.dc3.consul"}} {
		s := spec{host: h, name: c.name, dc: c.dc, ip: h.Addr(3, len(c.name)), expect: 1, key: key}
		if c.cert != nil {
			s.config = tlsOf(c.cert)
		}
		stranger := start(t, s)
		refused(t, stranger, home, true, c.why)
	}
	for _, n := range append(servers, home, away, client, bare) {
		calm(t, n.name, n.String())
	}
}

// TestFaultsOfCertificatesEndTheStart: every fault at once, with its file.
func TestFaultsOfCertificatesEndTheStart(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	one := p.cert("dc1-server-consul-0", "-server")
	other := p.cert("dc1-client-consul-0", "-client")
	n := newNode(t, spec{host: h, name: "n", dc: "dc1", ip: h.Addr(1, 1), expect: 1, flags: []string{"-https-port=8501"}, config: map[string]any{"tls": map[string]any{
		"internal_rpc": map[string]any{"ca_file": filepath.Join(p.dir, "missing"), "cert_file": one["cert_file"], "key_file": other["key_file"]},
		"https":        map[string]any{"cert_file": other["key_file"], "key_file": other["key_file"]},
	}}})
	n.launch()
	if code := n.WaitExit(patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
	contains(t, "the error", n.String(), filepath.Join(p.dir, "missing"), "no such file", "does not fit the certificate", "tls.internal_rpc: key_file", "tls.https: cert_file", "has no certificate in it")
	calm(t, n.name, n.String())
}

// TestHTTPS: the listener, HTTP/2, versions, certificates of clients, the official
// client and the program's own commands.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	ip := h.Addr(1, 2) // of HTTPS alone
	block := with(p.cert("dc1-server-consul-0", "-server", "-additional-ipaddress="+ip), map[string]any{"verify_incoming": true, "tls_cipher_suites": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"})
	cli := p.cert("dc1-cli-consul-0", "-cli")
	marker := filepath.Join(t.TempDir(), "watched")
	n := newNode(t, spec{host: h, name: "n", dc: "dc1", ip: h.Addr(1, 1), expect: 1, flags: []string{"-https-port=8501", "-http-port=-1"},
		config: map[string]any{"addresses": map[string]any{"https": ip}, "tls": map[string]any{"https": block}, "watches": []map[string]any{{"type": "key", "key": "watched", "args": []string{"touch", marker}}}}})
	n.start()
	address := net.JoinHostPort(ip, "8501")
	own := api.TLSConfig{CAFile: p.ca(), CertFile: p.file("dc1-cli-consul-0"), KeyFile: p.file("dc1-cli-consul-0-key")}
	client := overTLS(t, h, address, own)
	proctest.Until(t, patience, "the official client writes", func() error {
		_, err := client.KV().Put(&api.KVPair{Key: "k", Value: []byte("v")}, nil)
		return err
	})
	testHTTPSClients(t, h, address, own)
	testHTTPSVersions(t, h, address, own)
	testHTTPSCommands(t, h, address, p, cli)
	_, err := client.KV().Put(&api.KVPair{Key: "watched", Value: []byte("v")}, nil)
	must(t, "write", err)
	proctest.Until(t, patience, "a handler of the agent's own watches runs without HTTP", func() error { _, err := os.Stat(marker); return err })
	calm(t, n.name, n.String())
}

// testHTTPSClients: who shows no certificate, or a stranger's, gets nothing.
func testHTTPSClients(t *testing.T, h *proctest.Host, address string, own api.TLSConfig) {
	other := newPKI(t)
	other.cert("dc1-cli-consul-0", "-cli")
	for name, conf := range map[string]api.TLSConfig{
		"no certificate": {CAFile: own.CAFile}, "a stranger's": {CAFile: own.CAFile, CertFile: other.file("dc1-cli-consul-0"), KeyFile: other.file("dc1-cli-consul-0-key")},
		"another authority": {CAFile: other.ca(), CertFile: own.CertFile, KeyFile: own.KeyFile},
		"another name":      {CAFile: own.CAFile, CertFile: own.CertFile, KeyFile: own.KeyFile, Address: "server.dc2.consul"},
	} {
		if _, err := overTLS(t, h, address, conf).Agent().Self(); err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	named := own
	named.Address = serverName
	if _, err := overTLS(t, h, address, named).Agent().Self(); err != nil {
		t.Errorf("by the server's name: %v", err)
	}
	transport := h.Transport()
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("http://" + address + "/v1/status/leader")
	if must(t, "ask in plain text", err); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("plain text is answered %s", answer.Status)
	}
	_ = answer.Body.Close()
}

// testHTTPSVersions: TLS 1.2 with the suites of the configuration and 1.3, HTTP/1.1
// and HTTP/2, which a blocking read and a write share one connection of.
func testHTTPSVersions(t *testing.T, h *proctest.Host, address string, own api.TLSConfig) {
	base, err := api.SetupTLSConfig(&own)
	must(t, "set up TLS", err)
	get := func(change func(*tls.Config), h2 bool) (*http.Response, error) {
		conf := base.Clone()
		change(conf)
		transport := h.Transport()
		defer transport.CloseIdleConnections()
		transport.TLSClientConfig, transport.ForceAttemptHTTP2 = conf, h2
		r, err := (&http.Client{Transport: transport}).Get("https://" + address + "/v1/kv/k?raw")
		if err == nil {
			if b, e := io.ReadAll(r.Body); e != nil || string(b) != "v" {
				t.Errorf("answered %q, %v", b, e)
			}
			_ = r.Body.Close()
		}
		return r, err
	}
	for _, h2 := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			r, err := get(func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }, h2)
			if err != nil || r.ProtoMajor == 2 != h2 || r.TLS.Version != version {
				t.Errorf("HTTP/2 %v over %s: %+v, %v", h2, tls.VersionName(version), r, err)
			}
			if err == nil && version == tls.VersionTLS12 && r.TLS.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
				t.Errorf("the suite is %s", tls.CipherSuiteName(r.TLS.CipherSuite))
			}
		}
	}
	if _, err := get(func(c *tls.Config) {
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	}, false); err == nil {
		t.Error("a suite that is not allowed was agreed on")
	}
	if _, err := get(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, false); err == nil {
		t.Error("TLS 1.1 was agreed on")
	}
}

// testHTTPSCommands: flags and environment variables, for commands that talk to the
// agent in different ways.
func testHTTPSCommands(t *testing.T, h *proctest.Host, address string, p *pki, cli map[string]any) {
	flags := []string{"-http-addr=https://" + address, "-ca-file=" + p.ca(), "-client-cert=" + cli["cert_file"].(string), "-client-key=" + cli["key_file"].(string), "-tls-server-name=" + serverName}
	for _, c := range [][]string{
		{"kv", "get"}, {"members"}, {"info"}, {"catalog", "nodes"}, {"catalog", "services"}, {"federation", "status"}, {"services", "register"}, {"snapshot", "save"},
		{"event"}, {"lock"}, {"watch"}, {"reload"}, {"maint"}, {"debug"}, {"monitor"},
	} {
		tail := map[string][]string{"kv": {"k"}, "snapshot": {filepath.Join(t.TempDir(), "s")}, "event": {"-name=x"},
			"services": {"-name=tls"}, "lock": {"tls/lock", "true"}, "watch": {"-type=key", "-key=k"}}
		if c[0] == "debug" {
			tail["debug"] = []string{"-duration=2s", "-interval=1s", "-output=" + filepath.Join(t.TempDir(), "d"), "-capture=agent"}
		}
		args := append(append(append([]string(nil), c...), flags...), tail[c[0]]...)
		if c[0] == "monitor" { // it goes on until it is ended
			m := proctest.Start(t, h, "monitor", append(args, "-log-level=debug")...)
			proctest.Until(t, patience, "monitor shows lines", func() error {
				if r := proctest.Run(t, h, append([]string{"kv", "get"}, append(flags, "k")...)...); r.Code != 0 {
					return fmt.Errorf("kv get: %s", r.Stderr)
				}
				if !strings.Contains(m.String(), "/v1/kv/k") {
					return fmt.Errorf("it shows %q", m.Tail(3))
				}
				return nil
			})
			m.Kill()
			continue
		}
		if r := proctest.Run(t, h, args...); r.Code != 0 {
			t.Errorf("%q ended with %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
		}
	}
	missing := proctest.Run(t, h, "kv", "get", flags[0], "k")
	if missing.Code != 1 || !strings.Contains(missing.Stderr, "-ca-file") {
		t.Errorf("without -ca-file: %d, %s", missing.Code, missing.Stderr)
	}
	if r := proctest.Run(t, h, append([]string{"kv", "get"}, flags[0], flags[1], flags[4], "k")...); r.Code != 1 || !strings.Contains(r.Stderr, "-client-cert") {
		t.Errorf("without -client-cert: %d, %s", r.Code, r.Stderr)
	}
	if r := proctest.Run(t, h, append([]string{"kv", "get"}, append(append([]string(nil), flags[:4]...), "-tls-server-name=server.dc2.consul", "k")...)...); r.Code != 1 || !strings.Contains(r.Stderr, "-tls-server-name or") {
		t.Errorf("with another name: %d, %s", r.Code, r.Stderr)
	}
	plain := start(t, spec{host: h, name: "plain", dc: "dc1", ip: h.Addr(1, 3)})
	if r := proctest.Run(t, h, append([]string{"kv", "get", "-http-addr=https://" + net.JoinHostPort(plain.ip, "8500")}, append(append([]string(nil), flags[1:]...), "k")...)...); r.Code != 1 || !strings.Contains(r.Stderr, "No TLS is spoken") {
		t.Errorf("to the port of HTTP: %d, %s", r.Code, r.Stderr)
	}
	dir := filepath.Join(t.TempDir(), "cas")
	must(t, "make a directory", os.Mkdir(dir, 0o700))
	must(t, "link the authority", os.Symlink(p.ca(), filepath.Join(dir, "ca.pem")))
	for name, env := range map[string][]string{
		"CONSUL_CACERT": {"CONSUL_CACERT=" + p.ca(), "CONSUL_TLS_SERVER_NAME=" + serverName}, "CONSUL_CAPATH": {"CONSUL_CAPATH=" + dir}, "CONSUL_HTTP_SSL_VERIFY": {"CONSUL_HTTP_SSL_VERIFY=false"},
	} {
		env = append(env, "CONSUL_HTTP_ADDR="+address, "CONSUL_HTTP_SSL=true", "CONSUL_CLIENT_CERT="+cli["cert_file"].(string), "CONSUL_CLIENT_KEY="+cli["key_file"].(string))
		out := proctest.Tool(t, h, "", append(append([]string{"env"}, env...), os.Getenv(proctest.BinaryVar), "kv", "get", "k")...)
		if out != "v\n" {
			t.Errorf("with %s: %q", name, out)
		}
	}
}

// leafOf is the certificate that an agent's HTTPS shows now.
func leafOf(t testing.TB, h *proctest.Host, address string) (*x509.Certificate, error) {
	t.Helper()
	raw, err := h.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // what is shown is the question
	if err := conn.HandshakeContext(t.Context()); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

// TestCertificatesAreReadAgain: when their files change, and on a reload; connections
// live on, and files with a fault change nothing.
func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	ip := h.Addr(1, 1)
	p.cert("dc1-server-consul-0", "-server", "-days=90", "-additional-ipaddress="+ip)
	p.cert("dc1-server-consul-1", "-server", "-days=20", "-additional-ipaddress="+ip)
	p.cert("dc1-server-consul-2", "-server", "-days=60", "-additional-ipaddress="+ip)
	used := map[string]any{"ca_file": p.ca(), "cert_file": filepath.Join(p.dir, "used.pem"), "key_file": filepath.Join(p.dir, "used-key.pem")}
	put := func(from, to string) {
		b, err := os.ReadFile(p.file(from))
		must(t, "read", err)
		must(t, "write", os.WriteFile(p.file(to), b, 0o600))
	}
	install := func(n int) {
		put(fmt.Sprint("dc1-server-consul-", n), "used")
		put(fmt.Sprintf("dc1-server-consul-%d-key", n), "used-key")
	}
	install(0)
	n := start(t, spec{host: h, name: "n", dc: "dc1", ip: ip, expect: 1, flags: []string{"-https-port=8501"}, config: map[string]any{"tls": map[string]any{"defaults": used}}})
	address := net.JoinHostPort(ip, "8501")
	shows := func(i int) func() error {
		b, err := os.ReadFile(p.file(fmt.Sprint("dc1-server-consul-", i)))
		must(t, "read", err)
		block, _ := pem.Decode(b)
		want, err := x509.ParseCertificate(block.Bytes)
		must(t, "parse", err)
		return func() error {
			got, err := leafOf(t, h, address)
			if err == nil && !got.Equal(want) {
				err = fmt.Errorf("it shows the one that ends on %s, not %s", got.NotAfter, want.NotAfter)
			}
			if err != nil {
				return err
			}
			return expiryShown(n, want.NotAfter)
		}
	}
	must(t, "the first is shown", shows(0)())
	old := overTLS(t, h, address, api.TLSConfig{CAFile: p.ca()})
	_, err := old.Status().Leader()
	must(t, "ask over the first", err)

	mark := n.Mark()
	install(1)
	proctest.Until(t, patience, "the second is shown", shows(1))
	n.WaitLine(mark, patience, "read again")
	_, err = old.Status().Leader()
	must(t, "ask over the connection of before", err)

	mark = n.Mark()
	put("dc1-server-consul-0", "used") // without its key
	n.WaitLine(mark, patience, "NOT RENEWED", "does not fit")
	must(t, "the second is still shown", shows(1)())
	if r := n.cli("reload"); r.Code == 0 || !strings.Contains(r.Stderr, "does not fit") {
		t.Errorf("a reload with faults: %d, %s", r.Code, r.Stderr)
	}
	must(t, "the second is shown after a failed reload", shows(1)())

	install(2)
	if r := n.cli("reload"); r.Code != 0 {
		t.Errorf("reload: %s", r.Stderr)
	}
	must(t, "the third is shown right after the reload", shows(2)())

	install(1)
	must(t, "restart", func() error { n.Kill(); n.start(); return nil }())
	n.WaitLine(0, patience, "expires soon", "listener=https")
	calm(t, n.name, n.String())
}

// expiryShown compares the metric.
func expiryShown(n *node, want time.Time) error {
	for _, listener := range []string{"https", "internal_rpc"} {
		if got, err := expiryOf(n, listener); err != nil || !got.Equal(want.Truncate(time.Second)) {
			return fmt.Errorf("/metrics says of %s that it expires at %s, %v", listener, got, err)
		}
	}
	return nil
}

// TestServersGiveClientAgentsCertificates: servers that let nobody in without a
// certificate from files, and a client agent with the gossip key and the authority alone.
func TestServersGiveClientAgentsCertificates(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	key := keygen(t)
	strict := map[string]any{"verify_incoming": true, "verify_outgoing": true, "verify_server_hostname": true}
	conf := tlsOf(with(p.cert("dc1-server-consul-0", "-server"), strict))
	conf["auto_encrypt"] = map[string]any{"allow_tls": true}
	var servers []*node
	for i := 1; i <= 3; i++ {
		servers = append(servers, start(t, spec{host: h, name: fmt.Sprint("s", i), dc: "dc1", ip: h.Addr(1, i), expect: 3, key: key, lan: []string{h.Addr(1, 1)}, config: conf}))
	}
	awaitLeader(t, patience, servers...)
	asking := tlsOf(with(map[string]any{"ca_file": p.ca()}, strict))
	asking["auto_encrypt"] = map[string]any{"tls": true, "dns_san": []string{"x"}, "ip_san": []string{"127.0.0.1"}}
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 9), key: key, lan: []string{h.Addr(1, 1)}, config: asking})
	took := proctest.Until(t, patience, "the client agent reads and writes", func() error {
		if err := client.put("k", "v", ""); err != nil {
			return err
		}
		return client.get("k", "v", "")
	})
	t.Logf("after %s", took)
	client.WaitLine(0, patience, "has given this agent a certificate")
	until, err := expiryOf(client, "auto_encrypt")
	must(t, "read the metric", err)
	if left := time.Until(until); left < 70*time.Hour || left > 72*time.Hour {
		t.Errorf("the certificate is valid for %s", left)
	}
	// Who does not ask gets none, and no server gives its own kind away.
	bare := start(t, spec{host: h, name: "bare", dc: "dc1", ip: h.Addr(1, 10), key: key, lan: []string{h.Addr(1, 1)}, config: tlsOf(map[string]any{"ca_file": p.ca()})})
	if err := bare.get("k", "v", ""); err == nil {
		t.Error("an agent without a certificate reads")
	}
	stranger := newNode(t, spec{host: h, name: "stranger", dc: "dc1", ip: h.Addr(1, 11), config: asking})
	stranger.launch()
	if code := stranger.WaitExit(patience); code != 1 {
		t.Errorf("without a gossip key it ended with %d", code)
	}
	contains(t, "what it says", stranger.String(), "auto_encrypt takes a gossip key")
	for _, n := range append(servers, client, bare) {
		calm(t, n.name, n.String())
	}
}

// expiryOf reads when the certificate of a listener expires from /metrics.
func expiryOf(n *node, listener string) (time.Time, error) {
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get("http://" + net.JoinHostPort(n.ip, "8500") + "/metrics")
	if err != nil {
		return time.Time{}, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return time.Time{}, err
	}
	name := fmt.Sprintf("legate_tls_certificate_expiry_timestamp_seconds{listener=%q} ", listener)
	_, rest, found := strings.Cut(string(b), name)
	if !found {
		return time.Time{}, fmt.Errorf("/metrics has no %s", name)
	}
	text, _, _ := strings.Cut(rest, "\n")
	seconds, err := strconv.ParseFloat(text, 64)
	return time.Unix(int64(seconds), 0), err
}

//go:build linux

package e2e

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// marked are secrets that are easy to find again, by what they are for.
type marked map[string]string

// of makes the secret for a purpose up, in the form of a token.
func (m marked) of(purpose string) string {
	if m[purpose] == "" {
		m[purpose] = fmt.Sprintf("5ec2e700-0000-4000-8000-%012d", len(m)+1)
	}
	return m[purpose]
}

// key is a gossip key.
func (m marked) key() string {
	m["the gossip key"] = base64.StdEncoding.EncodeToString([]byte("5ec2e75ec2e75ec2e75ec2e75ec2e7!!"))
	return m["the gossip key"]
}

// in finds secrets in what was put out.
func (m marked) in(t *testing.T, where, text string) {
	t.Helper()
	for purpose, secret := range m {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s shows the secret of %s: …%s…", where, purpose, text[max(0, at-150):min(len(text), at+60)])
		}
	}
}

// configuration has a secret wherever there can be one.
func (m marked) configuration(management string, server bool) map[string]any {
	tokens := map[string]any{"agent": management}
	for _, name := range []string{"default", "agent_recovery", "replication", "dns", "config_file_service_registration"} {
		tokens[name] = m.of("acl.tokens." + name)
	}
	if server {
		tokens["initial_management"] = management
	}
	return map[string]any{
		"encrypt": m.key(), "log_level": "TRACE", "enable_debug": true, "enable_script_checks": true,
		"acl":       map[string]any{"enabled": true, "default_policy": "deny", "enable_token_persistence": true, "tokens": tokens},
		"telemetry": map[string]any{"otlp_endpoint": "http://127.0.0.1:1", "otlp_headers": map[string]string{"Authorization": "Bearer " + m.of("telemetry.otlp_headers")}},
		"services": []map[string]any{{"name": "web", "port": 80, "token": m.of("the token of a service"),
			"check": map[string]any{"http": "http://127.0.0.1:1/", "interval": "1s", "header": map[string][]string{"Authorization": {"Bearer " + m.of("the header of a check")}}}}},
		"checks": []map[string]any{{"name": "c", "ttl": "1h", "token": m.of("the token of a check")}},
		"watches": []map[string]any{{"type": "key", "key": "k", "token": m.of("the token of a watch"), "handler_type": "http",
			"http_handler_config": map[string]any{"path": "http://127.0.0.1:1/", "header": map[string][]string{"Authorization": {m.of("the header of a watch")}}}}},
	}
}

// unpacked is everything in an archive, as one text.
func unpacked(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("\n--- " + h.Name + "\n")
		if _, err := io.Copy(&all, io.LimitReader(r, 64<<20)); err != nil {
			t.Fatal(err)
		}
	}
}

// What is secret is in no log, answer, error, metric, archive or title of a process,
// whatever is configured and asked.
func TestSecretsAreShownNowhere(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	secrets := marked{}
	key, management := secrets.key(), secrets.of("the management token")
	server := start(t, spec{host: h, name: "s1", dc: "dc1", ip: h.Addr(1, 1), expect: 1, config: secrets.configuration(management, true)})
	client := start(t, spec{host: h, name: "c1", dc: "dc1", ip: h.Addr(1, 2), lan: []string{server.ip}, config: secrets.configuration(management, false)})
	asRoot := " -token=" + management
	proctest.Until(t, patience, "access control has begun", func() error {
		if r := client.cli("acl token list" + asRoot); r.Code != 0 {
			return errors.New(r.Stderr)
		}
		return nil
	})

	var said strings.Builder // what commands print that show secrets to nobody who has not got them
	for _, n := range []*node{server, client} {
		for _, args := range [][]string{
			{"kv put -token=" + secrets.of("a token that is not known"), "k", "v"},
			{"kv put -token=" + secrets.of("acl.tokens.default"), "k", "v"},
			{"acl set-agent-token" + asRoot, "dns", secrets.of("a token that is set while the agent runs")},
			{"login -method=none -bearer-token-file=" + written(t, secrets.of("a bearer")) + " -token-sink-file=" + filepath.Join(t.TempDir(), "sink")},
			{"logout -token=" + secrets.of("a token that logs out")},
			{"acl token read -token=" + secrets.of("a token that reads itself"), "-self"},
			{"keyring -install=" + key + " -token=" + secrets.of("a token without rights to keys")},
			{"members" + asRoot}, {"info" + asRoot}, {"operator raft list-peers" + asRoot}, {"federation list" + asRoot}, {"reload" + asRoot},
			{"catalog services -tags" + asRoot}, {"validate", filepath.Join(t.TempDir(), "none")},
		} {
			r := n.cli(args...)
			said.WriteString(r.Stdout + r.Stderr)
		}
		for _, path := range []string{"/v1/agent/self", "/v1/agent/services", "/v1/agent/checks", "/v1/agent/metrics", "/metrics", "/v1/catalog/nodes", "/v1/health/state/any",
			"/v1/internal/ui/services", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/v1/acl/policies", "/v1/acl/auth-methods", "/v1/acl/replication"} {
			said.WriteString(body(t, n, path, management))
			said.WriteString(body(t, n, path, secrets.of("a token that is not known")))
		}
		said.WriteString(sent(t, n, "/v1/acl/token", management, `{"SecretID": "`+secrets.of("a body that is wrong")+`", "Policies": 7}`))
		said.WriteString(sent(t, n, "/v1/acl/token", management, `{"SecretID": "`+secrets.of("a secret that is no UUID")+`x"}`))
		said.WriteString(sent(t, n, "/v1/agent/token/unknown?token="+management, "", `{"Token": "`+secrets.of("a token for nothing")+`"}`))
		said.WriteString(sent(t, n, "/v1/agent/service/register", management, `{"Name": "x", "Token": "`+secrets.of("a registration that is refused")+`", "Check": {"TTL": "x"}}`))
		archive := filepath.Join(t.TempDir(), "archive")
		if r := n.cli("debug"+asRoot+" -duration=2s -interval=1s", "-output="+archive); r.Code != 0 {
			t.Fatalf("debug: %s%s", r.Stdout, r.Stderr)
		}
		secrets.in(t, "the archive of debug of "+n.name, unpacked(t, archive+".tar.gz"))
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		secrets.in(t, "the title of "+n.name, string(title))
	}
	secrets.in(t, "an answer", said.String())
	for _, n := range []*node{server, client} {
		secrets.in(t, "the log of "+n.name, n.String())
	}
	if len(secrets) < 20 || !strings.Contains(said.String(), "ACL not found") || !strings.Contains(server.String(), "level=DEBUG") {
		t.Errorf("the test has shown too little: %d secrets, %d bytes", len(secrets), said.Len())
	}
}

// written is a file with a text.
func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// body is what is answered to a GET request.
func body(t *testing.T, n *node, path, token string) string {
	t.Helper()
	return answered(t, n, http.MethodGet, path, token, "")
}

// sent is what is answered to a PUT request.
func sent(t *testing.T, n *node, path, token, body string) string {
	t.Helper()
	return answered(t, n, http.MethodPut, path, token, body)
}

func answered(t *testing.T, n *node, method, path, token, body string) string {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+n.ip+":8500"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	transport := n.host.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v\n%s", resp.Header, b)
}

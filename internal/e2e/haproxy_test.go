//go:build linux

package e2e

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// haproxy lets HAProxy find its servers in our DNS, by SRV records and by
// addresses.
func haproxy(t *testing.T, p *pair) {
	path := program(t, "haproxy")
	front, dir := p.c1.host.Addr(4, 1), t.TempDir()
	config, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "stats")
	const port = 8080 // of the servers, which all have addresses of their own
	must(t, "write the configuration", os.WriteFile(config, fmt.Appendf(nil, `
global
  stats socket %[1]s mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
  option http-server-close
resolvers legate
  nameserver c1 %[2]s:8600
  accepted_payload_size 8192
  timeout resolve 500ms
  timeout retry 500ms
  hold valid 500ms
  hold nx 1s
  hold obsolete 1s
frontend by_srv
  bind %[3]s:8081
  default_backend srv
frontend by_address
  bind %[3]s:8082
  default_backend address
backend srv
  server-template web 4 _ha-web._tcp.service.consul resolvers legate resolve-prefer ipv4 init-addr none
backend address
  server-template web 4 ha-web.service.consul:%[4]d resolvers legate resolve-prefer ipv4 init-addr none
`, socket, p.c1.ip, front, port), 0o600))
	proctest.StartTool(t, p.c1.host, "haproxy", path, "-db", "-f", config)

	addr := func(i int) string { return fmt.Sprintf("%s:%d", p.c1.host.Addr(5, i), port) }
	register := func(i int) {
		t.Helper()
		must(t, "register", p.c1.client.Agent().ServiceRegister(&api.AgentServiceRegistration{
			ID: fmt.Sprint("ha-", i), Name: "ha-web", Address: p.c1.host.Addr(5, i), Port: port, Check: &api.AgentServiceCheck{TTL: "60s", Status: api.HealthPassing},
		}))
	}
	for i := 1; i <= 3; i++ {
		var l net.Listener
		must(t, "listen", p.c1.host.Inside(func() (err error) {
			l, err = net.Listen("tcp", addr(i))
			return err
		}))
		serve(t, l, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, addr(i)) })
	}
	web := &http.Client{Transport: p.c1.host.Transport()}
	t.Cleanup(web.CloseIdleConnections)
	behind := func(servers ...int) {
		t.Helper()
		want := map[string]bool{}
		for _, i := range servers {
			want[addr(i)] = true
		}
		for backend, port := range map[string]int{"srv": 8081, "address": 8082} {
			proctest.Until(t, patience, fmt.Sprintf("HAProxy's backend %s has the servers %v", backend, servers), func() error {
				got, err := serversOf(socket, backend)
				if err == nil && !reflect.DeepEqual(got, want) {
					err = fmt.Errorf("it has %v", got)
				}
				return err
			})
			answered := map[string]bool{}
			for range 12 {
				if who, err := page(web, fmt.Sprintf("http://%s:%d/", front, port)); err == nil {
					answered[who] = true
				}
			}
			if !reflect.DeepEqual(answered, want) {
				t.Errorf("through backend %s answer %v, want %v", backend, answered, want)
			}
		}
	}
	register(1)
	behind(1)
	register(2)
	register(3)
	behind(1, 2, 3)
	must(t, "fail", p.c1.client.Agent().UpdateTTL("service:ha-2", "", api.HealthCritical))
	behind(1, 3)
	must(t, "deregister", p.c1.client.Agent().ServiceDeregister("ha-3"))
	behind(1)
	must(t, "pass", p.c1.client.Agent().UpdateTTL("service:ha-2", "", api.HealthPassing))
	behind(1, 2)
	must(t, "maintain", p.c1.client.Agent().EnableServiceMaintenance("ha-1", "test"))
	behind(2)
	must(t, "deregister", p.c1.client.Agent().ServiceDeregister("ha-2"))
	behind()
}

func page(web *http.Client, url string) (string, error) {
	resp, err := web.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d", url, resp.StatusCode)
	}
	return string(body), err
}

// serversOf asks HAProxy for the addresses of the servers in use.
func serversOf(socket, backend string) (map[string]bool, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	lines, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "# "))).ReadAll()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, name := range lines[0] {
		column[name] = i
	}
	servers := map[string]bool{}
	for _, line := range lines[1:] {
		if line[column["pxname"]] == backend && line[column["svname"]] != "BACKEND" && !strings.HasPrefix(line[column["status"]], "MAINT") {
			servers[line[column["addr"]]] = true
		}
	}
	return servers, nil
}

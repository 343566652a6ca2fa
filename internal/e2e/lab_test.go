//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
)

// The lab that is locked down shows tokens, each of which does what the lab says, in all
// datacenters, and without one nobody may do anything. Ctrl-C ends all of it.
func TestALockedDownLab(t *testing.T) {
	h := proctest.Loopback(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // of the socket that the lab is told by
	lab := proctest.Start(t, h, "lab", "lab", "-acl", "-servers=1", "-clients=1", "-rtt=20ms", "-log")
	lab.WaitLine(0, 2*patience, "Ctrl-C ends the lab")
	said := lab.String()
	for line := range strings.Lines(said) {
		if strings.Contains(line, "level=") && strings.Contains(line, "enied") {
			t.Errorf("while the lab starts: %s", line)
		}
	}
	page := regexp.MustCompile(`http://[0-9.:]+/ui/`).FindString(said)
	if page == "" || strings.Index(said, page) > strings.Index(said, "export CONSUL_HTTP_ADDR") {
		t.Fatalf("the lab does not name its page first:\n%s", said)
	}
	if got := status(t, h, page, ""); got != http.StatusOK {
		t.Errorf("the page %s: %d", page, got)
	}
	secret := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern + `([0-9a-f-]{36})`).FindStringSubmatch(said)
		if m == nil {
			t.Fatalf("the lab shows no token after %q:\n%s", pattern, said)
		}
		return m[1]
	}
	management, app := secret(`export CONSUL_HTTP_TOKEN=`), secret(`kv put -token=`)

	for i := range 3 {
		dc, server := fmt.Sprint("dc", i+1), fmt.Sprintf("127.0.%d.1", 11+i)
		run := func(token, words string, args ...string) proctest.Result {
			all := append(strings.Fields(words), "-http-addr="+server+":8500")
			if token != "" {
				all = append(all, "-token="+token)
			}
			return proctest.Run(t, h, append(all, args...)...)
		}
		if r := run("", "kv put", "app/"+dc, "x"); r.Code == 0 || !strings.Contains(r.Stderr, "Permission denied") {
			t.Errorf("%s without a token: %d %s%s", dc, r.Code, r.Stdout, r.Stderr)
		}
		if r := run(app, "kv put", "app/"+dc, "hello"); r.Code != 0 {
			t.Errorf("%s, the application's key: %s", dc, r.Stderr)
		}
		if r := run(app, "kv put", "other/"+dc, "hello"); r.Code == 0 || !strings.Contains(r.Stderr, `lacks permission 'key:write' on "other/`+dc+`"`) {
			t.Errorf("%s, another key with the application's token: %d %s%s", dc, r.Code, r.Stdout, r.Stderr)
		}
		if r := run(management, "acl token list"); r.Code != 0 || strings.Count(r.Stdout, "AccessorID") < 4 {
			t.Errorf("%s, the list of tokens: %s%s", dc, r.Stdout, r.Stderr)
		}
		if r := run(management, "members"); r.Code != 0 || !strings.Contains(r.Stdout, "alive") {
			t.Errorf("%s, the members: %s%s", dc, r.Stdout, r.Stderr)
		}
		c := clientOf(t, h, server, management)
		for j := range 3 { // from each in each
			other := fmt.Sprint("dc", j+1)
			proctest.Until(t, patience, dc+" writes and finds services in "+other, func() error {
				if _, err := c.KV().Put(&api.KVPair{Key: dc, Value: []byte("v")}, &api.WriteOptions{Datacenter: other}); err != nil {
					return err
				}
				list, _, err := c.Health().Service("web", "", true, &api.QueryOptions{Datacenter: other})
				if err == nil && len(list) == 0 {
					err = fmt.Errorf("no instance of web")
				}
				return err
			})
		}
		if got := status(t, h, "http://"+server+":8500/v1/agent/members", management); got != http.StatusOK {
			t.Errorf("%s over HTTP: %d", dc, got)
		}
		if got := status(t, h, "http://"+server+":8500/v1/agent/members", "11111111-2222-3333-4444-555555555555"); got != http.StatusForbidden {
			t.Errorf("%s over HTTP with an unknown token: %d", dc, got)
		}
	}
	lab.Signal(os.Interrupt)
	if code := lab.WaitExit(patience); code != 0 {
		t.Errorf("the lab ends with %d:\n%s", code, lab.Tail(20))
	}
	if _, err := h.DialContext(t.Context(), "tcp", "127.0.11.1:8500"); err == nil {
		t.Error("an agent of the lab goes on")
	}
}

// status is that of an answer to who shows a token.
func status(t *testing.T, h *proctest.Host, url, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", token)
	transport := h.Transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

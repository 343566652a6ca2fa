package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/sockets"
	"github.com/legate-project/legate/config"
)

func TestUnixSocketsHaveTheirRights(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	o := run(t, loopback(62), t.TempDir(), fmt.Sprintf(`addresses { http = "unix://%s %s" } unix_sockets { mode = "0620" user = "%d" group = "%d" }`,
		path, loopback(62), os.Getuid(), os.Getgid()))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o620 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://socket/v1/status/leader")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("through the socket: %s", res.Status)
	}
	o.stop(t)
	cfg, err := load(t, loopback(63), t.TempDir(), fmt.Sprintf(`addresses { http = "unix://%s" } unix_sockets { user = "no-such-user-here" }`, path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sockets.Listen("unix://"+path, cfg.UnixSockets); err == nil || !strings.Contains(err.Error(), "unix_sockets.user") {
		t.Errorf("for a user that is not there: %v", err)
	}
}

// Without a mode the umask decides, whoever the socket belongs to.
func TestUnixSocketsWithoutAModeGoByTheUmask(t *testing.T) {
	dir := t.TempDir()
	mode := func(name string, rights config.UnixSockets) fs.FileMode {
		path := filepath.Join(dir, name)
		l, err := sockets.Listen("unix://"+path, rights)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	plain := mode("plain", config.UnixSockets{})
	if got := mode("owned", config.UnixSockets{User: strconv.Itoa(os.Getuid()), Group: strconv.Itoa(os.Getgid())}); got != plain {
		t.Errorf("the mode is %o, by the umask it is %o", got, plain)
	}
}

func TestNodeIDOfTheHost(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, one, same, two := file("0", "\n"), file("1", "ABCD\n"), file("2", "abcd"), file("3", "efgh")
	id, ok := hostNodeID([]string{filepath.Join(dir, "none"), empty, one, two})
	if _, err := uuid.Parse(id); err != nil || !ok {
		t.Fatalf("the ID is %q, %v", id, err)
	}
	if again, _ := hostNodeID([]string{same}); again != id {
		t.Errorf("the same host has the IDs %s and %s", id, again)
	}
	if other, _ := hostNodeID([]string{two}); other == id {
		t.Errorf("two hosts have the ID %s", id)
	}
	if id, ok := hostNodeID([]string{empty}); ok {
		t.Errorf("a host without an ID has %s", id)
	}
	want, known := hostNodeID(hostIDFiles())
	of := func(hcl string) string {
		cfg, err := load(t, loopback(64), t.TempDir(), hcl)
		if err != nil {
			t.Fatal(err)
		}
		return made(t, cfg)
	}
	if a, b := of(`disable_host_node_id = false`), of(`disable_host_node_id = false`); known && (a != want || b != want) {
		t.Errorf("new agents of this host have the IDs %s and %s, want %s", a, b, want)
	}
	if a, b := of(""), of(""); a == b {
		t.Errorf("two agents have the ID %s", a)
	}
}

func TestServerThatWasAwayForLongDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	const conf = `server = true bootstrap_expect = 1 server_rejoin_age_max = "7h"`
	if err := started(t, loopback(65), dir, conf); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, seenFile)
	for _, c := range []struct {
		absent time.Duration
		want   error
	}{{6 * time.Hour, nil}, {8 * time.Hour, ErrAwayTooLong}} {
		text := fmt.Sprintf(`{"last":%q}`, time.Now().Add(-c.absent).Format(time.RFC3339))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := started(t, loopback(65), dir, conf); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("away for %s: %v, want %v", c.absent, err, c.want)
		}
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := started(t, loopback(65), dir, conf); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("with a damaged file: %v", err)
	}
}

func TestOnlyAllowedNetworksJoin(t *testing.T) {
	narrow := run(t, loopback(66), t.TempDir(), fmt.Sprintf(`serf_lan_allowed_cidrs = ["%s/32", "%s/32"]`, loopback(66), loopback(67)))
	friend := begin(t, loopback(67), t.TempDir(), `node_name = "friend"`)
	stranger := begin(t, loopback(68), t.TempDir(), `node_name = "stranger"`)
	if err := friend.client.Agent().Join(loopback(66), false); err != nil {
		t.Errorf("from an allowed network: %v", err)
	}
	_ = stranger.client.Agent().Join(loopback(66), false) // refused by silence, or by an error
	names := func() string {
		members, err := narrow.client.Agent().Members(false)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, m := range members {
			all = append(all, m.Name)
		}
		return strings.Join(all, " ")
	}
	eventually(t, "the friend is a member", func() bool { return strings.Contains(names(), "friend") })
	// The friend knows nobody else either, and gossips with the stranger in vain.
	_ = friend.client.Agent().Join(loopback(68), false)
	eventually(t, "the friend knows the stranger", func() bool { return len(friend.lan.Members()) == 3 })
	if got := names(); strings.Contains(got, "stranger") {
		t.Errorf("the members are %s", got)
	}
}

func TestClientsSayWhenTheyAreForgotten(t *testing.T) {
	srv := run(t, loopback(69), t.TempDir(), "")
	for i, c := range []struct{ name, conf string }{{"brief", `advertise_reconnect_timeout = "1s"`}, {"usual", ""}} {
		o := begin(t, loopback(70+i), t.TempDir(), fmt.Sprintf("node_name = %q retry_join = [%q] %s", c.name, loopback(69), c.conf))
		eventually(t, "it is a member", func() bool { return len(o.lan.Members()) >= 2 })
		o.stop(t)
	}
	status := func(name string) string {
		for _, m := range srv.lan.Members() {
			if m.Name == name {
				return fmt.Sprint(m.Status)
			}
		}
		return "forgotten"
	}
	eventually(t, "the client that said so is forgotten", func() bool { return status("brief") == "forgotten" })
	eventually(t, "the other one failed", func() bool {
		return strings.Contains(strings.ToLower(status("usual")), "fail") || status("usual") == "4"
	})
}

func TestPreVoteIsSwitchedOff(t *testing.T) {
	for i, c := range []struct {
		conf string
		asks bool
	}{{"", true}, {"raft_prevote_disabled = true", false}} {
		o := run(t, loopback(72+i), t.TempDir(), `log_level = "DEBUG" `+c.conf)
		if got := strings.Contains(o.log.String(), "pre-vot"); got != c.asks {
			t.Errorf("%q: asks for votes first: %v", c.conf, got)
		}
	}
}

// A client agent refuses what its clients ask beyond limits.rpc_rate with a status that
// says so; its own services are in the catalog all the same. A reload changes the rate.
func TestAClientAgentBoundsItsCalls(t *testing.T) {
	srv := run(t, loopback(74), t.TempDir(), "")
	const conf = `node_name = "c1" retry_join = ["%s"] limits { rpc_rate = %v rpc_max_burst = 20 }`
	dir := t.TempDir()
	o := begin(t, loopback(75), dir, fmt.Sprintf(conf, loopback(74), 0.5))
	eventually(t, "the agent's node is in the catalog", func() bool {
		n, _, err := srv.client.Catalog().Node("c1", nil)
		return err == nil && n != nil
	})
	ask := func(times int) (served, refused int) {
		for range times {
			res, err := http.Get(o.url + "/v1/kv/none?consistent")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err = errors.Join(err, res.Body.Close()); err != nil {
				t.Fatal(err)
			}
			switch {
			case res.StatusCode == http.StatusNotFound:
				served++
			case res.StatusCode == http.StatusTooManyRequests && res.Header.Get("X-Legate-Reason") == "busy" && strings.Contains(string(body), "limits.rpc_rate"):
				refused++
			default:
				t.Fatalf("%s: %s", res.Status, body)
			}
		}
		return served, refused
	}
	if served, refused := ask(60); refused < 60-20-10 || served > 30 {
		t.Errorf("%d calls were made, %d refused", served, refused)
	}
	if err := o.client.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent's service is in the catalog", func() bool {
		ask(1)
		list, _, err := srv.client.Catalog().Service("web", "", nil)
		return err == nil && len(list) == 1
	})
	o.load = func() (*config.Config, error) {
		return load(t, loopback(75), dir, fmt.Sprintf(conf, loopback(74), -1))
	}
	if err := o.client.Agent().Reload(); err != nil {
		t.Fatal(err)
	}
	if served, refused := ask(60); refused != 0 {
		t.Errorf("without a rate %d calls were made, %d refused", served, refused)
	}
}

// Whoever connects to a server's ports and proves nothing is given up after
// limits.rpc_handshake_timeout, and one address has no more than
// limits.rpc_max_conns_per_client connections.
func TestAServerBoundsConnectionsOfStrangers(t *testing.T) {
	srv := run(t, loopback(76), t.TempDir(), `limits { rpc_handshake_timeout = "500ms" rpc_max_conns_per_client = 5 }`)
	addr := net.JoinHostPort(loopback(76), strconv.Itoa(srv.cfg.Ports.Server))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ended := func(c net.Conn) time.Duration {
		t.Helper()
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the connection of a stranger: %v", err)
		}
		return time.Since(began)
	}
	var held []net.Conn
	for range 5 {
		held = append(held, dial())
	}
	if took := ended(dial()); took > 400*time.Millisecond {
		t.Errorf("a sixth connection is closed after %s", took)
	}
	for _, c := range held {
		ended(c)
	}
	if all, _ := srv.limits.Raft.Open(); all != 0 {
		t.Errorf("%d connections are left", all)
	}
	var text string
	for lines := get(t, srv.url+"/metrics"); lines.Scan(); {
		text += lines.Text() + "\n"
	}
	if !strings.Contains(text, `legate_connections_refused_total{bound="address",port="raft"} 1`) {
		t.Error("the refused connection is not counted")
	}
}

//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/proctest"
)

// longestOutage is how long no server may take a write while servers are restarted one
// after another: that of a change of the leader.
const longestOutage = 4 * time.Second

// load writes numbers and reads them back until it is stopped, and keeps what was
// promised to it.
type load struct {
	t       testing.TB
	clients []*api.Client
	group   *lifecycle.Group

	writes, reads atomic.Int64
	mu            sync.Mutex
	acked         time.Time // of the last write that was
	outage        time.Duration
	during        string // what was going on in the longest outage
	step          string
	wrong         []string
}

const (
	loadWorkers = 4
	loadPause   = 10 * time.Millisecond
)

func startLoad(t testing.TB, nodes []*node) *load {
	t.Helper()
	l := &load{t: t, group: lifecycle.New("load"), acked: time.Now()}
	for _, n := range nodes {
		l.clients = append(l.clients, clientOf(t, n.host, n.ip, n.token))
	}
	for i := range loadWorkers {
		must(t, "start the load", l.group.Go(fmt.Sprint("worker ", i), func(ctx context.Context) { l.work(ctx, i) }))
	}
	t.Cleanup(func() { l.stop() })
	return l
}

// ask has one of the servers answer, each in turn, for as long as patience goes.
func (l *load) ask(ctx context.Context, turn *int, do func(*api.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if err = do(l.clients[*turn%len(l.clients)]); err == nil {
			return nil
		}
		*turn++
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.Join(err, ctx.Err())
}

// work writes one number after another to a key of its own. One that was not promised
// is tried again until it is: so each number that is read is the last promised one.
func (l *load) work(ctx context.Context, i int) {
	key := fmt.Sprint("load/", i)
	for n, turn := 1, i; ctx.Err() == nil; n++ {
		pair := &api.KVPair{Key: key, Value: []byte(strconv.Itoa(n))}
		err := l.ask(ctx, &turn, func(c *api.Client) error {
			_, err := c.KV().Put(pair, (&api.WriteOptions{}).WithContext(ctx))
			return err
		})
		if err != nil {
			if ctx.Err() == nil {
				l.fault("%s: no write within %s: %v", key, patience, err)
			}
			return
		}
		l.took()
		turn++ // another server answers the read
		var got *api.KVPair
		err = l.ask(ctx, &turn, func(c *api.Client) error {
			var err error
			got, _, err = c.KV().Get(key, (&api.QueryOptions{RequireConsistent: n%2 == 0}).WithContext(ctx))
			return err
		})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.fault("%s: no read within %s: %v", key, patience, err)
		case got == nil || string(got.Value) != strconv.Itoa(n):
			l.fault("%s: %d was promised and %+v is read", key, n, got)
		}
		l.reads.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(loadPause): // other tests want the disk, too
		}
	}
}

func (l *load) took() {
	l.writes.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if gap := time.Since(l.acked); gap > l.outage {
		l.outage, l.during = gap, l.step
	}
	l.acked = time.Now()
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func (l *load) begins(step string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = step
}

// stop ends the load and judges it.
func (l *load) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.group.Stop(ctx); err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.wrong {
		l.t.Error(text)
	}
	l.wrong = nil
}

// TestFromGossipKeysToFilesAndBack restarts servers one after another, each time with
// the next step of the way, while clients write and read.
func TestFromGossipKeysToFilesAndBack(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	key := keygen(t)
	one, two, agent := p.cert("dc1-server-consul-0", "-server"), p.cert("dc2-server-consul-0", "-server", "-dc=dc2"), p.cert("dc1-client-consul-0", "-client")
	strict := map[string]any{"verify_incoming": true, "verify_outgoing": true, "verify_server_hostname": true}
	known := map[string]any{"ca_file": p.ca()}
	// A step is what each kind of agent has in its configuration.
	type step struct {
		name              string
		one, two, clients map[string]any
	}
	steps := []step{
		{"the gossip key", nil, nil, nil}, {"the authority is known", known, known, known}, {"files are shown", one, two, agent},
		{"files are asked for", with(one, strict), with(two, strict), with(agent, strict)},
	}
	var servers []*node
	for i := 1; i <= 3; i++ {
		s := spec{host: h, name: fmt.Sprint("s", i), dc: "dc1", ip: h.Addr(1, i), expect: 3, key: key}
		if i > 1 {
			s.lan = []string{h.Addr(1, 1)}
		}
		servers = append(servers, start(t, s))
	}
	servers[0].lan = []string{h.Addr(1, 2)}
	away := start(t, spec{host: h, name: "away", dc: "dc2", ip: h.Addr(2, 1), expect: 1, key: key, wan: []string{servers[0].ip}})
	client := start(t, spec{host: h, name: "client", dc: "dc1", ip: h.Addr(1, 9), key: key, lan: []string{servers[1].ip}})
	awaitLeader(t, patience, servers...)
	all := append(append([]*node(nil), servers...), away, client)
	answers := func() {
		proctest.Until(t, patience, "all answer, also of the other datacenter", func() error {
			for _, n := range all {
				if err := n.get("k", "v", "dc1"); err != nil {
					return fmt.Errorf("%s: %w", n.name, err)
				}
				if err := n.get("k", "v", "dc2"); err != nil {
					return fmt.Errorf("%s, of dc2: %w", n.name, err)
				}
			}
			return nil
		})
	}
	for _, dc := range []string{"dc1", "dc2"} {
		proctest.Until(t, patience, "writes are taken", func() error { return client.put("k", "v", dc) })
	}
	answers()
	l := startLoad(t, servers)
	way := append(append([]step(nil), steps[1:]...), steps[2], steps[1], steps[0])
	for i, s := range way {
		for _, n := range all {
			block := s.one
			switch n {
			case away:
				block = s.two
			case client:
				block = s.clients
			}
			name := fmt.Sprintf("step %d, %s: restart of %s", i+1, s.name, n.name)
			l.begins(name)
			n.Signal(syscall.SIGTERM)
			n.WaitExit(patience)
			n.config = nil
			if block != nil {
				n.config = tlsOf(block)
			}
			n.start()
			proctest.Until(t, patience, name, func() error { return n.get("k", "v", "dc1") })
			if n != away && n != client {
				awaitVoters(t, servers)
			}
		}
		answers()
	}
	l.stop()
	t.Logf("%d writes and %d reads; the longest outage was %s, in %s", l.writes.Load(), l.reads.Load(), l.outage, l.during)
	if l.outage > longestOutage {
		t.Errorf("no write was taken for %s in %s", l.outage, l.during)
	}
	if l.writes.Load() < 100 {
		t.Errorf("there were only %d writes", l.writes.Load())
	}
	for _, n := range all {
		calm(t, n.name, n.String())
	}
}

// awaitVoters waits until all servers say of the same one that it leads, and each has
// what was written before: then the next may be restarted.
func awaitVoters(t testing.TB, servers []*node) {
	t.Helper()
	awaitLeader(t, patience, servers...)
	mark := strconv.FormatInt(time.Now().UnixNano(), 10)
	proctest.Until(t, patience, "a mark is written", func() error { return servers[0].put("mark", mark, "") })
	proctest.Until(t, patience, "each server has it", func() error {
		for _, n := range servers {
			pair, _, err := n.client.KV().Get("mark", &api.QueryOptions{AllowStale: true})
			if err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			if pair == nil || string(pair.Value) != mark {
				return fmt.Errorf("%s at %s has not got it", n.name, net.JoinHostPort(n.ip, "8500"))
			}
		}
		return nil
	})
}

// TestAReloadTakesTheStepsAsWell: the tls block is changed while the agent runs.
func TestAReloadTakesTheStepsAsWell(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	p := newPKI(t)
	key := keygen(t)
	file := filepath.Join(t.TempDir(), "tls.json")
	change := func(rpc map[string]any) {
		b, err := json.Marshal(tlsOf(rpc))
		must(t, "write the block", errors.Join(err, os.WriteFile(file, b, 0o600)))
	}
	change(map[string]any{"ca_file": p.ca()})
	server := start(t, spec{host: h, name: "s", dc: "dc1", ip: h.Addr(1, 1), expect: 1, key: key, flags: []string{"-config-file=" + file}})
	files := start(t, spec{host: h, name: "files", dc: "dc1", ip: h.Addr(1, 2), key: key, lan: []string{server.ip}, config: tlsOf(p.cert("dc1-client-consul-0", "-client"))})
	proctest.Until(t, patience, "a client agent with files writes", func() error { return files.put("k", "v", "") })
	early := start(t, spec{host: h, name: "early", dc: "dc1", ip: h.Addr(1, 3), key: key, lan: []string{server.ip}})
	proctest.Until(t, patience, "a client agent with the gossip key reads", func() error { return early.get("k", "v", "") })

	change(with(p.cert("dc1-server-consul-0", "-server"), map[string]any{"verify_incoming": true, "verify_outgoing": true}))
	mark := server.Mark()
	if r := server.cli("reload"); r.Code != 0 {
		t.Fatalf("reload: %s", r.Stderr)
	}
	if said := server.Since(mark); strings.Contains(said, "needs a restart") {
		t.Errorf("the reload does not do it: %s", said)
	}
	until, err := expiryOf(server, "internal_rpc")
	if must(t, "read the metric", err); time.Until(until) > 366*24*time.Hour {
		t.Errorf("the certificate that is shown ends on %s: it is not the one from the file", until)
	}
	must(t, "a connection of before lives on", early.get("k", "v", ""))
	late := start(t, spec{host: h, name: "late", dc: "dc1", ip: h.Addr(1, 4), key: key, lan: []string{server.ip}})
	proctest.Until(t, patience, "the late one is refused", func() error {
		if !strings.Contains(server.Since(mark), "verify_incoming asks for one from files") {
			return errors.New("the server has not refused anybody")
		}
		return nil
	})
	if err := late.get("k", "v", ""); err == nil {
		t.Error("after the reload a client agent with the gossip key alone reads")
	}
	must(t, "who has files writes", files.put("k", "w", ""))

	must(t, "write nonsense", os.WriteFile(file, []byte(`{"tls": {"internal_rpc": {"ca_file": "/none", "verify_incoming": true, "cert_file": "/none", "key_file": "/none"}}}`), 0o600))
	if r := server.cli("reload"); r.Code == 0 || !strings.Contains(r.Stderr, "/none") {
		t.Errorf("a reload with faults: %d, %s", r.Code, r.Stderr)
	}
	must(t, "who has files reads", files.get("k", "w", ""))
	calm(t, server.name, server.String())
}

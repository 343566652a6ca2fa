package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	bareIP = "127.251.0.1"
	key    = "/v1/kv/bench/key"
)

// bare starts the server beside and returns its address.
func (b *bench) bare(ctx context.Context, kind, port string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	addr := bareIP + ":" + port
	_, err = b.start("bare-"+kind, self, "bare", kind, addr)
	return addr, err
}

// http measures the key/value store over HTTP.
func (b *bench) http(ctx context.Context) error {
	bare, err := b.bare(ctx, "http", "8500")
	if err != nil {
		return err
	}
	leader, follower, client, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	value := strings.Repeat("AAA", valueSize/3+1)
	if err := wait(ctx, 10*time.Second, func() error { return put("http://"+client+":8500"+key, value) }); err != nil {
		return err
	}
	if err := wait(ctx, 5*time.Second, func() error { _, err := get("http://" + bare + "/"); return err }); err != nil {
		return err
	}
	body := []byte(value)
	loads := []struct {
		name, addr, method, path string
		body                     []byte
		conns                    int
		bar                      float64
	}{
		{"bare net/http, the same bytes", bare, "GET", "/", nil, b.conns, 0},
		{"KV GET on the leader", leader, "GET", key, nil, b.conns, 0.8},
		{"KV GET on the leader, consistent", leader, "GET", key + "?consistent", nil, b.conns, 0.5},
		{"KV GET on a follower, stale", follower, "GET", key + "?stale", nil, b.conns, 0.8},
		{"KV GET on a follower", follower, "GET", key, nil, b.conns, 0.4},
		{"KV GET through a client agent", client, "GET", key, nil, b.conns, 0.35},
		{"KV PUT on the leader", leader, "PUT", key, body, b.conns, 0.25},
		{"KV PUT through a client agent", client, "PUT", key, body, b.conns, 0.2},
		{"KV PUT on the leader, one connection", leader, "PUT", key, body, 1, 0},
	}
	sync, err := b.sync(ctx, body)
	if err != nil {
		return fmt.Errorf("measure the disk: %w", err)
	}
	b.add(row{what: fmt.Sprintf("fsync of %d B that were appended, one a millisecond", len(body)), conns: 1, out: sync})
	reference := func(int) (one, error) { return dialHTTP(bare, "GET", "/", nil) }
	for _, l := range loads {
		addr := l.addr
		if !strings.Contains(addr, ":") {
			addr += ":8500"
		}
		out, ratio, err := compare(ctx, l.conns, b.seconds, reference, func(int) (one, error) { return dialHTTP(addr, l.method, l.path, l.body) })
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		r := row{what: l.name, conns: l.conns, out: out, ratio: ratio, bar: l.bar}
		if l.conns == 1 {
			r.limit = 3*sync.p50 + 300*time.Microsecond
		}
		b.add(r)
	}
	return nil
}

// sync measures how long the disk under the servers' data takes to make one small
// append durable, about as often as a single writer asks for it: a disk that is
// never left alone is a third faster.
func (b *bench) sync(ctx context.Context, record []byte) (outcome, error) {
	const times, pause = 500, time.Millisecond
	f, err := os.Create(filepath.Join(b.dir, "sync"))
	if err != nil {
		return outcome{}, err
	}
	defer f.Close()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	took := make([]time.Duration, times)
	for i := range took {
		select {
		case <-ctx.Done():
			return outcome{}, ctx.Err()
		case <-tick.C:
		}
		if _, err := f.Write(record); err != nil {
			return outcome{}, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return outcome{}, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return outcome{p50: took[times/2], p99: took[times*99/100]}, nil
}

// dns measures lookups of a service: beside a bare server, beside Unbound, and how soon they
// show a change.
func (b *bench) dns(ctx context.Context) error {
	bare, err := b.bare(ctx, "dns", "8600")
	if err != nil {
		return err
	}
	leader, _, client, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	for i := range 3 {
		body := fmt.Sprintf(`{"ID":"web-%d","Name":"web","Address":"10.0.0.%d","Port":80}`, i, i+1)
		if err := put("http://"+leader+":8500/v1/agent/service/register", body); err != nil {
			return err
		}
	}
	m := new(dns.Msg).SetQuestion("web.service.consul.", dns.TypeA)
	query, err := m.Pack()
	if err != nil {
		return err
	}
	reference := func(int) (one, error) { return dialDNS(bare, query) }
	for _, l := range []struct {
		name, addr string
		bar        float64
	}{{"bare miekg/dns, three records", bare, 0}, {"DNS of a service on a server", leader + ":8600", 0.3}, {"DNS of a service on a client agent", client + ":8600", 0}} {
		c, err := dialDNS(l.addr, query)
		if err != nil {
			return err
		}
		if err := wait(ctx, 10*time.Second, func() error { return c.ask(ctx) }); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		c.close()
		out, ratio, err := compare(ctx, b.conns, b.seconds, reference, func(int) (one, error) { return dialDNS(l.addr, query) })
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		b.add(row{what: l.name, conns: b.conns, out: out, ratio: ratio, bar: l.bar})
	}
	if err := b.besideUnbound(ctx, leader, client); err != nil {
		return err
	}
	b.stopAll()
	return b.freshness(ctx)
}

// idle measures what an agent that does nothing keeps in memory.
func (b *bench) idle(ctx context.Context) error {
	server, err := b.agent("idle-server", "127.251.2.1", "-server", "-bootstrap-expect=1")
	if err != nil {
		return err
	}
	client, err := b.agent("idle-client", "127.251.2.2", "-retry-join=127.251.2.1", "-retry-interval=1s")
	if err != nil {
		return err
	}
	if err := wait(ctx, 20*time.Second, func() error { return put("http://127.251.2.2:8500"+key, "value") }); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
	}
	for _, a := range []struct {
		name string
		pid  int
		most float64
	}{{"server", server.Process.Pid, 32}, {"client", client.Process.Pid, 20}} {
		mib, err := resident(a.pid)
		if err != nil {
			return err
		}
		b.add(row{what: "Resident size of an idle " + a.name, mib: mib, most: a.most})
	}
	return nil
}

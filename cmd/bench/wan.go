package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Where the lab's first datacenter answers; the server is its leader.
const (
	labServer = "127.0.11.1:8500"
	bulkKey   = "/v1/kv/bench/bulk"
	bulkSize  = 200_000 // bytes of a value that the bulk readers read
	bulkConns = 4
)

// wanLoad is one load of another datacenter and what it is held to.
type wanLoad struct {
	name   string
	server bool // asked on a server, else through a client agent
	method string
	conns  int
	bulk   bool // beside readers of large values
	bar    row
}

// wan measures calls to another datacenter over an emulated WAN, first without
// loss, then with 1 % each way.
func (b *bench) wan(ctx context.Context) error {
	const ms = time.Millisecond
	unloaded := b.rtt + 2*ms
	calm := []wanLoad{
		{name: "GET on a server", server: true, method: "GET", conns: 1, bar: row{limit: unloaded}},
		{name: "GET on a server", server: true, method: "GET", conns: b.conns},
		{name: "GET through a client agent", method: "GET", conns: 1, bar: row{limit: unloaded}},
		{name: "GET through a client agent", method: "GET", conns: 64, bar: row{limit99: b.rtt + 20*ms}},
		{name: "GET through a client agent", method: "GET", conns: 512, bar: row{least: 5200}},
	}
	lossy := []wanLoad{
		{name: "GET through a client agent", method: "GET", conns: 64, bar: row{least: 700, limit: b.rtt + 4*ms, limit99: b.rtt + 40*ms}},
		{name: "GET through a client agent", method: "GET", conns: 512, bar: row{least: 4500}},
		{name: "GET through a client agent, beside four readers of 200 kB", method: "GET", conns: 16, bulk: true, bar: row{limit: b.rtt + 5*ms, limit99: b.rtt + 50*ms}},
		{name: "PUT through a client agent", method: "PUT", conns: 16, bar: row{limit: b.rtt + 7*ms}},
	}
	for _, part := range []struct {
		loss  string
		loads []wanLoad
	}{{"0%", calm}, {"1%", lossy}} {
		if err := b.wanPart(ctx, "mesh", part.loss, part.loads); err != nil {
			return err
		}
	}
	return nil
}

// gateways measures calls to another datacenter that go through a gateway at each end, beside
// direct ones of the same run.
func (b *bench) gateways(ctx context.Context) error {
	const ms = time.Millisecond
	const share = 0.7 // of what direct calls do
	loads := map[string][]wanLoad{
		"0%": {
			{name: "GET on a server", server: true, method: "GET", conns: 1},
			{name: "GET through a client agent", method: "GET", conns: 64},
			{name: "GET through a client agent", method: "GET", conns: 512},
		},
		"1%": {
			{name: "GET through a client agent", method: "GET", conns: 64},
			{name: "PUT through a client agent", method: "PUT", conns: 16},
		},
	}
	for _, loss := range []string{"0%", "1%"} {
		from := len(b.rows)
		if err := b.wanPart(ctx, "mesh", loss, loads[loss]); err != nil {
			return err
		}
		direct := b.rows[from:len(b.rows):len(b.rows)]
		for i := range loads[loss] {
			l := &loads[loss][i]
			l.name += ", through gateways"
			switch {
			case loss == "0%" && l.conns == 1:
				l.bar.limit = direct[i].out.p50 + 2*ms
			case loss == "0%" && l.conns == 512:
				l.bar.least = share * direct[i].out.rate
			case loss == "1%":
				l.bar.limit = direct[i].out.p50 + 3*ms
			}
		}
		if err := b.wanPart(ctx, "gateways", loss, loads[loss]); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) wanPart(ctx context.Context, shape, loss string, loads []wanLoad) error {
	defer b.stopAll()
	if _, err := b.start("lab", b.legate, "lab", "-datacenters=2", "-shape="+shape, fmt.Sprintf("-servers=%d", b.servers), "-clients=1", "-rtt="+b.rtt.String(), "-loss="+loss); err != nil {
		return err
	}
	client := fmt.Sprintf("127.0.11.%d:8500", b.servers+1)
	if err := wait(ctx, 60*time.Second, func() error { return put("http://"+client+key+"?dc=dc2", "value") }); err != nil {
		return err
	}
	if err := wait(ctx, 20*time.Second, func() error { return put("http://"+client+bulkKey+"?dc=dc2", strings.Repeat("x", bulkSize)) }); err != nil {
		return err
	}
	// The paths have carried something before, as those of a running
	// federation have.
	if _, err := load(ctx, b.conns, b.seconds, func(int) (one, error) { return dialHTTP(client, "GET", key+"?dc=dc2", nil) }); err != nil {
		return err
	}
	for _, l := range loads {
		addr := client
		if l.server {
			addr = labServer
		}
		out, err := b.wanLoad(ctx, l, addr, client)
		if err != nil {
			return fmt.Errorf("%s with %s loss: %w", l.name, loss, err)
		}
		r := l.bar
		r.what, r.conns, r.out = fmt.Sprintf("%s, another datacenter %s away, %s loss", l.name, b.rtt, loss), l.conns, out
		b.add(r)
	}
	return nil
}

// wanLoad runs one load, beside bulk readers if it wants them.
func (b *bench) wanLoad(ctx context.Context, l wanLoad, addr, client string) (outcome, error) {
	var body []byte
	if l.method == "PUT" {
		body = []byte("value")
	}
	dial := func(int) (one, error) { return dialHTTP(addr, l.method, key+"?dc=dc2", body) }
	if !l.bulk {
		return load(ctx, l.conns, b.seconds, dial)
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	var bulk outcome
	var failed error
	beside.Go(func() {
		bulk, failed = load(ctx, bulkConns, b.seconds+2*time.Second, func(int) (one, error) { return dialHTTP(client, "GET", bulkKey+"?dc=dc2&raw", nil) })
	})
	pause(ctx, time.Second)
	out, err := load(ctx, l.conns, b.seconds, dial)
	beside.Wait()
	if err == nil && failed != nil {
		err = fmt.Errorf("bulk readers: %w", failed)
	}
	b.add(row{what: "the four readers of 200 kB meanwhile", conns: bulkConns, out: bulk})
	return out, err
}

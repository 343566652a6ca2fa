package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Where a health change is looked for: it happens in the lab's first datacenter.
var freshAt = []struct {
	name, addr, question string
	far                  bool
}{
	{"on a server of its datacenter", "127.0.11.1:8600", "fresh.service.consul.", false},
	{"on a client agent there", "127.0.11.2:8600", "fresh.service.consul.", false},
	{"in another datacenter", "127.0.12.1:8600", "fresh.service.dc1.consul.", true},
}

// freshness measures how long after it was told a health change is in DNS, while all that
// answer are loaded.
func (b *bench) freshness(ctx context.Context) error {
	defer b.stopAll()
	if _, err := b.start("lab", b.legate, "lab", "-datacenters=2", "-servers=1", "-clients=1", "-rtt="+b.rtt.String()); err != nil {
		return err
	}
	const api = "http://" + labServer + "/v1/agent/"
	for _, body := range []string{`{"ID":"fresh-1","Name":"fresh","Address":"10.0.0.1"}`, `{"ID":"fresh-2","Name":"fresh","Address":"10.0.0.2","Check":{"TTL":"1h","Status":"passing"}}`} {
		if err := wait(ctx, 60*time.Second, func() error { return put(api+"service/register", body) }); err != nil {
			return err
		}
	}
	for _, at := range freshAt {
		if err := wait(ctx, 60*time.Second, func() error {
			n, err := records(ctx, at.addr, at.question)
			if err == nil && n != 2 {
				err = fmt.Errorf("%d records", n)
			}
			return err
		}); err != nil {
			return fmt.Errorf("%s: %w", at.name, err)
		}
	}
	return b.changes(ctx, api)
}

// records counts the addresses of a name.
func records(ctx context.Context, addr, name string) (int, error) {
	m, _, err := new(dns.Client).ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA), addr)
	if err != nil {
		return 0, err
	}
	return len(m.Answer), nil
}

// floods loads each place from a process of its own, so that who looks for the change waits for
// no turn of the load's.
func (b *bench) floods(ctx context.Context) (ended func() ([]string, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var running []*exec.Cmd
	said := make([]bytes.Buffer, len(freshAt))
	for i, at := range freshAt {
		cmd := exec.CommandContext(ctx, self, "flood", at.addr, at.question, (2 * b.seconds).String())
		cmd.Stdout, cmd.Stderr = &said[i], os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		running = append(running, cmd)
	}
	return func() (rates []string, err error) {
		for i, cmd := range running {
			err = errors.Join(err, cmd.Wait())
			rates = append(rates, strings.TrimSpace(said[i].String()))
		}
		return rates, err
	}, nil
}

// changes makes health changes and waits for each to be seen everywhere.
func (b *bench) changes(ctx context.Context, api string) error {
	const times = 30
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	ended, err := b.floods(ctx)
	if err != nil {
		return err
	}
	seen := make([][]time.Duration, len(freshAt))
	var written []time.Duration
	pause(ctx, time.Second)
	for i := range times {
		state, want := "fail", 1
		if i%2 == 1 {
			state, want = "pass", 2
		}
		told := time.Now()
		took := make(chan error, len(freshAt))
		var looking sync.WaitGroup
		for j, at := range freshAt {
			looking.Go(func() {
				err := becomes(ctx, at.addr, at.question, want)
				seen[j] = append(seen[j], time.Since(told))
				took <- err
			})
		}
		if err := put(api+"check/"+state+"/service:fresh-2", ""); err != nil {
			return err
		}
		written = append(written, time.Since(told))
		for range freshAt {
			if err := <-took; err != nil {
				return err
			}
		}
		pause(ctx, 50*time.Millisecond)
	}
	if time.Since(began) > 2*b.seconds {
		return errors.New("the load ended before the changes did: -time is too short")
	}
	rates, err := ended()
	if err != nil {
		return err
	}
	conns := floodSockets * floodWindow
	b.add(row{what: fmt.Sprintf("A health change told to a server whose DNS is loaded, until that acknowledges it, median and longest of %d", times), conns: conns, out: middle(written)})
	for i, at := range freshAt {
		limit, where := 50*time.Millisecond, at.name
		if at.far {
			limit += b.rtt / 2
			where += fmt.Sprintf(", %s away", b.rtt)
		}
		b.add(row{what: fmt.Sprintf("The same until it is in DNS %s, while that answers %s/s", where, rates[i]), conns: conns, out: middle(seen[i]), limit: limit})
		late := make([]time.Duration, times)
		for k := range late {
			late[k] = max(seen[i][k]-written[k], 0)
		}
		b.add(row{what: "The same, after it was acknowledged", conns: conns, out: middle(late), limit99: limit})
	}
	return nil
}

// middle has the median as p50 and the longest as p99.
func middle(took []time.Duration) outcome {
	took = slices.Sorted(slices.Values(took))
	return outcome{p50: took[len(took)/2], p99: took[len(took)-1]}
}

// becomes asks until a name has so many addresses.
func becomes(ctx context.Context, addr, name string, want int) error {
	const within, often = 10 * time.Second, time.Millisecond
	q, err := questionsOf(dns.TypeA, name)
	if err != nil {
		return err
	}
	c, err := dialDNS(addr, q[0])
	if err != nil {
		return err
	}
	defer c.close()
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, often) {
		if err := c.ask(ctx); err != nil {
			return err
		}
		const answers = 7
		if int(c.(*dnsConn).buf[answers]) == want {
			return nil
		}
	}
	return fmt.Errorf("%s at %s has not %d addresses within %s", name, addr, want, within)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// changes makes health changes and waits for each to be seen everywhere.
func (b *bench) changes(ctx context.Context, api string) error {
	const times = 30
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	loads := make(chan error, len(freshAt))
	rates := make([]outcome, len(freshAt))
	var running int
	for i, at := range freshAt {
		questions, err := questionsOf(dns.TypeA, at.question)
		if err != nil {
			return err
		}
		running++
		go func() {
			out, err := floodOf(ctx, at.addr, questions, b.seconds*2)
			rates[i] = out
			loads <- err
		}()
	}
	seen := make([][]time.Duration, len(freshAt))
	pause(ctx, time.Second)
	for i := range times {
		state, want := "fail", 1
		if i%2 == 1 {
			state, want = "pass", 2
		}
		told := time.Now()
		took := make(chan error, len(freshAt))
		for j, at := range freshAt {
			go func() {
				err := becomes(ctx, at.addr, at.question, want)
				seen[j] = append(seen[j], time.Since(told))
				took <- err
			}()
		}
		if err := put(api+"check/"+state+"/service:fresh-2", ""); err != nil {
			return err
		}
		for range freshAt {
			if err := <-took; err != nil {
				return err
			}
		}
		pause(ctx, 50*time.Millisecond)
	}
	if len(loads) > 0 {
		return errors.New("the load ended before the changes did")
	}
	for ; running > 0; running-- {
		if err := <-loads; err != nil {
			return err
		}
	}
	for i, at := range freshAt {
		b.add(freshRow(at.name, at.far, b.rtt, seen[i], rates[i].rate))
	}
	return nil
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

func freshRow(where string, far bool, rtt time.Duration, took []time.Duration, rate float64) row {
	slices.Sort(took)
	limit := 50 * time.Millisecond
	if far {
		limit += rtt / 2
		where += fmt.Sprintf(", %s away", rtt)
	}
	what := fmt.Sprintf("From a health change until it is in DNS %s, median and longest of %d, while that answers %.0f/s", where, len(took), rate)
	return row{what: what, conns: floodSockets * floodWindow, out: outcome{p50: took[len(took)/2], p99: took[len(took)-1]}, limit99: limit}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/miekg/dns"
)

const (
	unboundIP   = "127.251.0.2"
	manyNames   = 200
	instancesOf = 3 // of the service web
	farServer   = "127.251.3.1"
)

// beside is one kind of question, asked of an agent and of Unbound.
type beside struct {
	name, addr string
	qtype      uint16
	names      []string
	bar        float64 // least share of Unbound's rate
	pid        int     // of the agent; 0 where that is not known
}

// besideUnbound loads agents and Unbound, which has the same records as local data, in turn
// with the same questions.
func (b *bench) besideUnbound(ctx context.Context, leader, client string) error {
	program, err := exec.LookPath("unbound")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/unbound"); err != nil {
			fmt.Fprintln(os.Stderr, "Unbound is not installed: nothing is compared with it")
			return nil
		}
	}
	names, err := b.records(ctx, leader)
	if err != nil {
		return err
	}
	unbound, err := b.unbound(program)
	if err != nil {
		return err
	}
	bar := 0.7
	for _, q := range []beside{
		{"DNS A of three instances on a server", leader, dns.TypeA, []string{"web.service.consul."}, bar, b.pid(leader)},
		{"DNS A of three instances on a client agent", client, dns.TypeA, []string{"web.service.consul."}, bar, b.pid(client)},
		{"DNS SRV of three instances on a server", leader, dns.TypeSRV, []string{"web.service.consul."}, 0.6, b.pid(leader)},
		{"DNS SRV of three instances on a client agent", client, dns.TypeSRV, []string{"web.service.consul."}, 0.6, b.pid(client)},
		{"DNS A of 200 names on a server", leader, dns.TypeA, names, bar, b.pid(leader)},
		{"DNS A of another datacenter on a server", leader, dns.TypeA, []string{"far.service.dc2.consul."}, bar, b.pid(leader)},
		{"DNS A of another datacenter on a client agent", client, dns.TypeA, []string{"far.service.dc2.consul."}, bar, b.pid(client)},
	} {
		if err := b.compared(ctx, q, unbound); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	return nil
}

// pid of the agent at an address, by its arguments.
func (b *bench) pid(ip string) int {
	for _, cmd := range b.running {
		for _, arg := range cmd.Args {
			if arg == "-bind="+ip {
				return cmd.Process.Pid
			}
		}
	}
	return 0
}

// compared loads both in turn, several times, and adds their rows.
func (b *bench) compared(ctx context.Context, q beside, unbound *exec.Cmd) error {
	questions, err := questionsOf(q.qtype, q.names...)
	if err != nil {
		return err
	}
	both := [...]struct {
		addr string
		pid  int
	}{{unboundIP + ":8600", unbound.Process.Pid}, {q.addr + ":8600", q.pid}}
	var sum [2]outcome
	var cost [2]time.Duration // of processor time for an answer
	for _, at := range both {
		if err := wait(ctx, 20*time.Second, func() error { return answered(ctx, at.addr, questions) }); err != nil {
			return err
		}
	}
	const rounds = 6 // short ones: what else runs here changes within seconds
	for range rounds {
		for i, at := range both {
			before, err := processor(at.pid)
			if err != nil {
				return err
			}
			d := b.seconds / rounds
			out, err := floodOf(ctx, at.addr, questions, d)
			if err != nil {
				return fmt.Errorf("%s: %w", at.addr, err)
			}
			after, err := processor(at.pid)
			if err != nil {
				return err
			}
			all := out.rate * (d + 300*time.Millisecond).Seconds() // those before it was measured, too
			cost[i] += time.Duration(float64(after-before)/all) / rounds
			sum[i].rate += out.rate / rounds
			sum[i].p50 += out.p50 / rounds
			sum[i].p99 += out.p99 / rounds
		}
	}
	us := func(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond)) }
	const conns = floodSockets * floodWindow
	b.add(row{what: fmt.Sprintf("Unbound, the same, %s of its processor time an answer", us(cost[0])), conns: conns, out: sum[0]})
	b.add(row{what: fmt.Sprintf("%s, %s an answer, of Unbound", q.name, us(cost[1])), conns: conns, out: sum[1], ratio: sum[1].rate / sum[0].rate, bar: q.bar})
	return nil
}

// answered reports what is not answered of a few questions.
func answered(ctx context.Context, addr string, questions [][]byte) error {
	for _, q := range questions {
		c, err := dialDNS(addr, q)
		if err != nil {
			return err
		}
		err = c.ask(ctx)
		if err = errors.Join(err, c.close()); err != nil {
			return err
		}
	}
	return nil
}

// records has the catalog hold what Unbound has as local data, and returns the names.
func (b *bench) records(ctx context.Context, leader string) (names []string, err error) {
	if _, err := b.agent("dc2-server", farServer, "-server", "-bootstrap-expect=1", "-datacenter=dc2", "-retry-join-wan="+leader, "-retry-interval=1s"); err != nil {
		return nil, err
	}
	err = wait(ctx, 30*time.Second, func() error {
		return put("http://"+farServer+":8500/v1/agent/service/register", `{"Name":"far","Address":"10.2.0.1","Port":80}`)
	})
	for i := range manyNames {
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("svc%d", i)
		err = put("http://"+leader+":8500/v1/agent/service/register", fmt.Sprintf(`{"Name":%q,"Address":"10.1.0.%d","Port":80}`, name, i+1))
		names = append(names, name+".service.consul.")
	}
	return names, err
}

// unbound starts Unbound with two threads, each with sockets of its own.
func (b *bench) unbound(program string) (*exec.Cmd, error) {
	var c bytes.Buffer
	fmt.Fprintf(&c, `server:
  interface: %s@8600
  port: 8600
  num-threads: 2
  so-reuseport: yes
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  local-zone: "consul." static
`, unboundIP, b.dir)
	data := func(format string, args ...any) { fmt.Fprintf(&c, "  local-data: \""+format+"\"\n", args...) }
	for i := range instancesOf {
		host := fmt.Sprintf("0a0000%02x.addr.dc1.consul.", i+1)
		data("web.service.consul. 0 IN A 10.0.0.%d", i+1)
		data("web.service.consul. 0 IN SRV 1 1 80 %s", host)
		data("%s 0 IN A 10.0.0.%d", host, i+1)
	}
	data("far.service.dc2.consul. 0 IN A 10.2.0.1")
	for i := range manyNames {
		data("svc%d.service.consul. 0 IN A 10.1.0.%d", i, i+1)
	}
	c.WriteString("remote-control:\n  control-enable: no\n")
	file := filepath.Join(b.dir, "unbound.conf")
	if err := os.WriteFile(file, c.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return b.start("unbound", program, "-d", "-c", file)
}

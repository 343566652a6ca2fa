package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// The federation whose cost for one server is measured.
const (
	federated          = 50
	federatedServices  = 2000 // of each datacenter, with two instances each
	federatedInstances = 2 * federatedServices
	federatedNodes     = 40                       // of each datacenter
	federatedChanges   = federatedInstances / 100 // a second in each datacenter: a hundredth
	federatedTime      = 30 * time.Second
	opsEach            = 60 // of a transaction
)

// federationIP is the address of the server of a datacenter.
func federationIP(dc int) string { return "127.251." + strconv.Itoa(20+dc) + ".1" }

// federation measures one server among those of fifty datacenters, each a process of
// its own: with nothing in them, with services, and while a hundredth of their
// instances changes each second.
func (b *bench) federation(ctx context.Context) error {
	measured, err := b.fifty(ctx)
	if err != nil {
		return err
	}
	if err := b.observe(ctx, measured, "nothing in them", nil); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(4)
	for dc := range federated {
		g.Go(func() error { return occupy(ctx, federationIP(dc)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	last := fmt.Sprintf("/v1/health/service/s%d?passing&dc=dc%d", federatedServices-1, federated)
	if err := wait(ctx, time.Minute, func() error { _, err := get("http://" + federationIP(0) + ":8500" + last); return err }); err != nil {
		return err
	}
	with := fmt.Sprintf("%d services in each", federatedServices)
	if err := b.observe(ctx, measured, with, nil); err != nil {
		return err
	}
	return b.observe(ctx, measured, with+fmt.Sprintf(", %d instances change each second", federated*federatedChanges), flipAll)
}

// fifty starts the servers and returns the first one's process, once all know all.
func (b *bench) fifty(ctx context.Context) (*exec.Cmd, error) {
	var first *exec.Cmd
	for dc := range federated {
		name, ip := "dc"+strconv.Itoa(dc+1), federationIP(dc)
		cmd, err := b.agent(name, ip, "-datacenter="+name, "-server", "-bootstrap-expect=1", "-retry-join-wan="+federationIP(0))
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = cmd
		}
		if err := wait(ctx, 30*time.Second, func() error { return led(ip) }); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return first, wait(ctx, time.Minute, func() error {
		for dc := range federated {
			text, err := get("http://" + federationIP(dc) + ":8500/v1/catalog/datacenters")
			if n := strings.Count(text, "dc"); err != nil || n < federated {
				return fmt.Errorf("dc%d knows %d of %d datacenters: %w", dc+1, n, federated, err)
			}
		}
		return nil
	})
}

// led reports why a server has no leader.
func led(ip string) error {
	text, err := get("http://" + ip + ":8500/v1/status/leader")
	if err == nil && !strings.Contains(text, ip) {
		err = fmt.Errorf("no leader: %s", text)
	}
	return err
}

// observe measures the server for a while, in which something may go on elsewhere.
func (b *bench) observe(ctx context.Context, cmd *exec.Cmd, what string, beside func(context.Context) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second): // what went before has ended
	}
	took, out, in := time.Duration(0), 0.0, 0.0
	measure := func(sign time.Duration) error {
		cpu, err := processor(cmd.Process.Pid)
		if err != nil {
			return err
		}
		sent, received, err := wanBytes(federationIP(0))
		took, out, in = took+sign*cpu, out+float64(sign)*sent, in+float64(sign)*received
		return err
	}
	if err := measure(-1); err != nil {
		return err
	}
	during, cancel := context.WithTimeout(ctx, federatedTime)
	defer cancel()
	if beside != nil {
		if err := beside(during); err != nil {
			return err
		}
	}
	<-during.Done()
	if err := measure(1); err != nil {
		return err
	}
	mib, err := resident(cmd.Process.Pid)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("A server among %d datacenters, %s", federated, what)
	kB := func(n float64) string { return fmt.Sprintf("%.1f", n/federatedTime.Seconds()/1000) }
	b.add(row{what: name + ", sends " + kB(out) + " and receives " + kB(in) + " kB/s across the WAN", conns: federated, core: 100 * took.Seconds() / federatedTime.Seconds()})
	b.add(row{what: name, conns: federated, mib: mib})
	return nil
}

// wanBytes are what a server sent and received so far across the WAN, as its metrics have it.
func wanBytes(ip string) (sent, received float64, err error) {
	text, err := get("http://" + net.JoinHostPort(ip, "8500") + "/v1/agent/metrics?format=prometheus")
	for line := range strings.Lines(text) {
		sum := &sent
		if strings.HasPrefix(line, "legate_quic_bytes_received_total{") {
			sum = &received
		} else if !strings.HasPrefix(line, "legate_quic_bytes_sent_total{") {
			continue
		}
		fields := strings.Fields(line)
		if n, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil && strings.Contains(line, `endpoint="wan"`) {
			*sum += n
		}
	}
	return sent, received, err
}

// occupy registers the nodes, services and checks of a datacenter.
func occupy(ctx context.Context, ip string) error {
	var ops []string
	for n := range federatedNodes {
		ops = append(ops, fmt.Sprintf(`{"Node":{"Verb":"set","Node":{"Node":"n%d","Address":"10.0.0.%d"}}}`, n, n+1))
	}
	for i := range federatedInstances {
		ops = append(ops,
			fmt.Sprintf(`{"Service":{"Verb":"set","Node":"n%d","Service":{"ID":"s%d","Service":"s%d","Port":%d}}}`, i%federatedNodes, i, i/2, 8000+i),
			checkOf(i, "passing"))
	}
	for len(ops) > 0 {
		n := min(opsEach, len(ops))
		if err := commit(ctx, ip, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// checkOf is the operation that sets the check of an instance.
func checkOf(i int, status string) string {
	return fmt.Sprintf(`{"Check":{"Verb":"set","Check":{"Node":"n%d","CheckID":"c%d","Name":"c","ServiceID":"s%d","Status":"%s"}}}`, i%federatedNodes, i, i, status)
}

// flipAll changes the health of a hundredth of the instances of each datacenter each
// second, until the time is over.
func flipAll(ctx context.Context) error {
	var g errgroup.Group
	for dc := range federated {
		g.Go(func() error { return flip(ctx, federationIP(dc)) })
	}
	return g.Wait()
}

func flip(ctx context.Context, ip string) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for next := 0; ; next += federatedChanges {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		status := []string{"critical", "passing"}[next/federatedInstances%2]
		ops := make([]string, federatedChanges)
		for i := range ops {
			ops[i] = checkOf((next+i)%federatedInstances, status)
		}
		if err := commit(ctx, ip, ops); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// commit carries out operations as one transaction.
func commit(ctx context.Context, ip string, ops []string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return put("http://"+ip+":8500/v1/txn", "["+strings.Join(ops, ",")+"]")
}

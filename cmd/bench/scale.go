package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/lan"
)

// What the agents of the scale suite have and do.
const (
	fleetServices = 20   // of each agent
	fleetNames    = 2000 // of services
	fleetWatches  = 3    // services that each agent waits for changes of
	oneWatched    = 1000 // agents that wait for changes of one service
	fleetChanges  = 20
	fleetIdle     = 30 * time.Second
)

// scale plays the client agents of a large datacenter against three servers.
func (b *bench) scale(ctx context.Context) error {
	leader, _, _, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	var servers []lan.Server
	for i, ip := range serverIPs() {
		servers = append(servers, lan.Server{Name: "server" + strconv.Itoa(i+1), Datacenter: "dc1", Addr: ip, RPCPort: 8300, Build: version.Consul, Status: gossip.Alive})
	}
	empty, err := b.serversCost(0)
	if err != nil {
		return err
	}
	began := time.Now()
	f, err := newFleet(b.agents, fleetServices, fleetNames, servers)
	if err != nil {
		return err
	}
	defer f.stop(context.WithoutCancel(ctx))
	all := b.agents * fleetServices
	if err := f.await(ctx, all); err != nil {
		return err
	}
	b.add(row{what: fmt.Sprintf("%d agents start with %d services each, until the catalog has all", b.agents, fleetServices), conns: b.agents, out: took(time.Since(began))})
	if err := b.calm(ctx, f, empty); err != nil {
		return err
	}
	if err := b.change(ctx, f); err != nil {
		return err
	}
	return b.comeBack(ctx, f, leader, all)
}

func took(d time.Duration) outcome { return outcome{p50: d, p99: d} }

// await waits until the catalog has so many instances.
func (f *fleet) await(ctx context.Context, want int) error {
	return wait(ctx, 5*time.Minute, func() error {
		n, err := f.instances(ctx)
		if err == nil && n < want {
			err = fmt.Errorf("the catalog has %d of %d instances", n, want)
		}
		return err
	})
}

// cost is what servers have taken of the machine.
type cost struct {
	cpu time.Duration // of all servers
	mib float64       // of the largest
}

// serversCost measures the servers that run, after a while.
func (b *bench) serversCost(after time.Duration) (cost, error) {
	time.Sleep(after)
	var c cost
	for _, cmd := range b.running[:len(serverIPs())] {
		if cmd.ProcessState != nil {
			continue
		}
		mib, err := resident(cmd.Process.Pid)
		if err != nil {
			return c, err
		}
		cpu, err := processor(cmd.Process.Pid)
		if err != nil {
			return c, err
		}
		c.cpu, c.mib = c.cpu+cpu, max(c.mib, mib)
	}
	return c, nil
}

// calm measures what agents cost that do nothing but wait.
func (b *bench) calm(ctx context.Context, f *fleet, empty cost) error {
	for i, p := range f.agents {
		for j := range fleetWatches {
			name := fmt.Sprintf("service%04d", (i+j*fleetNames/fleetWatches)%fleetNames)
			if err := f.watch(p, name, func() {}); err != nil {
				return err
			}
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second): // until all wait
	}
	before, err := b.serversCost(0)
	if err != nil {
		return err
	}
	after, err := b.serversCost(fleetIdle)
	if err != nil {
		return err
	}
	share := 100 * (after.cpu - before.cpu).Seconds() / fleetIdle.Seconds()
	b.add(row{what: fmt.Sprintf("%d agents that wait: processor time of all servers, percent of a core", b.agents), conns: b.agents, core: share})
	b.add(row{what: fmt.Sprintf("%d agents that wait: resident size of the largest server (%.0f MiB without them)", b.agents, empty.mib), conns: b.agents, mib: after.mib, most: 400})
	return nil
}

// change measures how long it takes until many agents know of one change.
func (b *bench) change(ctx context.Context, f *fleet) error {
	var mu sync.Mutex
	var at time.Time
	var all []time.Duration
	var heard atomic.Int64
	n := min(oneWatched, len(f.agents))
	const watched = "service0000"
	for _, p := range f.agents[:n] {
		err := f.watch(p, watched, func() {
			mu.Lock()
			defer mu.Unlock()
			if !at.IsZero() {
				all = append(all, time.Since(at))
			}
			heard.Add(1)
		})
		if err != nil {
			return err
		}
	}
	know := func(times int) error {
		return wait(ctx, 30*time.Second, func() error {
			if got := int(heard.Load()); got < n*times {
				return fmt.Errorf("%d of %d agents know; %s", got-n*(times-1), n, f.why())
			}
			return nil
		})
	}
	if err := know(1); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // until they wait again
	for i := range fleetChanges {
		mu.Lock()
		at = time.Now()
		mu.Unlock()
		if err := f.agents[0].state.UpdateTTL("check0", []string{"warning", "passing"}[i%2], ""); err != nil {
			return err
		}
		if err := know(2 + i); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
	slices.Sort(all)
	b.add(row{what: fmt.Sprintf("A check of one instance changes, until %d agents that wait know", n), conns: n,
		out: outcome{p50: all[len(all)/2], p99: all[len(all)*99/100]}, limit99: 150 * time.Millisecond})
	return nil
}

// comeBack kills a server: all agents have something new at that moment, and compare all they have once they are told
// that it failed.
func (b *bench) comeBack(ctx context.Context, f *fleet, leader string, have int) error {
	i := slices.IndexFunc(serverIPs(), func(ip string) bool { return ip != leader })
	cmd := b.running[i]
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = cmd.Wait() // it was killed
	for _, p := range f.agents {
		more := append(slices.Clone(p.services), config.ServiceDefinition{ID: "more", Name: "more", Port: 9000})
		if err := p.state.Define(more, nil); err != nil {
			return err
		}
	}
	if err := f.group.Spawn("failure", func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(3 * time.Second): // gossip would have said so
			f.appear(without(f.Servers(), serverIPs()[i]))
		}
	}); err != nil {
		return err
	}
	if err := f.await(ctx, have+b.agents); err != nil {
		return err
	}
	b.add(row{what: fmt.Sprintf("A server is killed while all %d agents register one more service, until the catalog has all", b.agents), conns: b.agents,
		out: took(time.Since(began)), limit99: 30 * time.Second})
	c, err := b.serversCost(10 * time.Second)
	if err != nil {
		return err
	}
	b.add(row{what: "Resident size of the larger server that is left, after that", conns: b.agents, mib: c.mib, most: 400})
	return nil
}

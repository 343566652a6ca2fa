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

	"github.com/legate-project/legate/cmd/bench/fleet"
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
	f, err := fleet.New(b.agents, fleetServices, fleetNames, servers)
	if err != nil {
		return err
	}
	defer f.Stop(context.WithoutCancel(ctx))
	all := b.agents * fleetServices
	if err := await(ctx, f, all); err != nil {
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
func await(ctx context.Context, f *fleet.Fleet, want int) error {
	return wait(ctx, 5*time.Minute, func() error {
		n, err := f.Instances(ctx)
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
func (b *bench) calm(ctx context.Context, f *fleet.Fleet, empty cost) error {
	for i, p := range f.Agents {
		for j := range fleetWatches {
			name := fmt.Sprintf("service%04d", (i+j*fleetNames/fleetWatches)%fleetNames)
			if err := f.Watch(p, name, func() {}); err != nil {
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
func (b *bench) change(ctx context.Context, f *fleet.Fleet) error {
	var mu sync.Mutex
	var at time.Time
	var all []time.Duration
	var heard atomic.Int64
	n := min(oneWatched, len(f.Agents))
	const watched = "service0000"
	for _, p := range f.Agents[:n] {
		err := f.Watch(p, watched, func() {
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
				return fmt.Errorf("%d of %d agents know; %s", got-n*(times-1), n, f.Why())
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
		if err := f.Agents[0].Report([]string{"warning", "passing"}[i%2]); err != nil {
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
func (b *bench) comeBack(ctx context.Context, f *fleet.Fleet, leader string, have int) error {
	i := slices.IndexFunc(serverIPs(), func(ip string) bool { return ip != leader })
	cmd := b.running[i]
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = cmd.Wait() // it was killed
	if err := f.RegisterMore(); err != nil {
		return err
	}
	if err := f.AppearAfter(3*time.Second, fleet.Without(f.Servers(), serverIPs()[i])); err != nil { // gossip would have said so
		return err
	}
	if err := await(ctx, f, have+b.agents); err != nil {
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

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// leaderChanges is how often the leader goes, in each way.
	leaderChanges = 5
	// pauseWriters write through the client agent meanwhile, each a key of its own.
	pauseWriters = 4
	// pauseAgain is how soon a writer tries again what failed.
	pauseAgain = 5 * time.Millisecond
)

// group is three servers and a client agent whose leader goes again and again.
type group struct {
	*bench
	servers map[string]*exec.Cmd // by address
	client  string
}

// change is a way in which a leader goes, and how long writes may pause.
type change struct {
	name  string
	limit time.Duration
	// strike returns when the leader is gone, or another one leads.
	strike func(ctx context.Context, leader string) error
}

// pauses measures how long writes through a client agent stand still while the leader
// changes.
func (b *bench) pauses(ctx context.Context) error {
	const planned, unplanned = 200 * time.Millisecond, 800 * time.Millisecond
	g := &group{bench: b, servers: map[string]*exec.Cmd{}, client: "127.251.1.4"}
	for _, ip := range serverIPs() {
		if err := g.server(ip); err != nil {
			return err
		}
	}
	if _, err := b.agent("client1", g.client, "-retry-join="+serverIPs()[0], "-retry-interval=1s"); err != nil {
		return err
	}
	for _, c := range []change{
		{"leadership is transferred", planned, func(context.Context, string) error {
			return put("http://"+g.client+":8500/v1/operator/raft/transfer-leader", "")
		}},
		{"the leader leaves", planned, func(ctx context.Context, leader string) error {
			return errors.Join(put("http://"+leader+":8500/v1/agent/leave", ""), g.ended(ctx, leader))
		}},
		{"the leader is stopped (SIGTERM)", planned, func(ctx context.Context, leader string) error {
			return errors.Join(g.servers[leader].Process.Signal(syscall.SIGTERM), g.ended(ctx, leader))
		}},
		{"the leader is killed (SIGKILL)", unplanned, func(ctx context.Context, leader string) error {
			_ = errors.Join(g.servers[leader].Process.Kill(), g.ended(ctx, leader)) // it was killed
			return nil
		}},
	} {
		took := make([]time.Duration, leaderChanges)
		for i := range took {
			leader, err := g.whole(ctx)
			if err != nil {
				return fmt.Errorf("before %s: %w", c.name, err)
			}
			pause(ctx, time.Duration(i*137%500)*time.Millisecond) // anywhere between two heartbeats
			if took[i], err = g.pause(ctx, func() error { return c.strike(ctx, leader) }); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		slices.Sort(took)
		b.add(row{what: fmt.Sprintf("Pause of writes through a client agent while %s, median and longest of %d", c.name, leaderChanges), conns: pauseWriters,
			out: outcome{p50: took[leaderChanges/2], p99: took[leaderChanges-1]}, limit99: c.limit})
	}
	return nil
}

// server starts a server. One that left votes again soon.
func (g *group) server(ip string) error {
	args := []string{"-server", "-bootstrap-expect=3", "-retry-interval=500ms",
		`-hcl=performance { leave_drain_time = "100ms" } autopilot { server_stabilization_time = "100ms" }`}
	for _, other := range serverIPs() {
		args = append(args, "-retry-join="+other)
	}
	cmd, err := g.agent("server-"+ip, ip, args...)
	g.servers[ip] = cmd
	return err
}

// ended waits for the end of a process and forgets it.
func (g *group) ended(ctx context.Context, ip string) error {
	cmd := g.servers[ip]
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it hangs, or has ended
	defer stop()
	delete(g.servers, ip)
	g.running = slices.DeleteFunc(g.running, func(c *exec.Cmd) bool { return c == cmd })
	return cmd.Wait()
}

// whole starts who is missing, waits until all servers vote and are well, and returns
// the leader.
func (g *group) whole(ctx context.Context) (leader string, err error) {
	for _, ip := range serverIPs() {
		if g.servers[ip] == nil {
			if err := g.server(ip); err != nil {
				return "", err
			}
		}
	}
	return leader, wait(ctx, 30*time.Second, func() error {
		text, err := get("http://" + g.client + ":8500/v1/operator/autopilot/health")
		if err != nil {
			return err
		}
		var health struct {
			Servers []struct {
				Address                string
				Healthy, Voter, Leader bool
			}
		}
		if err := json.Unmarshal([]byte(text), &health); err != nil {
			return err
		}
		voters := 0
		for _, s := range health.Servers {
			if s.Healthy && s.Voter {
				voters++
			}
			if s.Leader {
				leader, _, _ = strings.Cut(s.Address, ":")
			}
		}
		if voters < len(serverIPs()) || g.servers[leader] == nil {
			return fmt.Errorf("the group is %s", text)
		}
		return nil
	})
}

// pause has writers write all the time, strikes, and returns the longest time from a
// write that one of them had acknowledged to its next.
func (g *group) pause(ctx context.Context, strike func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	struck := make(chan struct{})
	var gaps [pauseWriters]time.Duration
	var errs [pauseWriters]error
	var all, writing sync.WaitGroup
	for w := range pauseWriters {
		writing.Add(1)
		all.Go(func() { gaps[w], errs[w] = g.write(ctx, fmt.Sprint("/v1/kv/bench/pause/", w), writing.Done, struck) })
	}
	writing.Wait()
	err := strike()
	close(struck)
	all.Wait()
	return slices.Max(gaps[:]), errors.Join(append(errs[:], err)...)
}

// write writes until it was struck and one more write is acknowledged, and returns the
// longest time between two that are. It says when the first is.
func (g *group) write(ctx context.Context, path string, first func(), struck <-chan struct{}) (longest time.Duration, err error) {
	began := sync.OnceFunc(first)
	defer began()
	c, err := dialHTTP(g.client+":8500", "PUT", path, []byte("x"))
	if err != nil {
		return 0, err
	}
	defer c.close()
	var last time.Time
	for done := false; !done; {
		select {
		case <-struck:
			done = true
		default:
		}
		for err := c.ask(ctx); err != nil; err = c.ask(ctx) {
			if ctx.Err() != nil {
				return 0, err
			}
			pause(ctx, pauseAgain)
		}
		now := time.Now()
		if !last.IsZero() {
			longest = max(longest, now.Sub(last))
		}
		last = now
		began()
	}
	return longest, nil
}

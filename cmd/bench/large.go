package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What is measured of a state that is larger than memory ought to be.
const (
	largeServer, largeFollower = "127.251.5.1", "127.251.5.2"
	largeValue                 = 1000 // random bytes each
	largeRest                  = 2 * time.Minute
)

// large measures one server with very many keys, and a second one that begins with nothing.
func (b *bench) large(ctx context.Context) error {
	server, err := b.agent("large1", largeServer, "-server", "-bootstrap-expect=1")
	if err != nil {
		return err
	}
	if err := wait(ctx, 20*time.Second, func() error { return put("http://"+largeServer+":8500"+key, "x") }); err != nil {
		return err
	}
	idle, err := b.singleWrites(ctx)
	if err != nil {
		return err
	}
	b.add(row{what: "KV PUT, one connection, of an empty server", conns: 1, out: idle})
	began := time.Now()
	err = writeKeys(largeServer, b.keys, func(from int) string { return largeTransaction(from, b.keys) })
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	b.add(row{what: fmt.Sprintf("Writing %d keys of %d B, %d a transaction", b.keys, largeValue, perTxn), conns: 8, out: outcome{rate: float64(b.keys) / time.Since(began).Seconds()}})
	before, err := counter(largeServer, `legate_storage_compactions_total{db="state"}`)
	if err != nil {
		return err
	}
	busy, err := b.singleWrites(ctx)
	if err != nil {
		return err
	}
	after, err := counter(largeServer, `legate_storage_compactions_total{db="state"}`)
	if err != nil {
		return err
	}
	b.add(row{what: fmt.Sprintf("KV PUT, one connection, right after them (%.0f compactions ended meanwhile)", after-before), conns: 1, out: busy, limit99: 3 * idle.p99})
	if err := b.marks(largeServer); err != nil {
		return err
	}
	if err := b.sizeOf(server, fmt.Sprintf("with %d keys", b.keys)); err != nil {
		return err
	}
	pause(ctx, largeRest) // until compactions have caught up
	if server, err = b.restartLarge(ctx, server); err != nil {
		return err
	}
	return b.fromNothing(ctx, server)
}

// singleWrites has one connection write.
func (b *bench) singleWrites(ctx context.Context) (outcome, error) {
	return load(ctx, 1, 2*b.seconds, func(int) (one, error) {
		return dialHTTP(largeServer+":8500", "PUT", key, []byte(strings.Repeat("A", valueSize)))
	})
}

func largeTransaction(from, end int) string {
	return randomTransaction("large/%08d", from, min(from+perTxn, end), largeValue)
}

// marks says how long the server's own snapshots took, which are marks in the state.
func (b *bench) marks(ip string) error {
	const series = "legate_raft_snapshot_seconds"
	count, err := counter(ip, series+"_count")
	if err != nil {
		return err
	}
	sum, err := counter(ip, series+"_sum")
	if err != nil {
		return err
	}
	text, err := get("http://" + ip + ":8500/v1/agent/metrics?format=prometheus")
	if err != nil {
		return err
	}
	most := math.Inf(1)
	for line := range strings.Lines(text) { // buckets, smallest first
		bound, value, ok := strings.Cut(strings.TrimPrefix(line, series+`_bucket{le="`), `"} `)
		if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); ok && err == nil && n == count && math.IsInf(most, 1) {
			most, _ = strconv.ParseFloat(bound, 64)
		}
	}
	if count == 0 {
		fmt.Fprintln(os.Stderr, "The server made no snapshot of its own: there are too few keys for one.")
		return nil
	}
	mean := time.Duration(sum / count * float64(time.Second))
	longest := time.Duration(min(most, 3600) * float64(time.Second))
	b.add(row{what: fmt.Sprintf("A snapshot's mark in the state, mean of %.0f and a bound on the longest", count), conns: 1, out: outcome{p50: mean, p99: longest}, limit99: 200 * time.Millisecond})
	return nil
}

// counter reads one series.
func counter(ip, series string) (float64, error) {
	text, err := get("http://" + ip + ":8500/v1/agent/metrics?format=prometheus")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, errors.Join(fmt.Errorf("no series %s", series), err)
}

func (b *bench) sizeOf(cmd *exec.Cmd, what string) error {
	mib, err := resident(cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.add(row{what: "Resident size of the server " + what, mib: mib, most: 400})
	return nil
}

// restartLarge kills the server and measures its way back to the first stale read.
func (b *bench) restartLarge(ctx context.Context, server *exec.Cmd) (*exec.Cmd, error) {
	if err := server.Process.Signal(syscall.SIGKILL); err != nil {
		return nil, err
	}
	_ = server.Wait() // it was killed
	began := time.Now()
	server, err := b.agent("large1", largeServer, "-server", "-bootstrap-expect=1")
	if err != nil {
		return nil, err
	}
	if err := readable(ctx, largeServer, b.keys/2); err != nil {
		return nil, err
	}
	took := time.Since(began)
	b.add(row{what: "Start after kill -9 to the first stale read", conns: 1, out: outcome{p50: took, p99: took}, limit: time.Second})
	reads, err := load(ctx, b.conns, 2*b.seconds, func(i int) (one, error) {
		c, err := dialHTTP(largeServer+":8500", "GET", key, nil)
		if err != nil {
			return nil, err
		}
		return &anyKey{httpConn: c.(*httpConn), keys: b.keys, next: i * 7919}, nil
	})
	if err != nil {
		return nil, err
	}
	b.add(row{what: "KV GET, each of another key", conns: b.conns, out: reads})
	return server, b.sizeOf(server, "after reads of keys all over")
}

// anyKey reads another key each time.
type anyKey struct {
	*httpConn
	keys, next int
}

func (a *anyKey) ask(ctx context.Context) error {
	a.next = (a.next + 1_000_003) % a.keys
	a.request = fmt.Appendf(a.request[:0], "GET /v1/kv/large/%08d?stale HTTP/1.1\r\nHost: bench\r\n\r\n", a.next)
	return a.httpConn.ask(ctx)
}

// readable waits until a server answers a stale read of a key.
func readable(ctx context.Context, ip string, i int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	for {
		text, err := get(fmt.Sprintf("http://%s:8500/v1/kv/large/%08d?stale&raw", ip, i))
		if err == nil && len(text) == largeValue {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("%s answers no read of the key", ip), err)
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// fromNothing measures how long a second server takes that has nothing, beside a copy of
// the first one's files on the same disk.
func (b *bench) fromNothing(ctx context.Context, server *exec.Cmd) error {
	began := time.Now()
	if out, err := exec.CommandContext(ctx, "cp", "-r", filepath.Join(b.dir, "large1"), filepath.Join(b.dir, "copy")).CombinedOutput(); err != nil {
		return fmt.Errorf("copy: %w: %s", err, out)
	}
	if err := exec.CommandContext(ctx, "sync").Run(); err != nil {
		return err
	}
	took := time.Since(began)
	b.add(row{what: "Copying its files (cp, sync)", conns: 1, out: outcome{p50: took, p99: took}})
	if err := exec.CommandContext(ctx, "rm", "-r", filepath.Join(b.dir, "copy")).Run(); err != nil {
		return err
	}
	began = time.Now()
	if _, err := b.agent("large2", largeFollower, "-server", "-retry-join="+largeServer, "-retry-interval=1s"); err != nil {
		return err
	}
	if err := readable(ctx, largeFollower, b.keys-1); err != nil {
		return err
	}
	took = time.Since(began)
	b.add(row{what: "A follower from nothing, until it answers a stale read of the last key", conns: 1, out: outcome{p50: took, p99: took}})
	return b.sizeOf(server, "that sent its state")
}

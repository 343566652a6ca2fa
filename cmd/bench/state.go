package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The state that is measured: keys written by transactions.
const (
	stateKeys  = 200_000
	stateValue = 512 // random bytes each
	perTxn     = 128
)

// state measures what a large key/value store costs: memory, a snapshot, a
// restart.
func (b *bench) state(ctx context.Context) error {
	leader, _, _, err := b.datacenter(ctx)
	if err != nil {
		return err
	}
	if err := wait(ctx, 10*time.Second, func() error { return put("http://"+leader+":8500"+key, "x") }); err != nil {
		return err
	}
	if err := fillKeys(leader); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	var leads int
	for i, ip := range serverIPs() {
		if ip == leader {
			leads = i
		}
	}
	cmd := b.running[leads]
	mib, err := resident(cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.add(row{what: fmt.Sprintf("Resident size of the leader with %d keys of %d B", stateKeys, stateValue), mib: mib, most: 200})
	if err := b.listKeys(leader); err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	file := filepath.Join(b.dir, "state.snap")
	var saves [3]time.Duration // the first is beside what the servers still compact
	for i := range saves {
		if saves[i], err = saveSnapshot(leader, file); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	slices.Sort(saves[:])
	b.add(row{what: "Saving a snapshot of them", conns: 1, out: outcome{p50: saves[1], p99: saves[2]}, limit: time.Second})
	took, err := restoreSnapshot(leader, file)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	b.add(row{what: "Restoring that snapshot", conns: 1, out: outcome{p50: took, p99: took}, limit: 2500 * time.Millisecond})
	return b.restart(ctx, leads, leader)
}

func fillKeys(leader string) error { return writeKeys(leader, stateKeys, transaction) }

// writeKeys writes n keys, some transactions of perTxn at a time.
func writeKeys(leader string, n int, transaction func(from int) string) error {
	var wg sync.WaitGroup
	const writers = 8
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			for from := w * perTxn; from < n; from += writers * perTxn {
				if err := put("http://"+leader+":8500/v1/txn", transaction(from)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func transaction(from int) string {
	return randomTransaction("state/%06d", from, min(from+perTxn, stateKeys), stateValue)
}

// randomTransaction writes keys whose values do not shrink.
func randomTransaction(name string, from, end, size int) string {
	random := rand.New(rand.NewPCG(uint64(from), 1))
	value := make([]byte, size)
	ops := make([]string, 0, end-from)
	for i := from; i < end; i++ {
		for j := range value {
			value[j] = byte(random.Uint32())
		}
		ops = append(ops, fmt.Sprintf(`{"KV":{"Verb":"set","Key":"%s","Value":"%s"}}`, fmt.Sprintf(name, i), base64.StdEncoding.EncodeToString(value)))
	}
	return "[" + strings.Join(ops, ",") + "]"
}

func saveSnapshot(leader, file string) (time.Duration, error) {
	out, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	began := time.Now()
	resp, err := http.Get("http://" + leader + ":8500/v1/snapshot")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(out, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n < stateKeys*stateValue) {
		err = fmt.Errorf("%s, %d bytes", resp.Status, n)
	}
	return time.Since(began), err
}

func restoreSnapshot(leader, file string) (time.Duration, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = put("http://"+leader+":8500/v1/snapshot", string(text))
	return time.Since(began), err
}

// restart kills a server and measures how long it takes from its start to the
// first stale read.
func (b *bench) restart(ctx context.Context, i int, ip string) error {
	cmd := b.running[i]
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_ = cmd.Wait() // it was killed
	began := time.Now()
	if _, err := b.agent(fmt.Sprintf("server%d", i+1), ip, "-server", "-bootstrap-expect=3", "-retry-join=127.251.1.1", "-retry-join=127.251.1.2", "-retry-interval=1s"); err != nil {
		return err
	}
	stop := time.Now().Add(30 * time.Second)
	for {
		text, err := get("http://" + ip + ":8500/v1/kv/state/000000?stale&raw")
		if err == nil && len(text) == stateValue {
			break
		}
		if time.Now().After(stop) || ctx.Err() != nil {
			return errors.Join(errors.New("the killed server answers no read"), err)
		}
		pause(ctx, 5*time.Millisecond)
	}
	took := time.Since(began)
	b.add(row{what: "Start after kill -9 to the first stale read", conns: 1, out: outcome{p50: took, p99: took}, limit: 500 * time.Millisecond})
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

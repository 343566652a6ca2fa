//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/proctest"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/kv"
)

// madeSnapshot writes a snapshot of keys gen/0… with values of size bytes that
// say which generation they are of.
func madeSnapshot(t testing.TB, generation, keys, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.snap", generation))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = archive.Write(file, archive.Meta{Version: "test", Datacenter: "dc1", Index: 10, Time: time.Unix(0, 0)}, func(yield func(archive.Row, error) bool) {
		random := rand.NewChaCha8([32]byte{byte(generation)})
		value := make([]byte, size)
		for i := range keys {
			_, _ = random.Read(value) // never fails
			copy(value, fmt.Sprintf("%08d", generation))
			e := kv.Entry{Key: fmt.Sprintf("gen/%08d", i), Value: value, CreateIndex: 9, ModifyIndex: 9}
			row := append(binary.BigEndian.AppendUint64(nil, 9), 0)
			row, err := e.MarshalMsg(row)
			if !yield(archive.Row{Key: append([]byte{'r', 1}, e.Key...), Value: row}, err) {
				return
			}
		}
	})
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// generation returns which one a server has, or an error if its state is not
// one whole.
func (n *node) generation(keys int) (string, error) {
	pairs, _, err := n.client.KV().List("gen/", &api.QueryOptions{AllowStale: true})
	if err != nil {
		return "", err
	}
	found := map[string]int{}
	for _, p := range pairs {
		found[string(p.Value[:8])]++
	}
	if len(found) != 1 || len(pairs) != keys {
		return "", fmt.Errorf("%s has %d keys of %v", n.name, len(pairs), found)
	}
	return string(pairs[0].Value[:8]), nil
}

// restoredOnce starts three servers and restores a first snapshot, which takes whole.
func restoredOnce(t *testing.T, h *proctest.Host, keys, size int) (nodes []*node, leader *node, whole time.Duration) {
	t.Helper()
	for i := range 3 {
		nodes = append(nodes, start(t, spec{host: h, name: fmt.Sprint("s", i+1), dc: "dc1", ip: h.Addr(1, i+1), expect: 3,
			lan: []string{h.Addr(1, 1), h.Addr(1, 2)}}))
	}
	leader = awaitLeader(t, patience, nodes...)
	began := time.Now()
	leader.run(t, 0, "snapshot restore", madeSnapshot(t, 0, keys, size))
	return nodes, leader, time.Since(began)
}

// A leader that is killed at any moment of a restore leaves the old state or
// the new one, the same on all servers, and all of them go on.
func TestKilledLeaderLeavesTheOldOrTheNewState(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	const keys, size = 8_000, 2_000
	nodes, leader, whole := restoredOnce(t, h, keys, size)
	t.Logf("a restore of %d keys of %d bytes takes %s", keys, size, whole)
	rounds, outcomes := 4, map[string]int{}
	if testing.Short() {
		rounds = 2
	}
	now := "00000000"
	for round := 1; round <= rounds; round++ {
		file := madeSnapshot(t, round, keys, size)
		restore := proctest.Start(t, h, "restore", "snapshot", "restore", "-http-addr="+leader.ip+":8500", file)
		leader.WaitLine(0, patience, "restoring a snapshot")
		wait := time.NewTimer(whole / 2 * time.Duration(round) / time.Duration(rounds+1)) // the first half goes into the upload
		<-wait.C
		leader.Kill()
		restored := restore.WaitExit(patience) == 0
		rest := others(nodes, leader)
		next := awaitLeader(t, patience, rest...)
		began := time.Now()
		proctest.Until(t, patience, "the others take writes", func() error { return next.put("alive", fmt.Sprint(round), "") })
		leader.start()
		got := ""
		proctest.Until(t, patience, "all have the same state", func() error {
			first, err := nodes[0].generation(keys)
			if err != nil {
				return err
			}
			for _, n := range nodes[1:] {
				if other, err := n.generation(keys); err != nil || other != first {
					return fmt.Errorf("%s has %s, %s has %s: %w", nodes[0].name, first, n.name, other, err)
				}
			}
			got = first
			return nil
		})
		if fresh := fmt.Sprintf("%08d", round); got != fresh && (got != now || restored) {
			t.Fatalf("round %d: the state is of generation %s after %s; the restore said %t", round, got, now, restored)
		}
		for _, n := range nodes {
			proctest.Until(t, patience, n.name+" takes writes", func() error { return n.put("from/"+n.name, fmt.Sprint(round), "") })
		}
		outcomes[map[bool]string{true: "old", false: "new"}[got == now]]++
		t.Logf("round %d: generation %s, all whole %s after the kill", round, got, time.Since(began))
		now = got
		leader = awaitLeader(t, patience, nodes...)
	}
	t.Logf("outcomes: %v", outcomes)
}

// A follower that is killed while the parts of a snapshot come has the new state in the end, as
// the others have.
func TestAFollowerKilledDuringARestoreHasTheNewState(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	const keys, size = 8_000, 2_000
	nodes, leader, whole := restoredOnce(t, h, keys, size)
	for round, follower := range others(nodes, leader) {
		file := madeSnapshot(t, round+1, keys, size)
		said := leader.Mark()
		restore := proctest.Start(t, h, "restore", "snapshot", "restore", "-http-addr="+leader.ip+":8500", file)
		leader.WaitLine(said, patience, "restoring a snapshot")
		wait := time.NewTimer(whole / 4 * time.Duration(round+1) / 2)
		<-wait.C
		follower.Kill()
		follower.start()
		if code := restore.WaitExit(patience); code != 0 {
			t.Fatalf("round %d: the restore ended with %d", round, code)
		}
		for _, n := range nodes {
			proctest.Until(t, patience, n.name+" has the new state", func() error {
				got, err := n.generation(keys)
				if want := fmt.Sprintf("%08d", round+1); err == nil && got != want {
					err = fmt.Errorf("%s has generation %s", n.name, got)
				}
				return err
			})
		}
		if err := leader.put("alive", fmt.Sprint(round), ""); err != nil {
			t.Error(err)
		}
	}
}

func TestSnapshotCommands(t *testing.T) {
	t.Parallel()
	h := proctest.Loopback(t)
	n := start(t, spec{host: h, name: "one", dc: "dc1", ip: h.Addr(1, 1), expect: 1})
	awaitLeader(t, patience, n)
	for _, key := range []string{"app/a", "app/b", "top"} {
		if err := n.put(key, "v of "+key, ""); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	n.run(t, 0, "snapshot save -append-filename=dc,node,status", filepath.Join(dir, "backup.snap"))
	file := filepath.Join(dir, "backup-dc1-one-leader.snap")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".snapshot-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	runs := func(code int, args ...string) string {
		t.Helper()
		r := proctest.Run(t, h, args...)
		if r.Code != code {
			t.Fatalf("legate %q ends with %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
		}
		return r.Stdout + r.Stderr
	}
	contains(t, "inspect", runs(0, "snapshot", "inspect", "-kvdetails", "-kvdepth=1", file), "KVS", "Nodes", "app", "dc1", "Total")
	contains(t, "inspect as JSON", runs(0, "snapshot", "inspect", "-format=json", file), `"Index":`)
	contains(t, "inspect one of Consul", runs(0, "snapshot", "inspect", "-kvdetails", "-kvdepth=1", consulSnapshot("acl")), "1.21.4", "Taken over", "Left out",
		"ACL tokens", "service-defaults/web", "locks")
	contains(t, "inspect one of Consul as JSON", runs(0, "snapshot", "inspect", "-format=json", consulSnapshot("plain")), `"Program": "Consul"`, `"LastIndex": 87`)
	contains(t, "decode one of Consul", runs(1, "snapshot", "decode", consulSnapshot("plain")), "snapshot of Consul")
	contains(t, "decode", runs(0, "snapshot", "decode", file), `"Type":"KVS"`, `"Key":"app/a"`)
	exported := n.run(t, 0, "kv export", "app/")
	contains(t, "export", exported, `"key": "app/a"`, `"value": "diBvZiBhcHAvYQ=="`)

	if err := n.put("app/a", "changed", ""); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.snap")
	if err := os.WriteFile(bad, b[:len(b)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, "a damaged file", n.run(t, 1, "snapshot restore", bad), "cut off")
	contains(t, "a damaged file", runs(1, "snapshot", "inspect", bad), "cut off")
	n.run(t, 0, "snapshot restore", file)
	if err := n.get("app/a", "v of app/a", ""); err != nil {
		t.Error(err)
	}
	dump := filepath.Join(dir, "app.json")
	if err := os.WriteFile(dump, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	n.run(t, 0, "kv import -prefix=copy", "@"+dump)
	if err := n.get("copy/app/b", "v of app/b", ""); err != nil {
		t.Error(err)
	}
	contains(t, "event", n.run(t, 0, "event -name=deploy", "1.2.3"), "Event ID: ")
	proctest.Until(t, patience, "the event is listed", func() error {
		if out := n.run(t, 0, "watch -type=event -name=deploy"); !strings.Contains(out, "MS4yLjM=") {
			return errors.New(out)
		}
		return nil
	})
}

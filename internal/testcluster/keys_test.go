package testcluster_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/testcluster"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/status"
)

func gossipKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

// load reads and writes between all pairs of datacenters until the test ends. Each value
// is another one, so that a write which was acknowledged and is not there is seen: at
// once, and once more later.
type load struct {
	c    *testcluster.Cluster
	stop chan struct{}
	wg   sync.WaitGroup
	done atomic.Int64

	mu     sync.Mutex
	apart  string // the datacenter that is cut off, or is not back yet
	failed []string
	stood  time.Time // when the machine went on after it had stood still
	still  int       // what failed around that
}

const (
	// keysLater is after how many writes of a pair a value is read once more.
	keysLater = 25
	// standstill is for how long nothing runs in this process when the machine is taken
	// for one that stands still, and standstillCounts how long after it that explains what
	// fails: a leader that is not heard for two seconds is replaced, and what it was about
	// to commit is answered with "lost", which promises nothing.
	standstill, standstillCounts = time.Second, 6 * time.Second
)

func startLoad(t *testing.T, c *testcluster.Cluster) *load {
	t.Helper()
	l := &load{c: c, stop: make(chan struct{})}
	l.wg.Go(l.watch)
	for _, from := range c.Datacenters() {
		for _, to := range c.Datacenters() {
			l.wg.Go(func() { l.pair(from, to) })
		}
	}
	t.Cleanup(l.end)
	return l
}

func (l *load) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.stop:
	default:
		close(l.stop)
		l.mu.Unlock()
		l.wg.Wait()
		l.mu.Lock()
	}
}

// watch notes when the machine has stood still.
func (l *load) watch() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(last) > standstill {
			l.mu.Lock()
			l.stood = now
			l.mu.Unlock()
		}
		last = now
	}
}

// pair asks one datacenter from another, by turns through its client agent and its
// servers.
func (l *load) pair(from, to string) {
	nodes := l.c.In(from)
	pace := time.NewTicker(30 * time.Millisecond)
	defer pace.Stop()
	acknowledged := map[int]string{} // values by key, of those that are known
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-pace.C:
		}
		before := l.excused(from, to)
		n := nodes[i%len(nodes)]
		err := l.turn(n.Agent().Caller(), from, to, i, acknowledged)
		switch {
		case err == nil:
			l.done.Add(1)
		case !before && !l.excused(from, to):
			l.fail(fmt.Sprintf("%s asks %s: %v", n.Name, to, err), op.CodeOf(err))
		}
	}
}

// turn writes a value, reads it back, and one that was written a while ago.
func (l *load) turn(caller op.Caller, from, to string, i int, acknowledged map[int]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	name := func(i int) string { return fmt.Sprintf("load/%s/%d", from, i%(2*keysLater)) }
	slot, value := i%(2*keysLater), fmt.Sprint(i)
	delete(acknowledged, slot) // not known until it is answered
	if _, _, err := kv.Apply.Call(ctx, caller, op.Header{Datacenter: to}, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: name(i), Value: []byte(value)}}); err != nil {
		return fmt.Errorf("put %s: %w", name(i), err)
	}
	acknowledged[slot] = value
	for _, i := range []int{i, i + keysLater} {
		want, known := acknowledged[i%(2*keysLater)]
		if !known {
			continue
		}
		e, _, err := kv.Get.Call(ctx, caller, op.Header{Datacenter: to, Consistency: op.Consistent}, &kv.GetRequest{Key: name(i)})
		if err != nil {
			return fmt.Errorf("get %s: %w", name(i), err)
		}
		if e == nil || string(e.Value) != want {
			return fmt.Errorf("%w: %s is %+v, and %q was acknowledged", errAcknowledged, name(i), e, want)
		}
	}
	return nil
}

// errAcknowledged is what no standstill explains.
var errAcknowledged = op.Errorf(op.CodeInternal, "A WRITE WAS LOST")

// fail notes what failed, unless it says nothing of what was done and the machine stood
// still.
func (l *load) fail(text string, code op.Code) {
	unsure := code == op.CodeLost || code == op.CodeTimeout || code == op.CodeNoLeader || code == op.CodeNotLeader || code == op.CodeNoServer
	l.mu.Lock()
	defer l.mu.Unlock()
	if unsure && time.Since(l.stood) < standstillCounts {
		l.still++
		return
	}
	l.failed = append(l.failed, text)
}

func (l *load) excused(from, to string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.apart != "" && from != to && (l.apart == from || l.apart == to)
}

func (l *load) cut(t *testing.T, dc string) {
	t.Helper()
	l.mu.Lock()
	l.apart = dc
	l.mu.Unlock()
	if err := l.c.Cut(dc); err != nil {
		t.Fatal(err)
	}
	everywhere(t, l.c, []string{"dc1", "dc2"}, dc, status.Unreachable, 20*time.Second)
}

func (l *load) heal(t *testing.T, dc string) {
	t.Helper()
	if err := l.c.Heal(dc); err != nil {
		t.Fatal(err)
	}
}

// back waits until a datacenter is reached again, as calls and gossip see it, from
// which on nothing may fail.
func (l *load) back(t *testing.T, dc string) {
	t.Helper()
	eventually(t, dc+" is back", 60*time.Second, func(ctx context.Context) error {
		for _, n := range l.c.Nodes() {
			for _, to := range l.c.Datacenters() {
				if to == dc || n.Datacenter == dc {
					if err := writeAndReadBack(ctx, n.Agent().Caller(), to, "back"); err != nil {
						return err
					}
				}
			}
			members, err := pool(ctx, n, true)
			if alive := len(members); n.Server && (err != nil || alive != 6) {
				return fmt.Errorf("%s has %d live members of the WAN pool: %v", n.Name, alive, err)
			}
		}
		return nil
	})
	l.mu.Lock()
	l.apart = ""
	l.mu.Unlock()
}

// check lets the load go on for longer than it takes to replace connections, and fails
// for what failed so far.
func (l *load) check(t *testing.T, when string) {
	t.Helper()
	begin, from := time.Now(), l.done.Load()
	eventually(t, "the load goes on", 30*time.Second, func(context.Context) error {
		if n, took := l.done.Load()-from, time.Since(begin); n < 200 || took < 5*time.Second {
			return fmt.Errorf("%d were answered in %s", n, took)
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%s: %d writes and reads were answered, %d failed while the machine stood still", when, l.done.Load(), l.still)
	for i, text := range l.failed {
		if i < 5 {
			t.Errorf("%s: %s", when, text)
		}
	}
	if n := len(l.failed); n > 0 {
		t.Errorf("%s: %d failed", when, n)
	}
	l.failed = nil
}

// forgive forgets what failed before the federation was whole.
func (l *load) forgive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = nil
}

// keys has a datacenter change the gossip keys everywhere. What is refused or not
// done must say all of the words; with none it must be done.
func (l *load) keys(t *testing.T, from, action string, fill byte, force bool, words ...string) {
	t.Helper()
	asked := l.c.In(from)
	said := ""
	for until := time.Now().Add(time.Minute); ; {
		got, _, err := status.KeyringChange.Call(t.Context(), asked[len(asked)-1].Agent().Caller(), op.Header{},
			&status.KeyringRequest{Action: action, Key: gossipKey(fill), Force: force})
		if err != nil {
			said = err.Error()
		} else {
			var faults []string
			for i := range got.Keyrings {
				faults = append(faults, got.Keyrings[i].Faults()...)
			}
			said = strings.Join(faults, "; ")
		}
		// Gossip may hold a server alive, for a while, that nobody can call any more.
		if !strings.Contains(said, "is alive and did not answer") || time.Now().After(until) {
			break
		}
		t.Logf("%s key %d from %s, tried again: %s", action, fill, from, said)
	}
	if (said == "") != (len(words) == 0) {
		t.Fatalf("%s key %d from %s: %q", action, fill, from, said)
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			t.Errorf("%s key %d from %s says %q, not %q", action, fill, from, said, word)
		}
	}
}

// only waits until all members of all pools have one key, the one given.
func (l *load) only(t *testing.T, fill byte) {
	t.Helper()
	key := base64.StdEncoding.EncodeToString(gossipKey(fill))
	eventually(t, fmt.Sprintf("key %d is the only one", fill), 20*time.Second, func(ctx context.Context) error {
		got, _, err := status.KeyringList.Call(ctx, l.c.In("dc1")[0].Agent().Caller(), op.Header{}, &status.KeyringRequest{})
		if err != nil {
			return err
		}
		if len(got.Keyrings) != 4 {
			return fmt.Errorf("%d pools", len(got.Keyrings))
		}
		for i := range got.Keyrings {
			k := &got.Keyrings[i]
			if want := 3; len(k.Members) > 0 || k.Error != "" || len(k.Keys) != 1 || k.PrimaryKeys[key] != k.NumNodes || k.NumNodes < want {
				return fmt.Errorf("%s: %d nodes, %d keys, %+v %s", k.Pool(), k.NumNodes, len(k.Keys), k.Members, k.Error)
			}
		}
		return nil
	})
}

// The gossip key is rotated under load, three times, and each time a datacenter is
// cut off in the middle: between -install and -use, before -install, and from before
// -install until after a forced -remove. No request is lost but those to or from the
// datacenter while it is away.
func TestKeysRotateUnderLoadWithADatacenterCutOff(t *testing.T) {
	t.Parallel()
	timing := fast()
	timing.RaftHeartbeat = 2 * time.Second // a busy machine alone must not change the leader
	c := start(t, testcluster.Spec{Datacenters: 3, Servers: 2, Clients: 1, RTT: 20 * time.Millisecond, Dir: t.TempDir(), Key: gossipKey(1), Timing: timing})
	l := startLoad(t, c)
	for _, dc := range c.Datacenters() {
		l.back(t, dc)
	}
	l.forgive()

	l.keys(t, "dc1", status.KeysInstall, 2, false)
	l.cut(t, "dc3")
	l.keys(t, "dc1", status.KeysUse, 2, false, "LAN pool of dc3: it cannot be reached")
	l.keys(t, "dc1", status.KeysRemove, 1, false, "nothing was changed", "LAN pool of dc3", "dc3-server1.dc3 of the WAN pool is failed")
	l.check(t, "cut off between -install and -use")
	l.heal(t, "dc3")
	l.back(t, "dc3")
	l.keys(t, "dc3", status.KeysUse, 2, false)
	l.keys(t, "dc2", status.KeysRemove, 1, false)
	l.only(t, 2)
	l.check(t, "rotated")

	l.cut(t, "dc3")
	l.keys(t, "dc1", status.KeysInstall, 3, false, "LAN pool of dc3: it cannot be reached")
	l.keys(t, "dc1", status.KeysUse, 3, false, "LAN pool of dc3: it cannot be reached")
	l.heal(t, "dc3")
	l.back(t, "dc3") // it has only the old key, and the others do as well
	l.keys(t, "dc1", status.KeysRemove, 2, false, "nothing was changed", "of the LAN pool of dc3 use it")
	l.keys(t, "dc1", status.KeysInstall, 3, false)
	l.keys(t, "dc1", status.KeysUse, 3, false)
	l.keys(t, "dc1", status.KeysRemove, 2, false)
	l.only(t, 3)
	l.check(t, "cut off before -install")

	l.cut(t, "dc3")
	l.keys(t, "dc1", status.KeysInstall, 4, false, "LAN pool of dc3: it cannot be reached")
	l.keys(t, "dc1", status.KeysUse, 4, false, "LAN pool of dc3: it cannot be reached")
	l.keys(t, "dc1", status.KeysRemove, 3, true, "LAN pool of dc3: it cannot be reached")
	l.heal(t, "dc3")
	l.keys(t, "dc3", status.KeysInstall, 4, false, "LAN pool of dc1: it cannot be reached") // the way back
	l.back(t, "dc3")
	l.keys(t, "dc3", status.KeysUse, 4, false)
	l.keys(t, "dc3", status.KeysRemove, 3, false)
	l.only(t, 4)
	l.check(t, "back after a forced -remove")
}

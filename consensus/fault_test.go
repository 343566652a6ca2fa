package consensus

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage"
	"github.com/legate-project/legate/storage/raftlog"
)

// single starts one voter on the file system; it bootstraps a new one.
func single(t *testing.T, fs vfs.FS, tune func(*Config)) *member {
	t.Helper()
	m := newMember(t, newNetwork(), "n0", fs)
	m.tune = tune
	m.start()
	err := m.node.Bootstrap([]Server{{ID: m.id, Address: m.id, Voter: true}})
	if err != nil && !errors.Is(err, ErrBootstrapped) {
		t.Fatal(err)
	}
	return m
}

// lockApart keeps MemFS.Lock and CrashClone apart: Lock takes the same read lock
// twice, and a clone that comes between waits for ever.
type lockApart struct {
	vfs.FS
	mu *sync.Mutex
}

func (fs lockApart) Lock(name string) (io.Closer, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.FS.Lock(name)
}

// Power is lost at any sync while commands are applied, the state is marked and
// the log cut: a restart leads again with all that was acknowledged.
func TestPowerLossLosesNothingAcknowledged(t *testing.T) {
	type crash struct {
		fs    vfs.FS
		acked int
	}
	var mu sync.Mutex
	var crashes []crash
	acked := 0
	rng := rand.New(rand.NewPCG(1, 2))
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(lockApart{mem, &mu}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			mu.Lock()
			defer mu.Unlock()
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}
			crashes = append(crashes, crash{mem.CrashClone(cfg), acked})
		}
		return nil
	}))
	tune := func(c *Config) { c.TrailingLogs = NoTrailingLogs }
	m := single(t, fs, tune)
	for i := range 60 {
		propose(t, []*member{m}, fmt.Sprintf("k%d=%d", i, i))
		mu.Lock()
		acked = i + 1
		mu.Unlock()
		if i%15 == 14 {
			if _, err := m.node.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.stop()
	t.Logf("%d crashes", len(crashes))
	rng.Shuffle(len(crashes), func(i, j int) { crashes[i], crashes[j] = crashes[j], crashes[i] })
	for _, c := range crashes[:min(25, len(crashes))] {
		again := single(t, c.fs, tune)
		propose(t, []*member{again}, "after=1")
		for i := range c.acked {
			if !has(t, again, fmt.Sprint("k", i), fmt.Sprint(i)) {
				t.Fatalf("k%d of %d acknowledged is lost", i, c.acked)
			}
		}
		again.stop()
	}
}

// TestPowerLossWhileAGroupBegins: the term of the first configuration is on the disk, the
// configuration is not. The node begins anew; one that has voted does not.
func TestPowerLossWhileAGroupBegins(t *testing.T) {
	for name, voted := range map[string]bool{"nobody has its vote": false, "it has voted": true} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			m := newMember(t, newNetwork(), "n0", fs)
			if err := m.open(); err != nil {
				t.Fatal(err)
			}
			err := m.log.SetUint64([]byte(keyCurrentTerm), 1)
			if voted {
				err = errors.Join(err, m.log.SetUint64([]byte(keyVoteTerm), 1))
			}
			if err != nil {
				t.Fatal(err)
			}
			m.closeDisks()
			m.start()
			defer m.stop()
			err = m.node.Bootstrap([]Server{{ID: m.id, Address: m.id, Voter: true}})
			if voted {
				if !errors.Is(err, ErrBootstrapped) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			propose(t, []*member{m}, "k=1")
		})
	}
}

// behind makes a cluster of three whose last member missed much, cut from the
// leader's log meanwhile.
func behind(t *testing.T, tune func(*Config)) (members []*member, late *member) {
	t.Helper()
	members = cluster(t, 3, func(c *Config) {
		c.TrailingLogs = NoTrailingLogs
		if tune != nil {
			tune(c)
		}
	})
	propose(t, members, "early=1")
	lead := leader(t, members)
	late = members[slices.IndexFunc(members, func(m *member) bool { return m != lead })]
	eventually(t, "it has the first", func() bool { return has(t, late, "early", "1") })
	late.stop()
	for i := range 300 {
		propose(t, members, fmt.Sprintf("k%d=%d", i, i))
	}
	if ok, err := leader(t, members).node.Snapshot(t.Context()); !ok || err != nil {
		t.Fatalf("snapshot: %v, %v", ok, err)
	}
	return members, late
}

func TestFollowerFarBehindGetsTheState(t *testing.T) {
	members, late := behind(t, nil)
	late.start()
	eventually(t, "it caught up", func() bool { return has(t, late, "k299", "299") })
	if g := late.state.Generation(); g == "db-1" {
		t.Error("it did not get a state")
	}
	propose(t, members, "more=1")
	eventually(t, "it follows the log", func() bool { return has(t, late, "more", "1") })
	lead := leader(t, members)
	if late.state.Index() != lead.state.Index() {
		t.Errorf("index %d, the leader's is %d", late.state.Index(), lead.state.Index())
	}
	late.stop()
	late.start()
	propose(t, members, "again=1")
	eventually(t, "it follows after a restart", func() bool { return has(t, late, "again", "1") })
	names, err := lead.fs.List(lead.fs.PathJoin(lead.dir, "state"))
	if err != nil || slices.ContainsFunc(names, func(n string) bool { return n[:4] == "tmp-" }) {
		t.Errorf("the sender left %v, %v", names, err)
	}
}

// The process ends after a state was received and checked and before it was
// installed: the old state stands, and the next attempt succeeds.
func TestKillBetweenReceivingAndInstalling(t *testing.T) {
	members, late := behind(t, nil)
	if err := late.open(); err != nil {
		t.Fatal(err)
	}
	lead := leader(t, members)
	sender := newSnapshotStore(lead.state, newJournal(lead.log, nil), discardMetrics(t))
	meta, stream, err := sender.Open(stateID)
	if err != nil {
		t.Fatal(err)
	}
	store := newSnapshotStore(late.state, newJournal(late.log, nil), discardMetrics(t))
	in, err := store.Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(in, stream)
	if err != nil || n != meta.Size {
		t.Fatalf("copied %d of %d: %v", n, meta.Size, err)
	}
	if err := errors.Join(stream.Close(), in.Close()); err != nil {
		t.Fatal(err)
	}
	if p := late.state.Position().Index; p >= meta.Index || has(t, late, "k0", "0") {
		t.Fatalf("the received state is visible at %d", p)
	}
	if err := errors.Join(late.state.Close(), late.log.Close()); err != nil { // the end of the process
		t.Fatal(err)
	}
	late.start()
	if !has(t, late, "early", "1") {
		t.Error("the old state is gone")
	}
	eventually(t, "it caught up", func() bool { return has(t, late, "k299", "299") })
}

// The log is ahead of the state, as after a power loss: the entries between
// are applied again, once.
func TestLogAheadOfStateIsReplayed(t *testing.T) {
	mem := vfs.NewCrashableMem()
	m := single(t, mem, nil)
	for i := range 50 {
		propose(t, []*member{m}, fmt.Sprintf("k%d=%d", i, i))
	}
	lost := mem.CrashClone(vfs.CrashCloneCfg{}) // the log is synced, the state is not
	m.stop()
	again := newMember(t, newNetwork(), "n0", lost)
	if err := again.open(); err != nil {
		t.Fatal(err)
	}
	if _, ok := value(t, again.state, "k49"); ok {
		t.Fatal("the state lost nothing: the test shows nothing")
	}
	if err := errors.Join(again.state.Close(), again.log.Close()); err != nil {
		t.Fatal(err)
	}
	again.start()
	leader(t, []*member{again})
	for i := range 50 {
		if !has(t, again, fmt.Sprint("k", i), fmt.Sprint(i)) {
			t.Fatalf("k%d is lost", i)
		}
	}
	if got := again.state.Index(); got != 50 {
		t.Errorf("the index is %d after 50 commands", got)
	}
}

// The log is shorter than the state, or gone: what was applied stays, the term
// does not go back, and the log continues after the state.
func TestStateAheadOfLogStands(t *testing.T) {
	cut := map[string]func(t *testing.T, m *member){
		"shorter": func(t *testing.T, m *member) {
			last, _ := m.log.LastIndex()
			if err := m.log.DeleteRange(last-20, last); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, m *member) {
			if err := errors.Join(m.log.Close(), m.fs.RemoveAll(m.fs.PathJoin(m.dir, "log"))); err != nil {
				t.Fatal(err)
			}
			var err error
			if m.log, err = raftlog.Open(storage.Options{Dir: m.fs.PathJoin(m.dir, "log"), FS: m.fs}); err != nil {
				t.Fatal(err)
			}
		},
		"other history": func(t *testing.T, m *member) {
			last, _ := m.log.LastIndex()
			var wrong []*raft.Log
			for i := last - 20; i <= last+20; i++ {
				wrong = append(wrong, &raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: encodeCommands([][]byte{[]byte("wrong=1")})})
			}
			if err := errors.Join(m.log.DeleteRange(last-20, last), m.log.StoreLogs(wrong)); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range cut {
		t.Run(name, func(t *testing.T) {
			m := single(t, vfs.NewMem(), nil)
			leader(t, []*member{m})
			m.stop()
			m.start() // a second term
			for i := range 50 {
				propose(t, []*member{m}, fmt.Sprintf("k%d=%d", i, i))
			}
			before := m.state.Position()
			m.stop()
			if err := m.open(); err != nil {
				t.Fatal(err)
			}
			damage(t, m)
			if err := errors.Join(m.state.Close(), m.log.Close()); err != nil {
				t.Fatal(err)
			}
			m.start()
			propose(t, []*member{m}, "after=1")
			p := m.state.Position()
			if p.Index <= before.Index || p.Term <= before.Term {
				t.Errorf("went on from %+v to %+v", before, p)
			}
			if _, ok := value(t, m.state, "wrong"); ok {
				t.Error("an entry of another history was applied")
			}
			if !has(t, m, "k49", "49") || !has(t, m, "after", "1") || m.state.Index() != 51 {
				t.Errorf("rows are missing, the index is %d", m.state.Index())
			}
		})
	}
}

// A state that is older than the log's beginning has lost commands for good.
func TestMissingEntriesAreRefused(t *testing.T) {
	m := single(t, vfs.NewMem(), func(c *Config) { c.TrailingLogs = NoTrailingLogs })
	for i := range 20 {
		propose(t, []*member{m}, fmt.Sprint("k", i))
	}
	if _, err := m.node.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	propose(t, []*member{m}, "last")
	m.stop()
	if err := m.fs.RemoveAll(m.fs.PathJoin(m.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if err := m.open(); err != nil {
		t.Fatal(err)
	}
	cfg := m.config()
	cfg.Transport = m.net.transport(m.id)
	if _, err := Start(cfg); !errors.Is(err, ErrMissingEntries) {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(m.state.Close(), m.log.Close()); err != nil {
		t.Fatal(err)
	}
}

// A disk that is full or does not sync any more: the leader steps down and says
// why, the others go on, and after a repair what was acknowledged is there.
func TestDiskFailureStepsDown(t *testing.T) {
	kinds := map[string]struct {
		err   error
		kinds []errorfs.OpKind
	}{
		"failed sync": {syscall.EIO, []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}},
		"full disk":   {syscall.ENOSPC, []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpCreate, errorfs.OpFilePreallocate}},
	}
	for name, fault := range kinds {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			var mu sync.Mutex
			broken := false
			victim := newMember(t, newNetwork(), "victim", errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if broken && slices.Contains(fault.kinds, op.Kind) {
					return fault.err
				}
				return nil
			})))
			all := []*member{victim, newMember(t, victim.net, "a", vfs.NewMem()), newMember(t, victim.net, "b", vfs.NewMem())}
			var servers []Server
			for _, m := range all {
				m.start()
				servers = append(servers, Server{ID: m.id, Address: m.id, Voter: true})
			}
			if err := victim.node.Bootstrap(servers); err != nil { // only it can lead first
				t.Fatal(err)
			}
			if leader(t, all) != victim {
				t.Fatal("another leads")
			}
			for i := range 20 {
				propose(t, all, fmt.Sprintf("k%d=%d", i, i))
			}
			propose(t, all, "acknowledged=1")
			mu.Lock()
			broken = true
			mu.Unlock()
			victim.sick = true
			if _, err := victim.node.Propose(t.Context(), []byte("unsure=1")); !errors.Is(err, ErrLost) {
				t.Errorf("propose on a failed disk: %v", err)
			}
			select {
			case err := <-victim.node.Failed():
				if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, fault.err) {
					t.Errorf("it failed with %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it did not say that it failed")
			}
			if _, err := victim.node.Propose(t.Context(), []byte("late=1")); !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrStopped) {
				t.Errorf("propose after the failure: %v", err)
			}
			victim.stop()
			victim.sick = false
			propose(t, all, "meanwhile=1")
			victim.fs = mem.CrashClone(vfs.CrashCloneCfg{})
			victim.start()
			eventually(t, "the repaired one caught up", func() bool {
				return has(t, victim, "acknowledged", "1") && has(t, victim, "meanwhile", "1") && has(t, victim, "k0", "0")
			})
		})
	}
}

// The state's disk fails where only it is synced: when the log is to be cut.
// The log is not cut, the node stops, and a repair finds everything.
func TestFailedStateDiskStopsTheNode(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex
	broken := false
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if broken && sync && strings.Contains(op.Path, "/state/") {
			return syscall.EIO
		}
		return nil
	}))
	m := single(t, fs, func(c *Config) { c.TrailingLogs = NoTrailingLogs })
	for i := range 20 {
		propose(t, []*member{m}, fmt.Sprintf("k%d=%d", i, i))
	}
	mu.Lock()
	broken = true
	mu.Unlock()
	m.sick = true
	if ok, err := m.node.Snapshot(t.Context()); ok || err == nil {
		t.Errorf("snapshot on a failed disk: %v, %v", ok, err)
	}
	if err := <-m.node.Failed(); !errors.Is(err, syscall.EIO) {
		t.Errorf("it failed with %v", err)
	}
	m.stop()
	again := single(t, mem.CrashClone(vfs.CrashCloneCfg{}), nil)
	propose(t, []*member{again}, "after=1")
	for i := range 20 {
		if !has(t, again, fmt.Sprint("k", i), fmt.Sprint(i)) {
			t.Errorf("k%d is lost", i)
		}
	}
}

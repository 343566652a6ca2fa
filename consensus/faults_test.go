package consensus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/legate-project/legate/internal/lifecycle"
)

// brittle is a member whose disk can be made slow, fail, and lose what was not synced.
type brittle struct {
	*member
	disk   *vfs.MemFS
	apart  sync.Mutex
	delay  atomic.Int64 // of each sync, in nanoseconds
	broken atomic.Bool
}

// mount has the member use a disk.
func (b *brittle) mount(disk *vfs.MemFS) {
	b.disk = disk
	b.fs = errorfs.Wrap(lockApart{disk, &b.apart}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if d := time.Duration(b.delay.Load()); d > 0 {
				<-time.After(d)
			}
			if b.broken.Load() {
				return syscall.EIO
			}
		}
		return nil
	}))
}

// crashed is what is left of its disk after a loss of power.
func (b *brittle) crashed(rng *rand.Rand) *vfs.MemFS {
	b.apart.Lock()
	defer b.apart.Unlock()
	return b.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
}

// appliedBy is all that a member has applied.
func appliedBy(t *testing.T, m *member) map[string]string {
	t.Helper()
	v := m.state.View()
	defer v.Close()
	all := map[string]string{}
	for key, err := range rows.Keys(v, nil) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := rows.Get(v, key)
		if err != nil {
			t.Fatal(err)
		}
		all[string(key)] = string(r.Value)
	}
	return all
}

// storm is a group in which much fails while commands are proposed. Faults come from one goroutine.
type storm struct {
	t       *testing.T
	rng     *rand.Rand
	net     *network
	crew    []*brittle
	members []*member

	mu    sync.Mutex
	acked map[string]bool  // keys, each of which is its value
	nodes map[string]*Node // those that run
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	s := &storm{t: t, rng: rand.New(rand.NewPCG(3, 4)), net: newNetwork(), acked: map[string]bool{}, nodes: map[string]*Node{}}
	var servers []Server
	for i := range 3 {
		b := &brittle{member: newMember(t, s.net, fmt.Sprint("n", i), nil)}
		b.mount(vfs.NewCrashableMem())
		s.crew, s.members = append(s.crew, b), append(s.members, b.member)
		servers = append(servers, Server{ID: b.id, Address: b.id, Voter: true})
		b.start()
		s.runs(b.id, b.node)
	}
	if err := s.members[0].node.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	propose(t, s.members, "first=first")
	return s
}

func (s *storm) runs(id string, n *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[id] = n
}

// leads is a node that leads, nil if none does.
func (s *storm) leads() *Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n != nil && n.LeaseRead() {
			return n
		}
	}
	return nil
}

// propose puts keys of its own until ctx ends, each once.
func (s *storm) propose(ctx context.Context, who int) {
	for i := 0; ctx.Err() == nil; i++ {
		n := s.leads()
		if n == nil {
			<-time.After(time.Millisecond)
			continue
		}
		key := fmt.Sprintf("w%d-%d", who, i)
		limit, cancel := context.WithTimeout(ctx, time.Second)
		if _, err := n.Propose(limit, []byte(key+"="+key)); err == nil {
			s.mu.Lock()
			s.acked[key] = true
			s.mu.Unlock()
		}
		cancel()
	}
}

func (s *storm) lasts(most time.Duration) { <-time.After(time.Duration(s.rng.Int64N(int64(most)))) }

// strikes makes one member slow, and has something befall one or both of the others meanwhile: the leader last.
func (s *storm) strikes() {
	s.rng.Shuffle(len(s.crew), func(i, j int) { s.crew[i], s.crew[j] = s.crew[j], s.crew[i] })
	slices.SortStableFunc(s.crew, func(a, b *brittle) int {
		return cmp.Compare(a.node.raft.State(), b.node.raft.State()) // followers first
	})
	slow := s.crew[0]
	slow.delay.Store(s.rng.Int64N(int64(60 * time.Millisecond)))
	var ends []func()
	for _, b := range s.crew[1:] {
		ends = append(ends, s.befalls(b))
		s.lasts(60 * time.Millisecond)
	}
	s.lasts(200 * time.Millisecond)
	slow.delay.Store(0)
	for _, end := range ends {
		end()
	}
}

// befalls has something happen to a member, and returns what ends it.
func (s *storm) befalls(b *brittle) (end func()) {
	switch s.rng.IntN(5) {
	case 0, 1:
		s.net.cut(b.id)
		return func() { s.net.heal(b.id) }
	case 2:
		b.broken.Store(true)
		return func() { s.restarts(b) }
	case 3:
		return func() { s.restarts(b) }
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	_ = b.node.TransferLeadership(ctx, "") // it may not lead
	return func() {}
}

// restarts has a member lose its power and start again with what its disk has.
func (s *storm) restarts(b *brittle) {
	s.net.cut(b.id)
	left := b.crashed(s.rng)
	s.runs(b.id, nil)
	b.sick = true
	b.stop()
	b.broken.Store(false)
	b.mount(left)
	b.sick = false
	b.start()
	s.runs(b.id, b.node)
}

// Members are cut off, lose power, have slow and failing disks and hand leadership over while commands are proposed all
// the time: nothing that was acknowledged is lost, and all members have applied the same.
func TestNothingAcknowledgedIsLostWhateverFails(t *testing.T) {
	s := newStorm(t)
	g := lifecycle.New("test")
	for who := range 4 {
		if err := g.Spawn("proposer", func(ctx context.Context) { s.propose(ctx, who) }); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		s.strikes()
		s.lasts(150 * time.Millisecond)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	propose(t, s.members, "last=last")
	var all map[string]string
	for _, m := range s.members {
		eventually(t, m.id+" has the last one", func() bool { return has(t, m, "last", "last") })
		got := appliedBy(t, m)
		for key := range s.acked {
			if got[key] != key {
				t.Errorf("%s lacks %s, which was acknowledged", m.id, key)
			}
		}
		if all != nil && !maps.Equal(got, all) {
			t.Errorf("%s has applied %d keys, another member %d others", m.id, len(got), len(all))
		}
		all = got
	}
	t.Logf("%d acknowledged, %d applied", len(s.acked), len(all))
}

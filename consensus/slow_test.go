package consensus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A disk whose syncs take longer than an election timeout delays commands: it
// costs the leader neither its place nor anything that was acknowledged, and a
// follower's costs nobody anything.
func TestSlowSyncsDelayAndLoseNothing(t *testing.T) {
	const slowness = 300 * time.Millisecond // three times the heartbeat timeout
	slow := map[string]*atomic.Bool{}
	n := newNetwork()
	var members []*member
	var servers []Server
	for i := range 3 {
		id, on := fmt.Sprint("n", i), &atomic.Bool{}
		slow[id] = on
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				if on.Load() {
					<-time.After(slowness)
				}
			}
			return nil
		}))
		m := newMember(t, n, id, fs)
		members = append(members, m)
		servers = append(servers, Server{ID: id, Address: id, Voter: true})
		m.start()
	}
	if err := members[0].node.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	propose(t, members, "before=0")
	lead := leader(t, members)
	term := lead.node.raft.CurrentTerm()
	var acked []string
	take := func(prefix string, commands int, most time.Duration) {
		t.Helper()
		for i := range commands {
			key, began := fmt.Sprint(prefix, i), time.Now()
			if _, err := lead.node.Propose(t.Context(), []byte(key+"=1")); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			if took := time.Since(began); took > most {
				t.Errorf("%s took %s, want at most %s", key, took, most)
			}
			acked = append(acked, key)
		}
	}
	for _, m := range members {
		if m != lead {
			slow[m.id].Store(true)
			break
		}
	}
	take("follower", 5, slowness/2)
	slow[lead.id].Store(true)
	take("leader", 5, 10*slowness)
	if got := lead.node.raft.CurrentTerm(); got != term {
		t.Errorf("slow syncs ended term %d, it is %d", term, got)
	}
	for _, on := range slow {
		on.Store(false)
	}
	for _, m := range members {
		if err := m.node.WaitApplied(t.Context(), lead.state.Position().Index); err != nil {
			t.Fatal(err)
		}
		for _, key := range acked {
			if !has(t, m, key, "1") {
				t.Errorf("%s lacks %s, which was acknowledged", m.id, key)
			}
		}
	}
}

// A jump of the wall clock must not lengthen a lease, so nothing here may use
// what the wall clock alone says. Times that are subtracted carry the
// monotonic clock unless it was taken off.
func TestNoWallClockTakesPart(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{".Unix", "Round(0)", "time.Date(", ".UTC()", ".Local()", "time.Parse(", "time.Unix"} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s uses %s: a time without the monotonic clock", file, word)
			}
		}
	}
}

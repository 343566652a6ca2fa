package consensus

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestOneDiskOfThreeGoesOn: two of three disks are lost. What was acknowledged is on the
// third, which leads alone, and takes new servers in.
func TestOneDiskOfThreeGoesOn(t *testing.T) {
	for name, behind := range map[string]bool{"entries in the log": false, "all in the state": true} {
		t.Run(name, func(t *testing.T) {
			members := cluster(t, 3, func(c *Config) { c.TrailingLogs = NoTrailingLogs })
			lead := leader(t, members)
			for _, key := range []string{"a", "b", "c"} {
				propose(t, members, key+"=1")
			}
			if behind {
				for _, m := range members {
					eventually(t, "it has all of it", func() bool { return has(t, m, "c", "1") })
					if err := m.node.raft.Snapshot().Error(); err != nil {
						t.Fatal(err)
					}
				}
			}
			last := lead.node.raft.LastIndex()
			left := others(members, lead)[0]
			eventually(t, "one more has all of it", func() bool { return left.state.Position().Index >= last-1 && left.node.raft.LastIndex() >= last })
			for _, m := range members {
				m.stop()
			}
			if err := left.open(); err != nil {
				t.Fatal(err)
			}
			seen, err := Look(left.log, left.state)
			if err != nil || seen.Index < last || len(seen.Servers) != 3 {
				t.Fatalf("the disk shows %+v, %v: want at least index %d", seen, err, last)
			}
			alone := Server{ID: left.id, Address: left.id, Voter: true}
			before, err := Recover(left.log, left.state, []Server{alone})
			if err != nil || before.Index != seen.Index {
				t.Fatalf("%+v, %v", before, err)
			}
			after, err := Look(left.log, left.state)
			if err != nil || after.Index != seen.Index+1 || after.Term <= seen.Term || !slices.Equal(after.Servers, []Server{alone}) {
				t.Fatalf("the disk shows %+v, %v", after, err)
			}
			left.closeDisks()
			left.start()
			eventually(t, "it leads alone", left.node.LeaseRead)
			propose(t, []*member{left}, "d=1")
			for _, key := range []string{"a", "b", "c", "d"} {
				if !has(t, left, key, "1") {
					t.Errorf("%s is lost", key)
				}
			}
		})
	}
}

func TestDisksWithoutStateAreNotRecovered(t *testing.T) {
	m := newMember(t, newNetwork(), "a", vfs.NewMem())
	if err := m.open(); err != nil {
		t.Fatal(err)
	}
	defer m.closeDisks()
	if _, err := Recover(m.log, m.state, []Server{{ID: "a", Address: "a", Voter: true}}); !errors.Is(err, ErrNoState) {
		t.Error(err)
	}
}

func TestPeersAreReadAsConsulWritesThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), PeersFile)
	if _, err := ReadPeers(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ReadPeers(filepath.Dir(file)); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: %v", err)
	}
	for text, want := range map[string]string{
		`[{"id":"X","address":"10.0.0.1:8300","non_voter":false},{"id":"y","address":"10.0.0.2:8300","non_voter":true}]`: "",
		`["10.0.0.1:8300"]`: "legate recover",
		`[]`:                "at least one voter",
		`[{"id":"x","address":"10.0.0.1:8300"},{"id":"x","address":"10.0.0.2:8300"}]`: "duplicate",
		`[{"id":"x","address":"10.0.0.1:8300"},{"id":"X","address":"10.0.0.2:8300"}]`: "twice",
		`[{"id":"x","address":"10.0.0.1"}]`:                                           "want host:port",
		`[{"id":"x","address":":8300"}]`:                                              "want host:port",
		`[{"id":"x","address":"10.0.0.1:0"}]`:                                         "want host:port",
		strings.Repeat(" ", maxPeersFile+1):                                           "larger than",
		``:                                                                            "EOF",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		servers, err := ReadPeers(file)
		switch {
		case want == "":
			if err != nil || !slices.Equal(servers, []Server{{ID: "x", Address: "10.0.0.1:8300", Voter: true}, {ID: "y", Address: "10.0.0.2:8300"}}) {
				t.Errorf("%+v, %v", servers, err)
			}
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := ForgetPeers(file); err != nil {
		t.Error(err)
	}
}

// closeDisks closes what open opened.
func (m *member) closeDisks() {
	m.t.Helper()
	if err := errors.Join(m.state.Close(), m.log.Close()); err != nil {
		m.t.Error(err)
	}
}

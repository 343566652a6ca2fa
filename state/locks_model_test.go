package state

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tinylib/msgp/msgp"
	"pgregory.net/rapid"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/txn"
	"github.com/legate-project/legate/storage"
)

// lockModel is what sessions, locks and checks should be, said plainly.
type lockModel struct {
	nodes    map[string]map[string]bool // checks of each node: whether they are critical
	sessions map[string]modelSession
	keys     map[string]modelKey
	delays   map[string]time.Duration
	clock    time.Duration // as the state knows it
	made     int
	long     bool // a session may hold more keys than are let go one by one
}

type modelSession struct {
	node   string
	checks []string
	delete bool
	delay  time.Duration
}

type modelKey struct {
	holder string
	locked int
}

func newLockModel() *lockModel {
	return &lockModel{nodes: map[string]map[string]bool{}, sessions: map[string]modelSession{}, keys: map[string]modelKey{}, delays: map[string]time.Duration{}}
}

func (m *lockModel) end(id string, clock time.Duration) {
	s, ok := m.sessions[id]
	if !ok {
		return
	}
	delete(m.sessions, id)
	m.clock = max(m.clock, clock)
	for name, k := range m.keys {
		if k.holder != id {
			continue
		}
		if k.holder = ""; s.delete {
			delete(m.keys, name)
		} else {
			m.keys[name] = k
		}
		if s.delay > 0 {
			m.delays[name] = m.clock + s.delay
		}
	}
}

// sweep ends the sessions whose node is gone, or one of whose checks is gone or
// critical.
func (m *lockModel) sweep(clock time.Duration) {
	for id, s := range m.sessions {
		checks, there := m.nodes[s.node]
		for _, c := range s.checks {
			critical, known := checks[c]
			there = there && known && !critical
		}
		if !there {
			m.end(id, clock)
		}
	}
}

func (m *lockModel) lock(key, id string, clock time.Duration) bool {
	k := m.keys[key]
	switch until, delayed := m.delays[key]; {
	case k.holder != "":
		return k.holder == id
	case delayed:
		if m.clock = max(m.clock, clock); m.clock < until {
			return false
		}
	}
	m.keys[key] = modelKey{id, k.locked + 1}
	return true
}

func (m *lockModel) unlock(key, id string) bool {
	k := m.keys[key]
	if k.holder != id {
		return false
	}
	m.keys[key] = modelKey{"", k.locked}
	return true
}

// step draws one thing to happen and lets it happen to both.
func (m *lockModel) step(rt *rapid.T, s *scene) {
	node := rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "node")
	check := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "check")
	key := rapid.SampledFrom([]string{"x", "y", "z/007", "z/140"}).Draw(rt, "key")
	id := fmt.Sprintf("id-%d", rapid.IntRange(1, m.made+1).Draw(rt, "session"))
	s.leader.Clock += time.Duration(rapid.IntRange(0, 4).Draw(rt, "passes")) * time.Second
	if rapid.IntRange(0, 9).Draw(rt, "election") == 0 {
		s.leader.Clock = m.clock // a leader goes on from what the state knows
	}
	clock := s.leader.Clock
	switch what := rapid.SampledFrom([]string{"register", "register", "check", "check", "check gone", "node gone", "create", "create", "create",
		"destroy", "expire", "lock", "lock", "lock", "lock", "unlock", "set", "delete", "pass", "lock many", "end many", "settle", "tree"}).Draw(rt, "what"); what {
	case "lock many":
		m.lockMany(rt, s, node)
	case "end many":
		id = m.keys["z/000"].holder
		s.must(&session.Destroy, &session.DestroyRequest{ID: id})
		m.end(id, clock)
	case "settle":
		s.must(&kv.Settle, &op.Empty{})
	case "tree":
		s.kv(kv.DeleteTree, "z/", "")
		maps.DeleteFunc(m.keys, func(key string, _ modelKey) bool { return strings.HasPrefix(key, "z/") })
	case "register":
		s.must(&catalog.Register, &catalog.RegisterRequest{Node: node, Address: "10.0.0.1"})
		if m.nodes[node] == nil {
			m.nodes[node] = map[string]bool{}
		}
	case "check":
		m.check(rt, s, node, check)
	case "check gone":
		s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: node, CheckID: check})
		delete(m.nodes[node], check)
	case "node gone":
		s.must(&catalog.Deregister, &catalog.DeregisterRequest{Node: node})
		delete(m.nodes, node)
	case "create":
		m.create(rt, s, node)
	case "destroy":
		s.must(&session.Destroy, &session.DestroyRequest{ID: id})
		m.end(id, clock)
	case "expire":
		list, _ := read(s.t, s.state, &session.Get, &session.IDRequest{ID: id})
		for _, found := range *list {
			s.must(&session.Expire, &session.ExpireRequest{Sessions: []session.Expiry{{ID: id, CreateIndex: found.CreateIndex}}, Clock: clock})
		}
		m.end(id, clock)
	case "pass":
		s.must(&kv.Pass, &kv.PassRequest{Clock: clock})
		m.clock = max(m.clock, clock)
		maps.DeleteFunc(m.delays, func(_ string, until time.Duration) bool { return until <= m.clock })
	default:
		m.write(rt, s, what, key, id)
	}
	m.sweep(clock)
}

func (m *lockModel) check(rt *rapid.T, s *scene, node, check string) {
	if m.nodes[node] == nil {
		return
	}
	critical := rapid.Bool().Draw(rt, "critical")
	c := catalog.Check{Node: node, CheckID: check, Status: catalog.Passing}
	if critical {
		c.Status = catalog.Critical
	}
	if rapid.Bool().Draw(rt, "by transaction") {
		s.must(&txn.Apply, &txn.Request{Ops: []txn.Op{checkOp(txn.Set, c)}})
	} else {
		s.must(&catalog.Register, &catalog.RegisterRequest{Node: node, SkipNodeUpdate: true, Checks: []catalog.Check{c}})
	}
	m.nodes[node][check] = critical
}

func (m *lockModel) create(rt *rapid.T, s *scene, node string) {
	n := modelSession{node: node, checks: rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(rt, "checks"), delete: rapid.Bool().Draw(rt, "delete"),
		delay: time.Duration(rapid.IntRange(0, 8).Draw(rt, "delay")) * time.Second}
	made := session.Session{Node: node, NodeChecks: n.checks, LockDelay: n.delay, Behavior: session.Release}
	if n.delete {
		made.Behavior = session.Delete
	}
	want, known := true, m.nodes[node]
	for _, c := range n.checks {
		critical, there := known[c]
		want = want && there && !critical
	}
	want = want && known != nil
	_, err := s.apply(&session.Create, &session.CreateRequest{Session: made})
	m.made++ // refused or not, the leader made an ID
	if (err == nil) != want {
		rt.Fatalf("a session on %s with %v: %v, the checks are %v", node, n.checks, err, known)
	}
	if want {
		m.sessions[fmt.Sprintf("id-%d", m.made)] = n
	}
}

// lockMany has a session lock so many keys that they are let go at once when it ends.
func (m *lockModel) lockMany(rt *rapid.T, s *scene, node string) {
	if !m.long {
		return
	}
	if len(m.sessions) == 0 && m.nodes[node] != nil {
		m.create(rt, s, node)
	}
	if len(m.sessions) == 0 {
		return
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.sessions))).Draw(rt, "who locks many")
	for i := range 150 {
		key := fmt.Sprintf("z/%03d", i)
		if want := m.lock(key, id, s.leader.Clock); s.kv(kv.Lock, key, id) != want {
			rt.Fatalf("lock of %s by %s: want %v", key, id, want)
		}
	}
}

func (m *lockModel) write(rt *rapid.T, s *scene, verb, key, id string) {
	want, reached := true, m.clock
	switch verb {
	case kv.Lock:
		if _, there := m.sessions[id]; !there {
			if _, err := s.apply(&kv.Apply, &kv.ApplyRequest{Verb: verb, Entry: kv.Entry{Key: key, Session: id}}); err == nil {
				rt.Fatalf("%s was locked by %s, which is no session", key, id)
			}
			return
		}
		want = m.lock(key, id, s.leader.Clock)
	case kv.Unlock:
		want = m.unlock(key, id)
	case kv.Delete:
		delete(m.keys, key)
	case kv.Set:
		if _, there := m.keys[key]; !there {
			m.keys[key] = modelKey{}
		}
	}
	var got bool
	if rapid.Bool().Draw(rt, "by transaction") {
		if got = len(s.txn(txn.Op{KV: &txn.KVOp{Verb: verb, Key: key, Session: id}}).Errors) == 0; !got {
			m.clock = reached // a transaction that fails leaves nothing
		}
	} else {
		got = s.kv(verb, key, id)
	}
	if got != want {
		rt.Fatalf("%s of %s by %s: %v, want %v", verb, key, id, got, want)
	}
}

// compare holds what is stored against the model.
func (m *lockModel) compare(rt *rapid.T, s *scene) {
	list, _ := read(s.t, s.state, &session.List, &op.Empty{})
	var ids []string
	for i := range *list {
		ids = append(ids, (*list)[i].ID)
	}
	var want []string
	for id := range m.sessions {
		want = append(want, id)
	}
	slices.Sort(ids)
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		rt.Fatalf("sessions %v, want %v", ids, want)
	}
	found, _ := read(s.t, s.state, &kv.List, &kv.ListRequest{})
	if len(*found) != len(m.keys) {
		rt.Fatalf("keys %+v, want %+v", *found, m.keys)
	}
	for _, e := range *found {
		if k, ok := m.keys[e.Key]; !ok || k.holder != e.Session || k.locked != int(e.LockIndex) {
			rt.Fatalf("key %+v, want %+v", e, k)
		}
	}
	for id := range m.sessions {
		m.compareHeld(rt, s, id)
	}
	v := s.state.View()
	defer v.Close()
	if now, err := session.Reached(v); err != nil || now != m.clock {
		rt.Fatalf("the axis is at %v, want %v (%v)", now, m.clock, err)
	}
}

// compareHeld holds what a session is said to hold against the model.
func (m *lockModel) compareHeld(rt *rapid.T, s *scene, id string) {
	var want []string
	for name, k := range m.keys {
		if k.holder == id {
			want = append(want, fmt.Sprint(name, " ", k.locked))
		}
	}
	slices.Sort(want)
	held, _ := read(s.t, s.state, &kv.ListHeld, &kv.HeldRequest{Session: strings.ToUpper(id)})
	var got []string
	for _, k := range held.Keys {
		got = append(got, fmt.Sprint(k.Key, " ", k.LockIndex))
	}
	if !slices.Equal(got, want) || held.More {
		rt.Fatalf("%s holds %v, want %v", id, got, want)
	}
}

// Whatever happens to nodes, checks, sessions and keys, each by its own command
// or in a transaction: sessions live exactly as long as what they depend on, a
// key has one holder, and nobody gets it before a delay is over.
func TestSessionsLocksAndChecksFollowTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st, apply, leader := openLed(t)
		defer st.Close()
		s, m := &scene{t, st, apply, leader}, newLockModel()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			m.step(rt, s)
			m.compare(rt, s)
		}
		readable(rt, st)
	})
}

// A session that holds many keys lets all go by one row, and the keys are written later.
// All that can be read is what it is where each key is written at once, as servers of level 1
// do: rows, their indexes, what followers of a prefix are told, and who gets a key; also
// where a server starts again in between, or goes on from a copy of the state.
func TestKeysLetGoAtOnceReadAsIfTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		open := func(dir string) *storage.State {
			st, err := storage.OpenState(storage.Options{Dir: dir, FS: fs}, Tables()...)
			if err != nil {
				rt.Fatal(err)
			}
			return st
		}
		now, plain := open("now"), open("plain")
		defer func() { rt.Log(now.Close(), plain.Close()) }()
		var commands [][]byte
		apply, leader := lead(t, func() *storage.State { return now }, version.Level, func(c []byte) { commands = append(commands, c) })
		twin, other := lead(t, func() *storage.State { return plain }, 1, func([]byte) {})
		both := func(o op.Operation, req msgp.Marshaler) (any, error) {
			other.Clock = leader.Clock
			res, err := apply(o, req)
			want, wantErr := twin(o, req)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(res, want) {
				rt.Fatalf("%s: %+v, %v; and where each key is written %+v, %v", o.OpName(), res, err, want, wantErr)
			}
			return res, err
		}
		s, m := &scene{t, now, both, leader}, newLockModel()
		m.long = true
		s.must(&catalog.Register, &catalog.RegisterRequest{Node: "n1", Address: "10.0.0.1"})
		m.nodes["n1"] = map[string]bool{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			m.step(rt, s)
			m.compare(rt, s)
			switch rapid.IntRange(0, 9).Draw(rt, "what befalls the server") {
			case 0:
				if err := now.Close(); err != nil {
					rt.Fatal(err)
				}
				now = open("now")
				s.state = now
			case 1:
				dir := now.Scratch("copy")
				p, err := now.Checkpoint(dir)
				if err == nil {
					err = now.Replace(dir, p)
				}
				if err != nil {
					rt.Fatal(err)
				}
			}
			sameReads(rt, now, plain)
		}
		batched := open("batched")
		inBatches(rt, batched, commands)
		sameReads(rt, batched, plain)
		rt.Log(batched.Close())
		for range 20 {
			s.must(&kv.Settle, &op.Empty{})
		}
		sameReads(rt, now, plain)
		v := now.View()
		defer v.Close()
		if left, err := kv.Unsettled(v); left || err != nil {
			rt.Fatal("something is not settled", err)
		}
		if got, want := delaysOf(rt, now), delaysOf(rt, plain); got != want {
			rt.Fatalf("delays %s, want %s", got, want)
		}
		readable(rt, now)
	})
}

// inBatches applies commands as servers do: many with each commit.
func inBatches(rt *rapid.T, s *storage.State, commands [][]byte) {
	m := New()
	for len(commands) > 0 {
		tx := s.Begin()
		n := min(len(commands), rapid.IntRange(1, 400).Draw(rt, "commands of a batch"))
		for _, c := range commands[:n] {
			tx.Reach(version.Level)
			tx.Next()
			if _, err := m.Apply(tx, c); err != nil {
				tx.Rollback()
			}
		}
		commands = commands[n:]
		if err := tx.Commit(); err != nil {
			rt.Fatal(err)
		}
	}
}

// sameReads compares what two states have of keys: rows, and what views and followers see.
func sameReads(rt *rapid.T, a, b *storage.State) {
	read := func(s *storage.State) (out string) {
		v := s.View()
		for r, err := range v.Rows() {
			if err != nil {
				rt.Fatal(err)
			}
			if r.Key[1] == 1 { // the table of keys, and its index
				out += fmt.Sprintf("%q %x\n", r.Key, r.Value)
			}
		}
		rt.Log(v.Close())
		for _, prefix := range []string{"", "x", "z/", "z/007"} {
			v := s.View()
			keys, err := kv.ListKeys.Query(v, &kv.KeysRequest{Prefix: prefix})
			if err != nil {
				rt.Fatal(err)
			}
			whole := s.View()
			list, err := kv.List.Query(whole, &kv.ListRequest{Prefix: prefix})
			if err != nil || len(*list) != len(*keys) || whole.Index() != v.Index() {
				rt.Fatalf("%d keys at %d are listed below %q, and %d at %d with their values, %v", len(*keys), v.Index(), prefix, len(*list), whole.Index(), err)
			}
			rt.Log(whole.Close())
			entry, err := kv.Lookup(v, prefix)
			out += fmt.Sprintln(prefix, *keys, entry, v.Index(), err)
			rt.Log(v.Close())
		}
		for _, after := range []uint64{0, s.Index() / 2, s.Index() - 1} {
			v := s.View()
			for n, err := range kv.Newer(v, "z", "", after) {
				out += fmt.Sprintln(string(n.Key), n.Index, n.Record, err)
			}
			count, err := kv.CountNewer(v, "z", after)
			out += fmt.Sprintln(count, err)
			rt.Log(v.Close())
		}
		return out
	}
	if got, want := read(a), read(b); got != want {
		rt.Fatalf("keys let go at once:\n%s\nkey by key:\n%s", got, want)
	}
}

// delaysOf has the lock-delays of a state.
func delaysOf(rt *rapid.T, s *storage.State) (out string) {
	v := s.View()
	defer v.Close()
	for r, err := range v.Rows() {
		if err != nil {
			rt.Fatal(err)
		}
		if r.Key[0] == 'r' && r.Key[1] == 10 {
			var d kv.Delay
			if _, err := d.UnmarshalMsg(r.Value[9:]); err != nil {
				rt.Fatal(err)
			}
			out += fmt.Sprintln(d)
		}
	}
	return out
}

// readable says that a snapshot of the state could be restored: all tables are
// listed, and there are the index rows that the records call for.
func readable(t rapid.TB, st *storage.State) {
	t.Helper()
	check := storage.NewCheck(Tables())
	v := st.View()
	defer v.Close()
	for r, err := range v.Rows() {
		if err == nil {
			err = check.Row(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := check.End(); err != nil {
		t.Fatal(err)
	}
}

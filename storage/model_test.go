package storage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/legate-project/legate/storage/layout"
)

// model is the state as maps: what the tables and their indexes are to hold.
type model struct {
	live   map[string]modelRow // by primary key
	buried map[string]uint64   // tombstones of primary keys
	letter map[string]uint64   // tombstones of byLetter, by letter and key
	cuts   map[string]uint64   // by prefix
	index  uint64
}

type modelRow struct {
	color string
	data  string
	index uint64
}

func newModel() *model {
	return &model{live: map[string]modelRow{}, buried: map[string]uint64{}, letter: map[string]uint64{}, cuts: map[string]uint64{}}
}

func (m *model) clone() *model {
	return &model{maps.Clone(m.live), maps.Clone(m.buried), maps.Clone(m.letter), maps.Clone(m.cuts), m.index}
}

func (m *model) put(key, color, data string) {
	m.live[key] = modelRow{color, data, m.index}
	delete(m.buried, key)
	for i := range len(key) {
		delete(m.letter, key[i:i+1]+key)
	}
}

func (m *model) delete(key string) bool {
	if _, ok := m.live[key]; !ok {
		return false
	}
	delete(m.live, key)
	m.buried[key] = m.index
	for i := range len(key) {
		m.letter[key[i:i+1]+key] = m.index
	}
	return true
}

func (m *model) cut(prefix string) {
	for key := range m.live {
		if strings.HasPrefix(key, prefix) {
			m.delete(key)
		}
	}
	below := func(key string, _ uint64) bool { return strings.HasPrefix(key, prefix) }
	maps.DeleteFunc(m.buried, below)
	maps.DeleteFunc(m.cuts, below)
	m.cuts[prefix] = m.index
}

// cutsOf is the newest index of a cut that a reader of a key or a prefix meets.
func (m *model) cutsOf(read string, prefix bool) (index uint64) {
	for p, i := range m.cuts {
		if strings.HasPrefix(read, p) || prefix && strings.HasPrefix(p, read) {
			index = max(index, i)
		}
	}
	return index
}

func (m *model) collect(upTo uint64) {
	old := func(_ string, index uint64) bool { return index <= upTo }
	maps.DeleteFunc(m.buried, old)
	maps.DeleteFunc(m.letter, old)
	maps.DeleteFunc(m.cuts, old)
}

// scan returns the records below prefix and the newest index among them and
// the tombstones there.
func (m *model) scan(prefix string) (rows []string, index uint64) {
	for _, k := range slices.Sorted(maps.Keys(m.live)) {
		if strings.HasPrefix(k, prefix) {
			r := m.live[k]
			rows = append(rows, k+"/"+r.color+"/"+r.data)
			index = max(index, r.index)
		}
	}
	for k, i := range m.buried {
		if strings.HasPrefix(k, prefix) {
			index = max(index, i)
		}
	}
	return rows, max(index, m.cutsOf(prefix, true))
}

// byLetter returns the keys that contain the letter.
func (m *model) byLetter(letter string) (keys []string, index uint64) {
	for _, k := range slices.Sorted(maps.Keys(m.live)) {
		if strings.Contains(k, letter) {
			keys = append(keys, k)
			index = max(index, m.live[k].index)
		}
	}
	for k, i := range m.letter {
		if k[:1] == letter {
			index = max(index, i)
		}
	}
	return keys, index
}

func collectRows(t *rapid.T, r Reader, prefix string) (rows []string) {
	for v, err := range things.Scan(r, []byte(prefix)) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, v.Key+"/"+v.Color+"/"+string(v.Data))
	}
	return rows
}

func keysFrom(t *rapid.T, r Reader, prefix string, after []byte) (keys []string) {
	for k, err := range things.KeysAfter(r, []byte(prefix), after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(k))
	}
	return keys
}

func keysOfRows(rows []string) (keys []string) {
	for _, r := range rows {
		key, _, _ := strings.Cut(r, "/")
		keys = append(keys, key)
	}
	return keys
}

func check(t *rapid.T, what string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// compare reads everything through r. Only a View has an index of its own.
func (m *model) compare(t *rapid.T, open func() Reader) {
	indexed := func(r Reader) (uint64, bool) { v, ok := r.(*View); return r.Index(), ok && v != nil }
	for _, prefix := range []string{"", "a", "ab", "c"} {
		r := open()
		rows, index := m.scan(prefix)
		check(t, "scan "+prefix, collectRows(t, r, prefix), rows)
		if got, ok := indexed(r); ok {
			check(t, "index of scan "+prefix, got, index)
		}
		r = open()
		check(t, "keys "+prefix, keysFrom(t, r, prefix, nil), keysOfRows(rows))
		if got, ok := indexed(r); ok {
			check(t, "index of keys "+prefix, got, index)
		}
		after := slices.DeleteFunc(keysOfRows(rows), func(key string) bool { return key <= "ab" })
		check(t, "keys after ab "+prefix, keysFrom(t, open(), prefix, []byte("ab")), after)
	}
	for _, letter := range []string{"a", "b", "c"} {
		r := open()
		keys, index := m.byLetter(letter)
		var got []string
		for v, err := range byLetter.Scan(r, []byte(letter)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v.Key)
		}
		check(t, "letter "+letter, got, keys)
		if got, ok := indexed(r); ok {
			check(t, "index of letter "+letter, got, index)
		}
	}
	for _, key := range []string{"a", "ab", "abc"} {
		r := open()
		v, err := things.Get(r, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		want, ok := m.live[key]
		check(t, "presence of "+key, v != nil, ok)
		if got, isView := indexed(r); isView {
			check(t, "index of "+key, got, max(want.index, m.buried[key], m.cutsOf(key, false)))
		}
	}
}

// Whatever commands come, with rollbacks, discards, collections and restarts
// between them, tables, indexes and view indexes are those of the model.
func TestStateIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		s := mustOpen(t, fs)
		m := newModel()
		keys := rapid.StringMatching(`[abc]{1,3}`)
		for range rapid.IntRange(1, 12).Draw(t, "transactions") {
			tx := s.Begin()
			work := m.clone()
			for range rapid.IntRange(1, 5).Draw(t, "commands") {
				before := work.clone()
				work.index = tx.Next()
				before.index = work.index
				for range rapid.IntRange(1, 4).Draw(t, "writes") {
					step(t, s, tx, work, keys)
				}
				work.compare(t, func() Reader { return tx })
				if rapid.IntRange(0, 4).Draw(t, "fate of the command") == 0 {
					tx.Rollback()
					work = before
					work.compare(t, func() Reader { return tx })
				}
			}
			if rapid.IntRange(0, 5).Draw(t, "fate of the transaction") == 0 {
				tx.Discard()
			} else if err := tx.Commit(); err != nil {
				t.Fatal(err)
			} else {
				m = work
			}
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = mustOpen(t, fs)
				if rapid.Bool().Draw(t, "by a version without heads") {
					s = withoutHeads(t, s, fs, m)
				}
			}
			compareViews(t, s, m)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// withoutHeads has a version write that does not know heads, and opens the state again.
func withoutHeads(t *rapid.T, s *State, fs vfs.FS, m *model) *State {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	tx := s.Begin()
	m.index = tx.Next()
	if err := things.Put(tx, []byte("ab"), &record{Key: "ab"}); err != nil {
		t.Fatal(err)
	}
	m.put("ab", "", "")
	if err := errors.Join(tx.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, fs)
}

func mustOpen(t *rapid.T, fs vfs.FS) *State {
	s, err := OpenState(Options{Dir: "state", FS: fs}, things)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func compareViews(t *rapid.T, s *State, m *model) {
	check(t, "index of the state", s.Index(), m.index)
	var views []*View
	m.compare(t, func() Reader { v := s.View(); views = append(views, v); return v })
	for _, v := range views {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func step(t *rapid.T, s *State, tx *Txn, m *model, keys *rapid.Generator[string]) {
	key := keys.Draw(t, "key")
	switch rapid.IntRange(0, 11).Draw(t, "step") {
	default:
		color := rapid.SampledFrom([]string{"", "red", "blue"}).Draw(t, "color")
		data := rapid.StringN(0, 3, 9).Draw(t, "data")
		if err := things.Put(tx, []byte(key), &record{Key: key, Color: color, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		m.put(key, color, data)
	case 0, 1, 2:
		ok, err := things.Delete(tx, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		check(t, "delete "+key, ok, m.delete(key))
	case 3: // delete while scanning
		for v, err := range things.Scan(tx, []byte(key[:1])) {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := things.Delete(tx, []byte(v.Key)); err != nil {
				t.Fatal(err)
			}
			m.delete(v.Key)
		}
	case 4:
		upTo := rapid.Uint64Range(0, m.index).Draw(t, "up to")
		if _, err := tx.CollectTombstones(upTo, 1_000_000); err != nil {
			t.Fatal(err)
		}
		m.collect(upTo)
	case 5, 6:
		prefix := key[:rapid.IntRange(0, len(key)).Draw(t, "prefix")]
		if err := things.Cut(tx, []byte(prefix)); err != nil {
			t.Fatal(err)
		}
		m.cut(prefix)
	}
}

func TestTombstonesLeaveNothingBehind(t *testing.T) {
	s := openState(t, vfs.NewMem())
	for i := range 20 {
		put(t, s, things, fmt.Sprint("k", i), "red")
	}
	for i := range 10 {
		remove(t, s, things, fmt.Sprint("k", i))
	}
	for _, prefix := range []string{"k1", "k"} {
		apply(t, s, func(tx *Txn) {
			if err := things.Cut(tx, []byte(prefix)); err != nil {
				t.Fatal(err)
			}
		})
	}
	for rounds := 0; ; rounds++ {
		n := 0
		apply(t, s, func(tx *Txn) {
			var err error
			if n, err = tx.CollectTombstones(tx.Index(), 7); err != nil {
				t.Fatal(err)
			}
		})
		if n > 7 {
			t.Fatalf("collected %d, more than asked for", n)
		}
		if n == 0 {
			break
		}
	}
	in := s.current.Load()
	it, err := in.DB.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if it.Key()[0] != layout.SpaceMeta {
			t.Errorf("left behind: %q", it.Key())
		}
	}
}

package server

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// counting is a sharable read of one key that counts how often it runs.
func counting(runs *atomic.Int64) *op.Read[kv.GetRequest, kv.Entry] {
	return &op.Read[kv.GetRequest, kv.Entry]{Name: "test.get", Shared: true, Authorize: func(rules.Authorizer, *kv.GetRequest) error { return nil },
		Query: func(r storage.Reader, req *kv.GetRequest) (*kv.Entry, error) {
			runs.Add(1)
			return kv.Get.Query(r, req)
		}}
}

func openState(t testing.TB) *storage.State {
	t.Helper()
	s, err := storage.OpenState(storage.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t *testing.T, s *storage.State, key, value string) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	tx.Next()
	if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: key, Value: []byte(value)}}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestResultIsKeptUntilWhatItReadChanges(t *testing.T) {
	s := openState(t)
	r, err := newResults(s)
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	o := counting(&runs)
	get := func(want string) {
		t.Helper()
		res, err := r.get(o, &kv.GetRequest{Key: "k"}, "k", false)
		if err != nil || string(res.value.(*kv.Entry).Value) != want {
			t.Fatalf("%+v %v, want %q", res, err, want)
		}
	}
	write(t, s, "k", "1")
	get("1")
	get("1")
	write(t, s, "other", "x")
	get("1")
	if n := runs.Load(); n != 1 {
		t.Errorf("%d queries for three reads without a change", n)
	}
	write(t, s, "k", "2")
	get("2")
	if n := runs.Load(); n != 2 {
		t.Errorf("%d queries after one change", n)
	}
}

// Whoever reads after a write was acknowledged sees it, however many read.
func TestKeptResultsAreNeverOld(t *testing.T) {
	s := openState(t)
	r, err := newResults(s)
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	o := counting(&runs)
	write(t, s, "k", "000")
	var written atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				least := written.Load()
				if least == 300 {
					return
				}
				res, err := r.get(o, &kv.GetRequest{Key: "k"}, "k", false)
				if err != nil {
					t.Error(err)
					return
				}
				if got := string(res.value.(*kv.Entry).Value); got < fmt.Sprintf("%03d", least) {
					t.Errorf("read %s after %03d was acknowledged", got, least)
					return
				}
			}
		})
	}
	for i := range 300 {
		write(t, s, "k", fmt.Sprintf("%03d", i+1))
		written.Store(int64(i + 1))
	}
	wg.Wait()
}

func TestKeptResultsAreBounded(t *testing.T) {
	s := openState(t)
	r, err := newResults(s)
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	o := counting(&runs)
	write(t, s, "large", string(make([]byte, 3<<20)))
	var first *result
	for i := range 30 {
		res, err := r.get(o, &kv.GetRequest{Key: "large"}, fmt.Sprint(i), false)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = res
		}
	}
	if r.bytes > maxKeptBytes || r.slots.Len() > 30 {
		t.Errorf("%d bytes in %d results are kept", r.bytes, r.slots.Len())
	}
	if first.watch.Stale() {
		t.Error("who waits for a result that was dropped does not wait for a change any more")
	}
	first.release()
	if !first.watch.Stale() {
		t.Error("a result that nobody holds is still watched")
	}
}

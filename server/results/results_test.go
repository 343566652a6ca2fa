package results

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/legate-project/legate/server/servertest"
	"github.com/legate-project/legate/state/kv"
)

func TestResultIsKeptUntilWhatItReadChanges(t *testing.T) {
	s := servertest.OpenState(t)
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	o := servertest.Counting(&runs)
	get := func(want string) {
		t.Helper()
		res, err := r.Get(o, &kv.GetRequest{Key: "k"}, "k", false)
		if err != nil || string(res.Value.(*kv.Entry).Value) != want {
			t.Fatalf("%+v %v, want %q", res, err, want)
		}
	}
	servertest.Write(t, s, "k", "1")
	get("1")
	get("1")
	servertest.Write(t, s, "other", "x")
	get("1")
	if n := runs.Load(); n != 1 {
		t.Errorf("%d queries for three reads without a change", n)
	}
	servertest.Write(t, s, "k", "2")
	get("2")
	if n := runs.Load(); n != 2 {
		t.Errorf("%d queries after one change", n)
	}
}

// Whoever reads after a write was acknowledged sees it, however many read.
func TestKeptResultsAreNeverOld(t *testing.T) {
	s := servertest.OpenState(t)
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	o := servertest.Counting(&runs)
	servertest.Write(t, s, "k", "000")
	var written atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				least := written.Load()
				if least == 300 {
					return
				}
				res, err := r.Get(o, &kv.GetRequest{Key: "k"}, "k", false)
				if err != nil {
					t.Error(err)
					return
				}
				if got := string(res.Value.(*kv.Entry).Value); got < fmt.Sprintf("%03d", least) {
					t.Errorf("read %s after %03d was acknowledged", got, least)
					return
				}
			}
		})
	}
	for i := range 300 {
		servertest.Write(t, s, "k", fmt.Sprintf("%03d", i+1))
		written.Store(int64(i + 1))
	}
	wg.Wait()
}

func TestKeptResultsAreBounded(t *testing.T) {
	s := servertest.OpenState(t)
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	o := servertest.Counting(&runs)
	servertest.Write(t, s, "large", string(make([]byte, 3<<20)))
	var first *Result
	for i := range 30 {
		res, err := r.Get(o, &kv.GetRequest{Key: "large"}, fmt.Sprint(i), false)
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
	if first.Watch.Stale() {
		t.Error("who waits for a result that was dropped does not wait for a change any more")
	}
	first.Release()
	if !first.Watch.Stale() {
		t.Error("a result that nobody holds is still watched")
	}
}

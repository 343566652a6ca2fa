package kv

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// stored answers reads from tables on disk, as a server does.
type stored struct{ state *storage.State }

func (s stored) Do(_ context.Context, c *op.Call) (*op.Reply, error) {
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	v := s.state.View()
	defer v.Close()
	res, err := c.Operation.(op.Queryable).Run(v, req)
	return op.NewReply(op.Meta{Index: v.Index()}, res), err
}

// sink counts an answer and notes how large the heap is while it comes.
type sink struct {
	header http.Header
	bytes  int
	writes int
	each   int // writes between two looks
	peak   uint64
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(int)     {}
func (s *sink) Write(b []byte) (int, error) {
	s.bytes += len(b)
	if s.writes%s.each == 0 {
		s.peak = max(s.peak, heap())
	}
	s.writes++
	return len(b), nil
}

// heap is what is reachable, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What is listed stands in memory once, as records or names, and beside it one
// part of the answer.
func TestLargeListingsAreInMemoryOnce(t *testing.T) {
	keys, each := 50_000, 20
	if os.Getenv("LEGATE_LONG") != "" {
		keys, each = 1_000_000, 500
	}
	state, err := storage.OpenState(storage.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	value := make([]byte, 100)
	for i := 0; i < keys; {
		tx := state.Begin()
		for range min(4096, keys-i) {
			tx.Next()
			if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: fmt.Sprintf("many/%07d", i), Value: value}}); err != nil {
				t.Fatal(err)
			}
			i++
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	w := serve(t, stored{state})
	const record = 112 + 16 + 112 // the struct, the key, the value; as the allocator rounds them
	const name = 16 + 16          // the string, its bytes
	for target, once := range map[string]int{"/v1/kv/?recurse": keys * record, "/v1/kv/?keys": keys * name} {
		before := heap()
		out := &sink{header: http.Header{}, each: each}
		w.ServeHTTP(out, httptest.NewRequest("GET", target, nil))
		took := int(out.peak) - int(before)
		t.Logf("%s: %d keys, an answer of %d MiB, %d MiB of memory at most beside what is used anyway", target, keys, out.bytes>>20, took>>20)
		if limit := once*14/10 + 4<<20; out.bytes == 0 || took > limit {
			t.Errorf("%s: an answer of %d bytes took %d bytes of memory, more than %d", target, out.bytes, took, limit)
		}
	}
}

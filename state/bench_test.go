package state

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// BenchmarkRegister applies registrations of new instances, each on a node of
// its own, 32 with each commit: what one of them costs every server.
func BenchmarkRegister(b *testing.B) {
	cache := pebble.NewCache(storage.DefaultMemory)
	defer cache.Unref()
	s, err := storage.OpenState(storage.Options{Dir: b.TempDir(), Cache: cache})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	m := New()
	commands := make([][]byte, b.N)
	bytes := 0
	for i := range commands {
		commands[i] = registration(b, m, i)
		bytes += len(commands[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	const together = 32
	for i := 0; i < b.N; i += together {
		tx := s.Begin()
		for _, c := range commands[i:min(i+together, b.N)] {
			tx.Next()
			if _, err := m.Apply(tx, c); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "command-B/op")
}

// registration is a command that registers an instance of one of 500 services,
// with a tag and a check.
func registration(b *testing.B, m *Machine, i int) []byte {
	service := fmt.Sprintf("svc-%d", i%500)
	id := fmt.Sprintf("%s-%d", service, i)
	r := &catalog.RegisterRequest{Node: fmt.Sprintf("node-%d", i), Address: fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255), Datacenter: "dc1",
		Service: &catalog.Service{ID: id, Service: service, Tags: []string{"v1"}, Port: 8000, Weights: catalog.Weights{Passing: 1, Warning: 1}},
		Checks:  []catalog.Check{{Node: fmt.Sprintf("node-%d", i), CheckID: "c-" + id, Name: "c", Status: catalog.Passing, ServiceID: id}}}
	body, err := r.MarshalMsg(nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := m.Encode(&catalog.Register, body)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkListKeys lists 200,000 keys of 512 random bytes: one pass over them.
func BenchmarkListKeys(b *testing.B) {
	cache := pebble.NewCache(storage.DefaultMemory)
	defer cache.Unref()
	s, err := storage.OpenState(storage.Options{Dir: b.TempDir(), Cache: cache}, Tables()...)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const keys = 200_000
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < keys; {
		tx := s.Begin()
		for range 128 {
			tx.Next()
			value := make([]byte, 512)
			for j := range value {
				value[j] = byte(random.Uint32())
			}
			if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: fmt.Sprintf("state/%06d", i), Value: value}, Now: 1}); err != nil {
				b.Fatal(err)
			}
			i++
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		v := s.View()
		list, err := kv.ListKeys.Query(v, &kv.KeysRequest{Prefix: "state/"})
		if err != nil || len(*list) < keys {
			b.Fatal(len(*list), err)
		}
		if err := v.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut writes keys of 512 bytes, 32 with each commit.
func BenchmarkPut(b *testing.B) {
	for _, tables := range [][]storage.AnyTable{nil, Tables()} {
		b.Run(fmt.Sprint("heads=", tables != nil), func(b *testing.B) {
			cache := pebble.NewCache(storage.DefaultMemory)
			defer cache.Unref()
			s, err := storage.OpenState(storage.Options{Dir: b.TempDir(), Cache: cache}, tables...)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			value := make([]byte, 512)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; {
				tx := s.Begin()
				for range 32 {
					tx.Next()
					if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: fmt.Sprintf("put/%06d", i%200_000), Value: value}, Now: 1}); err != nil {
						b.Fatal(err)
					}
					i++
				}
				if err := tx.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package snapshot

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/archive"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/storage"
)

// BenchmarkSave makes a snapshot of 200,000 keys with values of 512 random
// bytes.
func BenchmarkSave(b *testing.B) {
	s := largeState(b)
	for b.Loop() {
		v := s.View()
		if _, err := archive.Write(io.Discard, archive.Meta{}, portable(v)); err != nil {
			b.Fatal(err)
		}
		if err := v.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRestore restores that snapshot on one server without a log.
func BenchmarkRestore(b *testing.B) {
	s := largeState(b)
	v := s.View()
	var file bytes.Buffer
	if _, err := archive.Write(&file, archive.Meta{Index: s.Index()}, portable(v)); err != nil {
		b.Fatal(err)
	}
	if err := v.Close(); err != nil {
		b.Fatal(err)
	}
	h := newHarness(b, func(c *Config) { c.State = s })
	h.start(b)
	for b.Loop() {
		if _, err := h.RestoreSnapshot(b.Context(), op.Header{}, bytes.NewReader(file.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

func largeState(b *testing.B) *storage.State {
	b.Helper()
	s, err := storage.OpenState(storage.Options{Dir: b.TempDir(), FS: vfs.Default})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	random := rand.NewChaCha8([32]byte{})
	for i := 0; i < 200_000; {
		tx := s.Begin()
		for range 1000 {
			tx.Next()
			value := make([]byte, 512)
			_, _ = random.Read(value) // never fails
			if _, err := kv.ApplyEntry(tx, &kv.ApplyRequest{Verb: kv.Set, Entry: kv.Entry{Key: fmt.Sprintf("gen/%08d", i), Value: value}}); err != nil {
				b.Fatal(err)
			}
			i++
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

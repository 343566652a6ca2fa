package debugcmd

import (
	"bytes"
	"hash/maphash"
	"testing"
)

// Files of an archive come from whoever sent it.
func FuzzEvidence(f *testing.F) {
	for _, name := range []string{"index.json", timelineFile, firstExposition, "legate.log", "goroutine-1.prof", "heap-1.prof"} {
		f.Add(name, []byte("{}\n"))
		f.Add(name, []byte("# TYPE a counter\na 1\n"))
		f.Add(name, []byte{0x1f, 0x8b, 8})
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		e := &evidence{left: maxArchive, members: map[string]*flapping{}, complaints: map[complaintKey]*complaint{}, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
		_ = e.take(name, bytes.NewReader(b)) // taken or refused
	})
}

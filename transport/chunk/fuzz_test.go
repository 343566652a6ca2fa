package chunk

import (
	"bufio"
	"bytes"
	"testing"
)

// Chunks come over a stream that small requests of an agent share.
func FuzzReadHeader(f *testing.F) {
	m := Message{ID: 7, Head: []byte("head"), Body: []byte("body")}
	f.Add(m.appendChunk(nil))
	f.Add([]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for left := len(b); ; {
			_, _, length, err := ReadHeader(r)
			if err != nil {
				return
			}
			if length < 0 || length > Max {
				t.Fatalf("a chunk of %d bytes", length)
			}
			if left -= Header; left < 0 {
				t.Fatal("more headers than bytes")
			}
			n, err := r.Discard(length)
			if left -= n; err != nil {
				return
			}
		}
	})
}

// Package greeting finds out whether packets of UDP reach an endpoint of QUIC and its
// answers come back: by a packet of a version that nobody speaks, which is answered with the
// versions that are (RFC 9000 section 6.1), and of which nothing comes.
//
// An answer proves nothing of who gave it.
package greeting

import "crypto/rand"

const idLen = 8 // of connection IDs

// MinSize is the least size of a packet that is answered, in bytes (RFC 9000 section 14.1).
const MinSize = 1200

// Packet is one of size bytes, MinSize at least. The ID of its sender has the mark, which
// comes back.
func Packet(size int, mark byte) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b) // it never fails
	b[0] = 0xc0 | b[0]&0x3f
	copy(b[1:5], []byte{0x1a, 0x2a, 0x3a, 0x4a}) // one that is kept free for this: RFC 9000 section 15
	b[5] = idLen
	b[6+idLen] = idLen
	b[7+idLen] = mark
	return b
}

// Answered is the mark of an answer that lists versions; false if it is no such answer.
func Answered(b []byte) (mark int, ok bool) {
	if len(b) < 6+idLen || b[0]&0x80 == 0 || b[1]|b[2]|b[3]|b[4] != 0 || b[5] != idLen {
		return 0, false
	}
	return int(b[6]), true
}

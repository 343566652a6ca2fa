// Package question reads questions of DNS as they come, if they are such as most are, without
// allocating anything. What it does not know it leaves to who reads all messages.
package question

import (
	"encoding/binary"

	mdns "github.com/miekg/dns"
)

// Sizes of parts of messages.
const (
	HeaderSize = 12
	MaxName    = 255 // bytes of a name on the wire
	OPTSize    = 11  // bytes of an OPT record without options
	// MaxUDP bounds what a client may ask for: the largest UDP payload, with
	// room for headers.
	MaxUDP = 65467
)

// Bits of the second pair of bytes of a header, and of an OPT record.
const (
	bitRD, BitTC        = 0x01, 0x02
	bitCD, bitAD        = 0x10, 0x20
	BitDO        uint16 = 0x8000
)

// What of a question but its name and type changes the answer.
const (
	RD uint8 = 1 << iota
	CD
	EDNS
	DO
	Small // no more than 512 bytes can be taken
)

// Plain is a question as most are: one name of the class IN, with EDNS or without. What is
// something else is no plain question, not a wrong one.
type Plain struct {
	room  [MaxName + 3]byte
	size  int    // of the key in room: the name in lower case, the type, the asked bits
	End   int    // of the question, behind the class
	Type  uint16 // that was asked
	Asked uint8  // RD and the like
	Limit int    // bytes that the client can take
}

// Key is the same for questions with the same answer, but for how much of it can be taken.
func (q *Plain) Key() []byte { return q.room[:q.size] }

// Read reads a packet. It reports whether that is a plain question.
func (q *Plain) Read(in []byte) bool {
	const counts = "\x00\x01\x00\x00\x00\x00\x00" // one question, no answers, less than 256 additional records
	if len(in) < HeaderSize || in[2]&^bitRD != 0 || in[3]&^(bitCD|bitAD) != 0 || string(in[4:11]) != counts || in[11] > 1 {
		return false
	}
	at := HeaderSize
	for {
		if at >= len(in) {
			return false
		}
		n := int(in[at])
		if n > 63 || at+1+n-HeaderSize > MaxName || at+1+n > len(in) {
			return false
		}
		q.room[at-HeaderSize] = in[at]
		for i := at + 1; i <= at+n; i++ {
			c := in[i]
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			q.room[i-HeaderSize] = c
		}
		at += 1 + n
		if n == 0 {
			break
		}
	}
	if len(in) < at+4 {
		return false
	}
	q.Type = binary.BigEndian.Uint16(in[at:])
	if binary.BigEndian.Uint16(in[at+2:]) != mdns.ClassINET || q.Type >= mdns.TypeTKEY || q.Type == mdns.TypeOPT || q.Type == 0 {
		return false
	}
	q.End = at + 4
	q.Asked, q.Limit = Small, mdns.MinMsgSize
	if in[11] == 1 && !q.edns(in[q.End:]) || in[11] == 0 && len(in) != q.End {
		return false
	}
	if in[2]&bitRD != 0 {
		q.Asked |= RD
	}
	if in[3]&bitCD != 0 {
		q.Asked |= CD
	}
	q.size = at - HeaderSize
	q.room[q.size], q.room[q.size+1], q.room[q.size+2] = in[at], in[at+1], q.Asked
	q.size += 3
	return true
}

// edns reads the OPT record at the end of a packet.
func (q *Plain) edns(in []byte) bool {
	if len(in) < OPTSize || in[0] != 0 || binary.BigEndian.Uint16(in[1:]) != mdns.TypeOPT || in[5] != 0 || in[6] != 0 {
		return false
	}
	flags, options := binary.BigEndian.Uint16(in[7:]), in[OPTSize:]
	if flags&^BitDO != 0 || int(binary.BigEndian.Uint16(in[9:])) != len(options) || !onlyCookie(options) {
		return false
	}
	q.Limit = min(max(int(binary.BigEndian.Uint16(in[3:])), mdns.MinMsgSize), MaxUDP)
	q.Asked = EDNS
	if q.Limit == mdns.MinMsgSize {
		q.Asked |= Small
	}
	if flags != 0 {
		q.Asked |= DO
	}
	return true
}

// onlyCookie reports whether there are no options, or a cookie (RFC 7873), which changes
// nothing here.
func onlyCookie(options []byte) bool {
	const head, short, long = 4, 8, 40
	if len(options) == 0 {
		return true
	}
	n := len(options) - head
	return n >= short && n <= long && binary.BigEndian.Uint16(options) == mdns.EDNS0COOKIE && int(binary.BigEndian.Uint16(options[2:])) == n
}

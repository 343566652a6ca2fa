package kv

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/legate-project/legate/state/kv"
)

// AppendEntry appends the entry as encoding/json would write it, with an
// empty value as null. It is by hand because it is most of the cost of a short
// read: a test holds the two together.
func AppendEntry(b []byte, e *kv.Entry) []byte {
	b = append(b, `{"LockIndex":`...)
	b = strconv.AppendUint(b, e.LockIndex, 10)
	b = append(b, `,"Key":`...)
	b = AppendString(b, e.Key)
	b = append(b, `,"Flags":`...)
	b = strconv.AppendUint(b, e.Flags, 10)
	if len(e.Value) == 0 {
		b = append(b, `,"Value":null`...)
	} else {
		b = append(b, `,"Value":"`...)
		b = base64.StdEncoding.AppendEncode(b, e.Value)
		b = append(b, '"')
	}
	if e.Session != "" {
		b = append(b, `,"Session":`...)
		b = AppendString(b, e.Session)
	}
	b = append(b, `,"CreateIndex":`...)
	b = strconv.AppendUint(b, e.CreateIndex, 10)
	b = append(b, `,"ModifyIndex":`...)
	b = strconv.AppendUint(b, e.ModifyIndex, 10)
	return append(b, '}')
}

// AppendString appends a JSON string; what needs escapes is left to
// encoding/json.
func AppendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			quoted, err := json.Marshal(s)
			if err != nil { // cannot be: every string has a form
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

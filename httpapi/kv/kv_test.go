package kv

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/httpapi/resttest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

// TestEntriesAreWrittenAsEncodingJSONDoes holds the writer by hand to the
// library, byte for byte.
func TestEntriesAreWrittenAsEncodingJSONDoes(t *testing.T) {
	for _, e := range []kv.Entry{
		{},
		{Key: "plain/key-1_2.3", Value: []byte("v"), Flags: 1<<64 - 1, CreateIndex: 1, ModifyIndex: 2, LockIndex: 3},
		{Key: `"quoted\" <b>&amp;`, Session: "s<>", Value: bytes.Repeat([]byte{0, 255}, 100)},
		{Key: "ünïcödé \u2028 \x7f \x00\n\t", Value: []byte{0}},
		{Key: "broken \xff utf8", Value: []byte("12")},
	} {
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendEntry(nil, &e); string(got) != string(want) {
			t.Errorf("wrote %s\nwant  %s", got, want)
		}
	}
	if got := string(AppendEntry(nil, &kv.Entry{Value: []byte{}})); !strings.Contains(got, `"Value":null`) {
		t.Errorf("an empty value is %s", got)
	}
}

// A part of a long list takes little memory, however long the list is.
func TestPartsOfALongListAreShort(t *testing.T) {
	listing, err := kv.List.InParts(t.Context(), &resttest.Caller{Answers: resttest.Keys()}, op.Header{}, &kv.ListRequest{Prefix: "many/"})
	if err != nil {
		t.Fatal(err)
	}
	parts, largest := 0, 0
	for part := range rendered(listing, false, func(b []byte, e kv.Entry) []byte { return AppendEntry(b, &e) }) {
		parts++
		largest = max(largest, len(part))
	}
	if parts < 100 || largest > 2*rest.PartBytes {
		t.Errorf("%d parts, the largest of %d bytes", parts, largest)
	}
}

func BenchmarkEntry(b *testing.B) {
	e := &kv.Entry{Key: "config/web/port", Value: []byte(strings.Repeat("x", 512)), ModifyIndex: 99}
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEntry(buf[:0], e)
	}
}

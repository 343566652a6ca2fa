package inspect

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/state/archive"
)

func made(t *testing.T, keys ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	_, err := archive.Write(&buf, archive.Meta{Version: "9.9", Datacenter: "dc7", Index: 42}, func(yield func(archive.Row, error) bool) {
		for _, key := range keys {
			body := msgp.AppendBytes(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "v"), []byte("hi"))
			if !yield(archive.Row{Key: append([]byte{'r', 1}, key...), Value: append([]byte{0, 0, 0, 0, 0, 0, 0, 5, 0}, body...)}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestReportCountsTablesAndPrefixes(t *testing.T) {
	b := made(t, "a/b/c", "a/b/d", "a/e", "top", "z/y")
	r, err := Archive(bytes.NewReader(b), Options{KVDetails: true, KVDepth: 2})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, p := range r.KV {
		got += p.Name + " "
	}
	if got != "a/b a/e top z/y " || r.KV[0].Count != 2 {
		t.Errorf("%q, %+v", got, r.KV)
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dc7", "42", "KVS", "Total", "a/b", "9.9"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if r, err := Archive(bytes.NewReader(b), Options{KVDetails: true, KVDepth: 1, KVFilter: "a/"}); err != nil || len(r.KV) != 1 || r.KV[0].Count != 3 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestDecodeWritesARecordALine(t *testing.T) {
	var out bytes.Buffer
	if err := Decode(bytes.NewReader(made(t, "a", "b\x01")), &out); err != nil {
		t.Fatal(err)
	}
	want := `{"Type":"KVS","Index":5,"Key":"a","Value":{"v":"aGk="}}` + "\n" + `{"Type":"KVS","Index":5,"Key":"YgE=","Value":{"v":"aGk="}}` + "\n"
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
	b := made(t, "a")
	if err := Decode(bytes.NewReader(b[:len(b)-9]), &out); !errors.Is(err, archive.ErrInvalid) {
		t.Errorf("cut off: %v", err)
	}
}

package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "write the golden archive anew; only for a new format")

func row(kind byte, table byte, key string, index byte, body []byte) Row {
	return Row{Key: append([]byte{kind, table}, key...), Value: append([]byte{0, 0, 0, 0, 0, 0, 0, index, 0}, body...)}
}

// sample is a small state: an index row and two records.
func sample() []Row {
	entry := msgp.AppendMapHeader(nil, 2)
	entry = msgp.AppendString(msgp.AppendString(entry, "Key"), "app/a")
	entry = msgp.AppendBytes(msgp.AppendString(entry, "Value"), []byte("one"))
	return []Row{
		row('i', 3, "\x01web\x00\x01", 7, nil),
		row('r', 1, "app/a", 5, entry),
		row('r', 1, "app/b", 6, bytes.Repeat([]byte{0xc0}, 100_000)),
	}
}

func each(rows []Row) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func sampleMeta() Meta {
	return Meta{Version: "0.4.0", Datacenter: "dc1", Node: "s1", Index: 7, RaftIndex: 12, Term: 2, Time: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)}
}

func written(t testing.TB, rows []Row) ([]byte, Meta) {
	t.Helper()
	var buf bytes.Buffer
	meta, err := Write(&buf, sampleMeta(), each(rows))
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), meta
}

// read returns copies of all rows.
func read(b []byte) ([]Row, Meta, error) {
	var rows []Row
	meta, err := Read(bytes.NewReader(b), func(r Row) error {
		rows = append(rows, Row{bytes.Clone(r.Key), bytes.Clone(r.Value)})
		return nil
	})
	return rows, meta, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, rows := range [][]Row{sample(), nil} {
		b, wrote := written(t, rows)
		got, meta, err := read(b)
		if err != nil || !reflect.DeepEqual(got, rows) || !reflect.DeepEqual(meta, wrote) {
			t.Errorf("%d rows: %v, %+v, want %+v", len(got), err, meta, wrote)
		}
	}
}

// A snapshot that an earlier version wrote is read by every later one: the
// golden file is never written anew for the same format.
func TestGoldenArchiveOfFormatOne(t *testing.T) {
	const golden = "testdata/format1.snap"
	if *rewrite {
		b, _ := written(t, sample())
		if err := os.WriteFile(golden, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, meta, err := read(b)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("%d rows: %v", len(got), err)
	}
	if meta.Format != 1 || meta.Index != 7 || meta.Term != 2 || meta.RaftIndex != 12 || meta.Datacenter != "dc1" || meta.Version != "0.4.0" || meta.Rows != 3 {
		t.Errorf("%+v", meta)
	}
}

func TestCutOffAnywhereIsRefused(t *testing.T) {
	b, _ := written(t, sample()[:2])
	for n := range len(b) {
		if _, err := Verify(bytes.NewReader(b[:n])); !errors.Is(err, ErrInvalid) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

// Bits that only fill up the compressed form may change: what is read stays.
func TestAlteredAnywhereIsRefusedOrChangesNothing(t *testing.T) {
	want := sample()[:2]
	b, wrote := written(t, want)
	const header = 10 // of gzip: time and system, which say nothing of the content
	refused := 0
	for n := header; n < len(b); n++ {
		for _, flip := range []byte{0x01, 0x80} {
			bad := bytes.Clone(b)
			bad[n] ^= flip
			got, meta, err := read(bad)
			switch {
			case errors.Is(err, ErrInvalid):
				refused++
			case err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(meta, wrote):
				t.Fatalf("byte %d: %v, %d rows", n, err, len(got))
			}
		}
	}
	if all := 2 * (len(b) - header); refused < all*99/100 {
		t.Errorf("%d of %d alterations were refused", refused, all)
	}
}

// forge packs files as they are, so that the compression's checksum is right.
func forge(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	out := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		err := out.WriteHeader(&tar.Header{Name: files[i], Mode: 0o600, Size: int64(len(files[i+1]))})
		if err == nil {
			_, err = io.WriteString(out, files[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestForgedArchivesSayWhatIsWrong(t *testing.T) {
	good, _ := written(t, sample()[:2])
	long := forge(t, "meta.json", `{"Format":1}`, "records", "", "SHA256SUMS", strings.Repeat("x", maxSums+1))
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"no gzip":          {[]byte("hello, this is no archive at all"), "gzip"},
		"empty":            {nil, "cut off"},
		"gzip of no tar":   {gzipped(t, strings.Repeat("junk", 1000)), "tar"},
		"another tar":      {forge(t, "etc/passwd", "root"), "etc/passwd"},
		"no format":        {forge(t, "meta.json", `{"ID":"2-3","Index":9}`), "format"},
		"a later format":   {forge(t, "meta.json", `{"Format":2,"Version":"9.1"}`), `"9.1"`},
		"malformed meta":   {forge(t, "meta.json", `{`), "meta.json"},
		"huge meta":        {forge(t, "meta.json", strings.Repeat(" ", maxMeta+1)), "allowed"},
		"huge records":     {forge(t, "meta.json", fmt.Sprintf(`{"Format":1,"Bytes":%d}`, uint64(MaxBytes)+1)), "allowed"},
		"wrong size":       {forge(t, "meta.json", `{"Format":1,"Bytes":9}`, "records", ""), "9"},
		"wrong count":      {forge(t, "meta.json", `{"Format":1,"Rows":9}`, "records", ""), "description"},
		"wrong sums":       {forge(t, "meta.json", `{"Format":1}`, "records", "", "SHA256SUMS", "0  meta.json\n"), "altered"},
		"long sums":        {long, "allowed"},
		"huge record":      {forge(t, "meta.json", `{"Format":1,"Bytes":6}`, "records", "\x02\xff\xff\xff\xff\x0f"), "value of"},
		"unknown record":   {forge(t, "meta.json", `{"Format":1,"Bytes":13}`, "records", "\x02\x09m\x01123456789"), "unknown kind"},
		"tombstone":        {forge(t, "meta.json", `{"Format":1,"Bytes":13}`, "records", "\x02\x09r\x0112345678\x01"), "unknown mark"},
		"out of order":     {forge(t, "meta.json", `{"Format":1,"Bytes":26}`, "records", "\x02\x09r\x0212345678\x00\x02\x09r\x0112345678\x00"), "order"},
		"something behind": {append(bytes.Clone(good), 'x'), "follows"},
		"another behind":   {append(bytes.Clone(good), good...), "follows"},
	} {
		_, err := Verify(bytes.NewReader(c.archive))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type broken struct{ io.Reader }

var errLine = errors.New("the line is dead")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errLine
	}
	return n, err
}

func TestBrokenReaderIsNotABrokenArchive(t *testing.T) {
	b, _ := written(t, sample())
	_, err := Verify(broken{bytes.NewReader(b[:len(b)/2])})
	if errors.Is(err, ErrInvalid) || !errors.Is(err, errLine) {
		t.Errorf("%v", err)
	}
}

func TestErrorOfVisitEndsReading(t *testing.T) {
	b, _ := written(t, sample())
	seen := 0
	_, err := Read(bytes.NewReader(b), func(Row) error { seen++; return errLine })
	if !errors.Is(err, errLine) || seen != 1 {
		t.Errorf("%d rows: %v", seen, err)
	}
}

func TestFailingSourceFailsTheWrite(t *testing.T) {
	_, err := Write(io.Discard, sampleMeta(), func(yield func(Row, error) bool) { yield(Row{}, errLine) })
	if !errors.Is(err, errLine) {
		t.Errorf("%v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, value := range map[string]func(int) []byte{
		"text": func(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("v%07d", i*7919)), 64) },
		"random": func(i int) []byte {
			v := make([]byte, 512)
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}).Read(v)
			return v
		},
	} {
		b.Run(name, func(b *testing.B) {
			var rows []Row
			for i := range 200_000 {
				rows = append(rows, row('r', 1, fmt.Sprintf("app/%08d", i), 1, value(i)))
			}
			for b.Loop() {
				if _, err := Write(io.Discard, sampleMeta(), each(rows)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A writer that fails ends the write, and leaves nothing running.
func TestWriterThatFailsEndsTheWrite(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	many := func(yield func(Row, error) bool) {
		value := make([]byte, 64<<10)
		random := rand.NewChaCha8([32]byte{})
		for i := range 200 {
			_, _ = random.Read(value) // never fails
			if !yield(row('r', 1, fmt.Sprintf("%04d", i), 1, value), nil) {
				return
			}
		}
	}
	full := errors.New("disk full")
	w := &filling{room: 3 << 20, err: full}
	if _, err := Write(w, Meta{}, many); !errors.Is(err, full) {
		t.Fatalf("Write: %v, want %v", err, full)
	}
}

// filling takes some bytes, then fails.
type filling struct {
	room int
	err  error
}

func (f *filling) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, f.err
	}
	return len(p), nil
}

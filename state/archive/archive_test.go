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

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"

	"github.com/legate-project/legate/state/archive/pack"
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
// golden files are never written anew for the same format.
func TestGoldenArchives(t *testing.T) {
	if *rewrite {
		b, _ := written(t, sample())
		if err := os.WriteFile(fmt.Sprintf("testdata/format%d.snap", Format), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for format := 1; format <= Format; format++ {
		b, err := os.ReadFile(fmt.Sprintf("testdata/format%d.snap", format))
		if err != nil {
			t.Fatal(err)
		}
		got, meta, err := read(b)
		if err != nil || !reflect.DeepEqual(got, sample()) {
			t.Errorf("format %d: %d rows: %v", format, len(got), err)
		}
		if meta.Format != format || meta.Index != 7 || meta.Term != 2 || meta.RaftIndex != 12 || meta.Datacenter != "dc1" || meta.Version != "0.4.0" || meta.Rows != 3 {
			t.Errorf("%+v", meta)
		}
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
			case errors.Is(err, ErrInvalid), errors.Is(err, ErrConsul): // one of Consul is not, either
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

// stated is an archive with this description and these rows.
func stated(t testing.TB, meta, rows string) []byte {
	t.Helper()
	head := appendRaw([]byte(headerIndex+"\x00\x00\x00\x00\x00\x00\x00\x07"+headerMeta), []byte(meta))
	return forge(t, "meta.json", "{}", "state.bin", string(head)+rows)
}

func TestForgedArchivesSayWhatIsWrong(t *testing.T) {
	good, _ := written(t, sample()[:2])
	one := func(meta, records string) []byte { return forge(t, "meta.json", meta, "records", records) }
	const row = "L\x92\xa3r\x01a\xa9\x00\x00\x00\x00\x00\x00\x00\x05\x00"
	described := fmt.Sprintf(`{"Format":2,"Rows":2,"Bytes":%d}`, 2*len(row))
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"no gzip":          {[]byte("hello, this is no archive at all"), "gzip"},
		"empty":            {nil, "cut off"},
		"gzip of no tar":   {gzipped(t, strings.Repeat("junk", 1000)), "tar"},
		"another tar":      {forge(t, "etc/passwd", "root"), "etc/passwd"},
		"another state":    {forge(t, "meta.json", "{}", "etc/passwd", "root"), "etc/passwd"},
		"something behind": {append(bytes.Clone(good), 'x'), "follows"},
		"another behind":   {append(bytes.Clone(good), good...), "follows"},

		"no format":       {stated(t, `{"ID":"2-3","Index":9}`, ""), "format"},
		"a later format":  {stated(t, `{"Format":3,"Version":"9.1"}`, ""), `"9.1"`},
		"malformed meta":  {stated(t, `{`, ""), "description"},
		"broken header":   {forge(t, "meta.json", "{}", "state.bin", headerIndex+"12345678Legate,long"), "header"},
		"cut off header":  {forge(t, "meta.json", "{}", "state.bin", headerIndex+"1234"), "cut off"},
		"huge meta":       {forge(t, "meta.json", "{}", "state.bin", headerIndex+"12345678"+headerMeta+"\xdb\xff\xff\xff\xff"), "allowed"},
		"no text as meta": {forge(t, "meta.json", "{}", "state.bin", headerIndex+"12345678"+headerMeta+"\x01"), "begins with"},
		"huge records":    {stated(t, fmt.Sprintf(`{"Format":2,"Bytes":%d}`, uint64(MaxBytes)+1), ""), "allowed"},
		"wrong size":      {stated(t, `{"Format":2,"Bytes":9}`, ""), "9"},
		"wrong count":     {stated(t, `{"Format":2,"Rows":9}`, ""), "description"},
		"unknown type":    {stated(t, `{"Format":2,"Bytes":2}`, "\x00\x80"), "unknown kind"},
		"huge record":     {stated(t, `{"Format":2,"Bytes":7}`, "L\x92\xdb\xff\xff\xff\xff"), "part of"},
		"no checksums":    {stated(t, `{"Format":2,"Tables":[]}`, ""), "cut off"},
		"out of order":    {stated(t, described, row+row), "order"},

		"1: malformed meta": {one(`{`, ""), "description"},
		"1: a later format": {one(`{"Format":2,"Version":"9.1"}`, ""), `"9.1"`},
		"1: wrong size":     {one(`{"Format":1,"Bytes":9}`, ""), "9"},
		"1: wrong count":    {one(`{"Format":1,"Rows":9}`, ""), "description"},
		"1: huge record":    {one(`{"Format":1,"Bytes":6}`, "\x02\xff\xff\xff\xff\x0f"), "value of"},
		"1: unknown record": {one(`{"Format":1,"Bytes":13}`, "\x02\x09m\x01123456789"), "unknown kind"},
		"1: tombstone":      {one(`{"Format":1,"Bytes":13}`, "\x02\x09r\x0112345678\x01"), "unknown mark"},
		"1: out of order":   {one(`{"Format":1,"Bytes":26}`, "\x02\x09r\x0212345678\x00\x02\x09r\x0112345678\x00"), "order"},
	} {
		_, err := Verify(bytes.NewReader(c.archive))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSnapshotOfConsulIsSaidToBeOne(t *testing.T) {
	b := forge(t, "meta.json", `{"Version":1}`, "state.bin", "\x81\xa9LastIndex\x07")
	if _, err := Verify(bytes.NewReader(b)); !errors.Is(err, ErrConsul) || errors.Is(err, ErrInvalid) {
		t.Error(err)
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

// Consul's tools read a header, and then a byte and a value until the end; the
// decoder is theirs.
func TestStateIsFramedAsConsulsToolsReadIt(t *testing.T) {
	b, _ := written(t, sample())
	err := pack.Read(bytes.NewReader(b), func(c *pack.Contents) error {
		handle := &codec.MsgpackHandle{}
		handle.RawToString = true
		dec := codec.NewDecoder(c.State, handle)
		var header struct{ LastIndex uint64 }
		if err := dec.Decode(&header); err != nil || header.LastIndex != 7 {
			return fmt.Errorf("header %+v: %w", header, err)
		}
		for i := 0; ; i++ {
			kind, err := c.State.ReadByte()
			if errors.Is(err, io.EOF) && i == len(sample()) {
				return nil
			}
			var v any
			if err := errors.Join(err, dec.Decode(&v)); err != nil || kind != 'L' {
				return fmt.Errorf("record %d of type %d: %w", i, kind, err)
			}
		}
	}, pack.StateName)
	if err != nil {
		t.Error(err)
	}
}

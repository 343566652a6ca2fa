package stream

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// stream makes a directory and returns its stream.
func stream(t *testing.T, contents map[string]string) []byte {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("from", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range contents {
		f, err := fs.Create("from/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewSender(fs, "from")
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(all)) != s.size {
		t.Fatalf("%d bytes were announced, %d came", s.size, len(all))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat("from"); err == nil {
		t.Error("the sent directory is still there")
	}
	return all
}

func receive(fs vfs.FS, data []byte, chunk int) error {
	r, err := NewReceiver(fs, "to")
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(chunk, len(data))
		if _, err := r.Write(bytes.Clone(data[:n])); err != nil {
			return errors.Join(err, r.Cancel())
		}
		data = data[n:]
	}
	if err := r.Finish(); err != nil {
		return errors.Join(err, r.Cancel())
	}
	return nil
}

func TestStreamArrivesInAnyPieces(t *testing.T) {
	want := map[string]string{"a": "hello", "empty": "", "MANIFEST-1": string(bytes.Repeat([]byte("x"), 10_000))}
	data := stream(t, want)
	for _, chunk := range []int{1, 7, 4096, len(data)} {
		fs := vfs.NewMem()
		if err := receive(fs, data, chunk); err != nil {
			t.Fatal(err)
		}
		for name, content := range want {
			f, err := fs.Open("to/" + name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil || string(got) != content {
				t.Errorf("%s in pieces of %d: %d bytes, %v", name, chunk, len(got), err)
			}
			_ = f.Close()
		}
	}
}

func TestDamagedStreamIsRefused(t *testing.T) {
	data := stream(t, map[string]string{"a": "hello", "b": "world"})
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x40
		fs := vfs.NewMem()
		if err := receive(fs, bad, len(bad)); !errors.Is(err, ErrBad) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := fs.Stat("to"); err == nil {
			t.Errorf("byte %d changed: the directory is still there", i)
		}
	}
	for n := range data {
		if err := receive(vfs.NewMem(), data[:n], 3); !errors.Is(err, ErrBad) {
			t.Errorf("cut off after %d: %v", n, err)
		}
	}
	if err := receive(vfs.NewMem(), append(data, 0), 64); !errors.Is(err, ErrBad) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestStreamNamesStayInside(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/etc", "a\x00", "c:"} {
		list := encodeList([]entry{{name, 0}})
		if err := receive(vfs.NewMem(), list, len(list)); !errors.Is(err, ErrBad) {
			t.Errorf("%q: %v", name, err)
		}
	}
	twice := encodeList([]entry{{"a", 0}, {"a", 0}})
	if err := receive(vfs.NewMem(), twice, len(twice)); !errors.Is(err, ErrBad) {
		t.Errorf("a name twice: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(encodeList([]entry{{"a", 3}, {"b", 0}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := receive(vfs.NewMem(), data, 5); err != nil && !errors.Is(err, ErrBad) {
			t.Fatal(err)
		}
	})
}

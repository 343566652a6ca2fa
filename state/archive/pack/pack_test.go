package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var made = time.Date(2026, 11, 27, 12, 5, 22, 737e6, time.UTC)

func written(t testing.TB, state string) ([]byte, Meta) {
	t.Helper()
	m := Meta{Index: 87, Term: 2, ConfigurationIndex: 1, Size: int64(len(state)),
		Configuration: Configuration{Servers: []Server{{ID: "0a0a", Address: "127.0.0.1:8300"}, {Suffrage: 1, ID: "0b0b", Address: "127.0.0.2:8300"}}}}
	m.Describe(made)
	var buf bytes.Buffer
	err := Write(&buf, m, made, func(w io.Writer) error {
		_, err := io.WriteString(w, state)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), m
}

// Consul's tools read the files by name and know three of them, compare the sums
// of exactly the two others, and take meta.json for Raft's own structure.
func TestContainerIsWhatConsulsToolsVerify(t *testing.T) {
	b, m := written(t, "some state")
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files, names := map[string][]byte{}, []string{}
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if files[h.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"meta.json", "state.bin", "SHA256SUMS"}; !reflect.DeepEqual(names, want) {
		t.Fatalf("files %q, want %q", names, want)
	}
	sums := fmt.Sprintf("%x  meta.json\n%x  state.bin\n", sha256.Sum256(files["meta.json"]), sha256.Sum256(files["state.bin"]))
	if string(files["SHA256SUMS"]) != sums {
		t.Errorf("sums\n%s, want\n%s", files["SHA256SUMS"], sums)
	}
	dec := json.NewDecoder(bytes.NewReader(files["meta.json"]))
	dec.DisallowUnknownFields()
	var got raft.SnapshotMeta
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: "2-87-1795781122737", Index: 87, Term: 2, ConfigurationIndex: 1, Size: 10,
		Configuration: raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "0a0a", Address: "127.0.0.1:8300"}, {Suffrage: raft.Nonvoter, ID: "0b0b", Address: "127.0.0.2:8300"}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !m.Made().Equal(made) || !(&Meta{ID: "other"}).Made().IsZero() {
		t.Errorf("made at %v, want %v", m.Made(), made)
	}
}

func all(c *Contents) error {
	_, err := io.ReadAll(c.State)
	return err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 50_000)
	for _, state := range []string{"", "x", long} {
		b, m := written(t, state)
		err := Read(bytes.NewReader(b), func(c *Contents) error {
			var meta Meta
			text, err := io.ReadAll(c.State)
			if err := errors.Join(err, json.Unmarshal(c.Meta, &meta)); err != nil {
				return err
			}
			if string(text) != state || c.Size != int64(len(state)) || c.Name != "state.bin" || !reflect.DeepEqual(meta, m) || !c.Time.Equal(made.Truncate(time.Second)) && !c.Time.Equal(made) {
				t.Errorf("%d bytes of %s at %v, %+v", len(text), c.Name, c.Time, meta)
			}
			return nil
		}, "other", StateName)
		if err != nil {
			t.Error(err)
		}
	}
}

// forge packs files as they are.
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

func TestChecksums(t *testing.T) {
	sum := func(name, text string) string { return fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(text)), name) }
	meta, state := sum("meta.json", "{}"), sum("state.bin", "s")
	for _, c := range []struct {
		sums, want string // "" for whole
	}{
		{meta + state, ""},
		{state + meta, ""},
		{meta, "altered"},
		{"", "altered"},
		{meta + meta, "altered"},
		{meta + sum("state.bin", "t"), "altered"},
		{meta + state + sum("other", "x"), "altered"},
		{strings.Repeat("x", maxSums+1), "allowed"},
	} {
		err := Read(bytes.NewReader(forge(t, "meta.json", "{}", "state.bin", "s", "SHA256SUMS", c.sums)), all, StateName)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.20q: %v, want %q", c.sums, err, c.want)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	sums := fmt.Sprintf("%x  meta.json\n%x  state.bin\n", sha256.Sum256([]byte("{}")), sha256.Sum256([]byte("s")))
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"huge meta":      {forge(t, "meta.json", strings.Repeat(" ", maxMeta+1)), "allowed"},
		"no sums":        {forge(t, "meta.json", "{}", "state.bin", "s"), "cut off"},
		"another file":   {forge(t, "meta.json", "{}", "state.bin", "s", "SHA256SUMS", sums, "more", ""), "more files"},
		"another order":  {forge(t, "state.bin", "s", "meta.json", "{}"), "expected"},
		"unread content": {forge(t, "meta.json", "{}", "state.bin", "s", "SHA256SUMS", sums), "follows its records"},
	} {
		visit := all
		if name == "unread content" {
			visit = func(*Contents) error { return nil }
		}
		if err := Read(bytes.NewReader(c.archive), visit, StateName); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

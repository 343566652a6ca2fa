package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	framing "github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

const damageRows = 40

// damageState is a closed state of damageRows rows in several tables.
func damageState(t *testing.T) *vfs.MemFS {
	mem := vfs.NewCrashableMem()
	s, err := OpenState(Options{Dir: "state", FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	for i := range damageRows {
		put(t, s, plain, fmt.Sprintf("k%02d", i), "")
		if i%4 == 3 {
			if err := s.current.Load().db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return mem
}

// damageLog is a closed log of damageRows entries in as many appends, the
// first of them in tables when asked for.
func damageLog(t *testing.T, tables bool) *vfs.MemFS {
	mem := vfs.NewCrashableMem()
	l, err := OpenLog(Options{Dir: "log", FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(damageRows) {
		if err := l.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: bytes.Repeat([]byte("d"), 40)}); err != nil {
			t.Fatal(err)
		}
		if tables && i%4 == 3 {
			if err := l.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return mem
}

// wholeState opens the state: nil when every row is there.
func wholeState(fs vfs.FS) error {
	s, err := OpenState(Options{Dir: "state", FS: fs})
	if err != nil {
		return err
	}
	v := s.View()
	rows := 0
	for _, err = range plain.Scan(v, nil) {
		if err != nil {
			break
		}
		rows++
	}
	if err == nil && rows != damageRows {
		err = fmt.Errorf("%d rows of %d", rows, damageRows)
	}
	return errors.Join(err, v.Close(), s.Close())
}

// wholeLog opens the log: nil when every entry is there.
func wholeLog(fs vfs.FS) error {
	l, err := OpenLog(Options{Dir: "log", FS: fs})
	if err != nil {
		return err
	}
	first, last := l.bounds()
	if first != 1 || last != damageRows {
		err = fmt.Errorf("entries %d to %d of %d", first, last, damageRows)
	}
	return errors.Join(err, l.Close())
}

// spoil returns a copy of mem in which the bytes of a file from one to another
// are flipped.
func spoil(t *testing.T, mem *vfs.MemFS, path string, from, to int) *vfs.MemFS {
	t.Helper()
	// Everything is synced, so the copy is whole.
	damaged := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	b := content(t, damaged, path)
	for i := from; i < to; i++ {
		b[i] ^= 0xA5
	}
	overwrite(t, damaged, path, b)
	return damaged
}

func content(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func overwrite(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// only returns the path of the newest file in dir whose name contains part.
func only(t *testing.T, fs vfs.FS, dir, part string) string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, n := range names {
		if strings.Contains(n, part) && !strings.HasPrefix(n, markerFile) {
			found = max(found, n)
		}
	}
	if found == "" {
		t.Fatalf("no %s in %q", part, names)
	}
	return fs.PathJoin(dir, found)
}

// Whatever byte or third of the manifest is damaged: the instance is refused,
// by the file's name, or everything is there.
func TestDamagedManifestIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		mem  *vfs.MemFS
		dir  string
		open func(vfs.FS) error
	}{
		"state": {damageState(t), "state/db-1", wholeState},
		"log":   {damageLog(t, true), "log", wholeLog},
	} {
		t.Run(name, func(t *testing.T) {
			path := only(t, c.mem, c.dir, "MANIFEST")
			size := len(content(t, c.mem, path))
			if err := c.open(spoil(t, c.mem, path, 0, 0)); err != nil {
				t.Fatalf("undamaged: %v", err)
			}
			refused := 0
			try := func(from, to int) {
				err := c.open(spoil(t, c.mem, path, from, to))
				switch {
				case err == nil:
				case errors.Is(err, ErrCorrupt) && strings.Contains(err.Error(), path):
					refused++
				default:
					t.Errorf("bytes %d to %d of %d: %v", from, to, size, err)
				}
			}
			for third := range 3 {
				try(size*third/3, size*(third+1)/3)
			}
			if refused != 3 {
				t.Errorf("%d of 3 damaged thirds were refused", refused)
			}
			try(0, size)
			for i := range size {
				try(i, i+1)
			}
			t.Logf("%d of %d damages refused", refused, size+4)
		})
	}
}

// The same holds for the write-ahead log of a Log that was closed, up to the
// last record.
func TestDamagedWALIsRefused(t *testing.T) {
	t.Parallel()
	mem := damageLog(t, false)
	path := only(t, mem, "log", walSuffix)
	size := len(content(t, mem, path))
	refused := 0
	try := func(from, to int) {
		err := wholeLog(spoil(t, mem, path, from, to))
		switch {
		case err == nil:
		case errors.Is(err, ErrCorrupt) && strings.Contains(err.Error(), path):
			refused++
		default:
			t.Errorf("bytes %d to %d of %d: %v", from, to, size, err)
		}
	}
	try(0, size/3)
	try(size/3, size*2/3)
	if refused != 2 {
		t.Errorf("%d of 2 damaged thirds were refused", refused)
	}
	for i := 0; i < size; i += 7 {
		try(i, i+1)
	}
	t.Logf("%d damages refused", refused)
}

// A checkpoint with a damaged manifest is neither inspected nor swapped in, and
// the state goes on.
func TestDamagedCheckpointIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	s := openState(t, mem)
	put(t, s, plain, "a", "")
	dir := s.Scratch("test")
	p, err := s.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := only(t, mem, dir, "MANIFEST")
	b := content(t, mem, path)
	for i := len(b) / 3; i < len(b)*2/3; i++ {
		b[i] ^= 0xA5
	}
	overwrite(t, mem, path, b)
	if _, err := s.Inspect(dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("inspected: %v", err)
	}
	if err := s.Replace(dir, p); !errors.Is(err, ErrCorrupt) {
		t.Errorf("replaced: %v", err)
	}
	put(t, s, plain, "b", "")
}

// frames writes records as Pebble does and returns the file and where each
// record begins.
func frames(t *testing.T, kind string, sizes []int) ([]byte, []int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(sizes)), 1))
	var file bytes.Buffer
	var begins []int
	add := func(write func([]byte) (int64, error), size func() int64) {
		for _, n := range sizes {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(1 + rng.IntN(255))
			}
			begins = append(begins, int(size()))
			if _, err := write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	offsets := framing.LogWriterConfig{WriteWALSyncOffsets: func() bool { return true }}
	var err error
	switch kind {
	case "manifest":
		w := framing.NewWriter(&file)
		add(w.WriteRecord, w.Size)
		err = w.Close()
	case "wal":
		w := framing.NewLogWriter(&file, walNumber, offsets)
		add(w.WriteRecord, w.Size)
		err = w.Close()
	case "stale":
		w := framing.NewLogWriter(&file, walNumber-1, offsets)
		add(w.WriteRecord, w.Size)
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), begins
}

const walNumber = 300

func judge(b []byte, kind string) error {
	mem := vfs.NewMem()
	f, err := mem.Create("f", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(bytes.Clone(b)); err != nil { // a writer may spoil what it is given
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	r, err := openFramed(mem, "f")
	if err != nil {
		return err
	}
	defer r.file.Close()
	if kind == "manifest" {
		return r.judgeManifest()
	}
	r.wal, r.number = true, walNumber
	return r.judgeWAL()
}

// Records of many sizes, among them such that end near the end of a block.
func frameSizes(rng *rand.Rand) []int {
	var sizes []int
	for range 2 + rng.IntN(12) {
		n := []int{rng.IntN(50), rng.IntN(3000), rng.IntN(100_000), frameBlock - rng.IntN(40)}[rng.IntN(4)]
		sizes = append(sizes, n)
	}
	return append(sizes, 100+rng.IntN(90_000))
}

// Nothing that a power loss can leave of the last record is refused: an early
// end, sectors that are zero or, in a write-ahead log, of the file's earlier
// use. A flipped byte before the last record always is.
func TestTornWriteIsNotDamage(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"manifest", "wal"} {
		t.Run(kind, func(t *testing.T) {
			for seed := range uint64(20) {
				rng := rand.New(rand.NewPCG(seed, 7))
				b, begins := frames(t, kind, frameSizes(rng))
				last := begins[len(begins)-1]
				if err := judge(b, kind); err != nil {
					t.Fatalf("seed %d: whole: %v", seed, err)
				}
				stale, _ := frames(t, "stale", frameSizes(rng))
				for range 10 {
					torn := tear(rng, b, last)
					if kind == "wal" { // the trailer is only written after the last sync
						torn = tear(rng, b[:len(b)-recycledHeader], last)
						if len(stale) > len(torn) && rng.IntN(2) == 0 {
							torn = append(torn, stale[len(torn):]...)
						}
					}
					if err := judge(torn, kind); err != nil {
						t.Fatalf("seed %d: torn in the last record, %d to %d: %v", seed, last, len(b), err)
					}
					at := rng.IntN(last)
					if padded(b, at) {
						continue
					}
					hurt := bytes.Clone(b)
					hurt[at] ^= byte(1 + rng.IntN(255))
					if err := judge(hurt, kind); !errors.Is(err, ErrCorrupt) {
						t.Fatalf("seed %d: byte %d of %d, the last record begins at %d: %v", seed, at, len(b), last, err)
					}
				}
			}
		})
	}
}

// padded reports whether a byte may be one of those that fill up a block.
func padded(b []byte, at int) bool {
	return b[at] == 0 && at%frameBlock > frameBlock-offsetHeader
}

// tear leaves of the record that begins at last what a power loss may.
func tear(rng *rand.Rand, b []byte, last int) []byte {
	end := last + rng.IntN(len(b)-last)
	if rng.IntN(2) == 0 {
		return bytes.Clone(b[:end])
	}
	torn := bytes.Clone(b)
	sector := end / diskSector * diskSector
	clear(torn[max(sector, last):min(sector+diskSector, len(torn))])
	return torn
}

package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/legate-project/legate/storage/raftlog"
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
			if err := s.current.Load().DB.Flush(); err != nil {
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
	open := func() *raftlog.Log {
		l, err := raftlog.Open(Options{Dir: "log", FS: mem})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	for i := range uint64(damageRows) {
		if err := l.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: bytes.Repeat([]byte("d"), 40)}); err != nil {
			t.Fatal(err)
		}
		if tables && i%4 == 3 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open() // what the log before held becomes a table
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

// bounds are the indexes of the oldest and the newest entry, which cannot fail.
func bounds(l *raftlog.Log) (first, last uint64) {
	first, _ = l.FirstIndex()
	last, _ = l.LastIndex()
	return first, last
}

// wholeLog opens the log: nil when every entry is there.
func wholeLog(fs vfs.FS) error {
	l, err := raftlog.Open(Options{Dir: "log", FS: fs})
	if err != nil {
		return err
	}
	first, last := bounds(l)
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
		if strings.Contains(n, part) && !strings.HasPrefix(n, "marker.") {
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
	path := only(t, mem, "log", ".log")
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

// Package damage tells files of Pebble that are damaged from what a power loss
// leaves. It reads them and changes nothing.
package damage

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// Pebble takes the first record of a manifest or of its last write-ahead log
// that is not valid for the end of the file: so looks what a power loss leaves
// of the write that was under way. Damage in the middle looks the same, and
// Pebble would open without everything that follows: with a part of the tables,
// or without entries that were acknowledged. So both files are read before
// Pebble sees them, and what no power loss can leave is refused.

// ErrCorrupt is wrapped by what says that data is damaged.
var ErrCorrupt = errors.New("storage: corrupt data")

// Names that Pebble gives to its files.
const (
	manifestMarker = "manifest" // the atomicfs marker that names the manifest
	walSuffix      = ".log"
)

// Manifest returns ErrCorrupt when the manifest that the instance in dir
// would be opened with is damaged. An instance that has none is not judged.
//
// Records are appended one by one, each synced before the next. So a power loss
// spoils the last one alone, and only by leaving out a part of it: the file
// ends early, or sectors of it are zero. A manifest is synced with its first
// record before anything names it.
func Manifest(fs vfs.FS, dir string) error {
	name, err := atomicfs.ReadMarker(fs, dir, manifestMarker)
	if errors.Is(err, os.ErrNotExist) || err == nil && name == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the manifest in %s: %w", dir, err)
	}
	path := fs.PathJoin(dir, name)
	f, err := openFramed(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // Pebble says so when it opens
	}
	if err != nil {
		return err
	}
	err = f.judgeManifest()
	return errors.Join(refuse(path, err), f.file.Close())
}

func (f *framed) judgeManifest() error {
	bad, records, err := f.intact()
	if err != nil {
		return err
	}
	if records == 0 {
		return damageAt{0}
	}
	if bad < 0 {
		return nil
	}
	follows, err := f.recordFollows(bad)
	if err != nil {
		return err
	}
	incomplete, err := f.incomplete(bad)
	if err != nil {
		return err
	}
	if follows || !incomplete {
		return damageAt{bad}
	}
	return nil
}

// WAL returns ErrCorrupt when the newest write-ahead log in dir is damaged
// before its last record. (Pebble itself is strict with the older ones.) That
// is for instances whose writes are all synced, one after the other: then a
// power loss spoils the last record alone. What that leaves cannot be told from
// a damaged last record, because the file may be an older one written over.
func WAL(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	newest, number := "", uint64(0)
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, walSuffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil && n >= number {
			newest, number = name, n
		}
	}
	if newest == "" {
		return nil
	}
	path := fs.PathJoin(dir, newest)
	f, err := openFramed(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // another process has the directory, which Pebble says when it opens
	}
	if err != nil {
		return err
	}
	f.wal, f.number = true, uint32(number)
	err = f.judgeWAL()
	return errors.Join(refuse(path, err), f.file.Close())
}

func (f *framed) judgeWAL() error {
	bad, _, err := f.intact()
	if err != nil || bad < 0 {
		return err
	}
	follows, err := f.recordFollows(bad)
	if err == nil && follows {
		err = damageAt{bad}
	}
	return err
}

// damageAt is the byte from which on a file is damaged.
type damageAt struct{ offset int64 }

// Error implements error.
func (d damageAt) Error() string { return fmt.Sprintf("damaged at byte %d", d.offset) }

// Unwrap makes it ErrCorrupt.
func (d damageAt) Unwrap() error { return ErrCorrupt }

// refuse says which file is damaged and what can be done.
func refuse(path string, err error) error {
	var damage damageAt
	if err == nil {
		return nil
	}
	if !errors.As(err, &damage) {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return fmt.Errorf("%w: %s is %w: restore the data directory from a backup, or empty it so that this server gets the state from the others",
		ErrCorrupt, path, damage)
}

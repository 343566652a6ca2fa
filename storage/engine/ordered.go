package engine

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderedFS makes a directory durable before a marker is created in it. Pebble
// creates a manifest and the marker that names it before it syncs their
// directory once; a file system that does not keep the order of directory
// entries could keep the marker alone, and the instance would not open again.
type orderedFS struct{ vfs.FS }

var _ vfs.FS = orderedFS{}

// markerFile is how the names of atomicfs markers begin.
const markerFile = "marker."

// Create implements vfs.FS.
func (fs orderedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), markerFile) {
		if err := SyncDir(fs.FS, fs.PathDir(name)); err != nil {
			return nil, fmt.Errorf("sync before the marker %s: %w", name, err)
		}
	}
	return fs.FS.Create(name, category)
}

// Unwrap implements vfs.FS.
func (fs orderedFS) Unwrap() vfs.FS { return fs.FS }

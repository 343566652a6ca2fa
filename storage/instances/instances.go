// Package instances gives the directories in that of a State their names, each once, and
// removes those that nobody needs. It does not know which these are.
package instances

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// How names begin: those of instances, and of what is being received or sent.
const (
	prefix        = "db-"
	scratchPrefix = "tmp-"
)

// First is the name of the instance that a new State begins with.
const First = prefix + "1"

// Names gives names. It is safe for concurrent use.
type Names struct {
	last    atomic.Uint64
	scratch atomic.Uint64
}

// Skip has Next not give the name of an instance that is there.
func (n *Names) Skip(name string) {
	if number, err := strconv.ParseUint(strings.TrimPrefix(name, prefix), 10, 64); err == nil {
		n.last.Store(max(number, n.last.Load()))
	}
}

// Next is the name of another instance.
func (n *Names) Next() string { return fmt.Sprintf("%s%d", prefix, n.last.Add(1)) }

// Scratch is the name of a scratch file or directory, with the moment for whoever looks.
func (n *Names) Scratch(purpose string) string {
	return fmt.Sprintf("%s%s-%d-%d", scratchPrefix, purpose, time.Now().Unix(), n.scratch.Add(1))
}

// Count has Next give none of the names in dir.
func (n *Names) Count(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	for _, name := range names {
		n.Skip(name)
	}
	return err
}

// Sweep removes all instances and scratch directories in dir but some.
func Sweep(fs vfs.FS, dir string, but ...string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		leftover := strings.HasPrefix(name, prefix) || strings.HasPrefix(name, scratchPrefix)
		if !leftover || slices.Contains(but, name) {
			continue
		}
		if err := fs.RemoveAll(fs.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

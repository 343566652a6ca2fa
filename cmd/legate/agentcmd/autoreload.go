package agentcmd

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/legate-project/legate/config"
)

// filesPeriod is how often configuration files are looked at. It is also how long
// they must be left alone: who writes several, or one in pieces, is waited for.
const filesPeriod = time.Second

// watchedFiles are the configuration files of an agent that reloads by itself.
type watchedFiles struct {
	tick         <-chan time.Time // nil if nothing is watched
	stop         func()
	look         func() string
	loaded, seen string
}

// watchFiles watches the files that were in a state when they were loaded.
func watchFiles(flags *config.Flags, on bool, loaded string) *watchedFiles {
	w := &watchedFiles{stop: func() {}, look: func() string { return stateOf(flags.Files()) }}
	if !on {
		return w
	}
	t := time.NewTicker(filesPeriod)
	w.tick, w.stop = t.C, t.Stop
	w.loaded, w.seen = loaded, loaded
	return w
}

// changed reports, once, that the files are others than those that were loaded,
// and the same as when it was asked last.
func (w *watchedFiles) changed() bool {
	now := w.look()
	settled := now == w.seen
	w.seen = now
	if !settled || now == w.loaded {
		return false
	}
	w.loaded = now
	return true
}

// stateOf stands for the content of files: a file that is written anew has another
// time, size or place.
func stateOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, "%q %d %d %v\n", file, info.Size(), info.ModTime().UnixNano(), inode(info))
	}
	return b.String()
}

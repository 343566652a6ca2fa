//go:build linux

package linear

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/legate-project/legate/internal/proctest"
)

// TestNoTwoCommandsUnderOneLock runs legate lock in many processes while
// leaders are killed and stopped. Each command leaves a mark while it runs and
// complains if it finds another one's.
func TestNoTwoCommandsUnderOneLock(t *testing.T) {
	if longRun(t) == 0 {
		t.Skip("the long form only: who dies with a lock holds it for twice 15 s, and 15 s pass until the next one gets it")
	}
	const runners, limit = 10, 2 * time.Minute
	c, dir := newCluster(t, 3, plain(t)), t.TempDir()
	script := fmt.Sprintf("cd %s; mkdir held || { echo x >> clash; exit 1; }; trap 'rmdir held' EXIT; trap 'exit 1' TERM; sleep 0.2", dir)
	for _, f := range faults()[:3] {
		calm := make(chan struct{})
		var wg sync.WaitGroup
		for i := range runners {
			n := c.nodes()[i%len(c.nodes())]
			wg.Go(func() { commands(t, c, n, script, calm, limit) })
		}
		<-time.After(2 * warmUp)
		f.strike(c, nil)
		<-time.After(3 * time.Second)
		c.heal()
		close(calm)
		began := time.Now()
		wg.Wait()
		t.Logf("%-30s all again %s after its end", f.name, time.Since(began).Round(time.Millisecond))
		if _, err := os.Stat(filepath.Join(dir, "clash")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: two commands ran at once", f.name)
		}
	}
}

// commands runs one command after another under the lock, until one that was
// begun after calm was closed succeeds.
func commands(t *testing.T, c *cluster, n *node, script string, calm <-chan struct{}, limit time.Duration) {
	pause := time.NewTicker(again)
	defer pause.Stop()
	var deadline <-chan time.Time
	for {
		last := false
		select {
		case <-calm:
			last = true
			if deadline == nil {
				deadline = time.After(limit)
			}
		default:
		}
		r := proctest.Run(t, c.home, "lock", "-http-addr=http://"+n.ip+":8500", "-child-exit-code", "commands", script)
		if r.Code == 0 && last {
			return
		}
		select {
		case <-pause.C:
		case <-deadline:
			t.Errorf("no command through %s has succeeded within %s after the fault: %s", n.name, limit, r.Stderr)
			return
		}
	}
}

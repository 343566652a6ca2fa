//go:build linux

package linear

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/legate-project/legate/internal/linear/judge"
)

// What clients saw is judged in a package of its own.
type (
	outcome  = judge.Outcome
	event    = judge.Event
	history  = judge.History
	verdict  = judge.Verdict
	shelfRow = judge.Row
)

const (
	read        = judge.Read
	consistent  = judge.Consistent
	stale       = judge.Stale
	write       = judge.Write
	swap        = judge.Swap
	remove      = judge.Remove
	together    = judge.Together
	guarded     = judge.Guarded
	clear       = judge.Clear
	seenTxn     = judge.SeenTxn
	list        = judge.List
	keysAlone   = judge.KeysAlone
	shelfPrefix = judge.ShelfPrefix
	width       = judge.Width
	done        = judge.Done
	no          = judge.No
	refused     = judge.Refused
	unknown     = judge.Unknown
	unsent      = judge.Unsent
	never       = judge.Never
)

// judgeTime is how long the search may take for one key.
const judgeTime = 60 * time.Second

// check judges every key and fails the test for each fault, with the history
// and a picture of it in files that stay.
func check(t *testing.T, h *history) {
	t.Helper()
	began := time.Now()
	keys, ops := h.ByKey(), 0
	for key, events := range keys {
		ops += len(events)
		if v := judge.Judge(key, events, judgeTime); len(v.Faults) > 0 {
			t.Errorf("key %s:\n%s\nsee %s", key, strings.Join(v.Faults[:min(len(v.Faults), 5)], "\n"), keep(t, v, judge.ModelOf(key), lines(events)))
		}
	}
	t.Logf("judged %d operations on %d keys in %s", ops, len(keys), time.Since(began).Round(time.Millisecond))
}

func lines[T fmt.Stringer](history []T) (all []string) {
	for _, one := range history {
		all = append(all, one.String())
	}
	return all
}

// keep writes down what a verdict is about.
func keep(t *testing.T, v verdict, model porcupine.Model, history []string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "legate-linear-")
	if err != nil {
		t.Fatal(err)
	}
	all := append(slices.Clone(v.Faults), history...)
	err = os.WriteFile(filepath.Join(dir, "history.txt"), []byte(strings.Join(all, "\n")+"\n"), 0o600)
	if err == nil && v.Info != nil {
		err = porcupine.VisualizePath(model, *v.Info, filepath.Join(dir, "history.html"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

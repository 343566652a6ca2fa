package consensus

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/legate-project/legate/internal/version"
	"github.com/legate-project/legate/storage"
)

var errTomorrow = errors.New("a command of tomorrow")

// older is the machine of a build that does not know commands that begin with "?", from a
// moment on.
type older struct {
	machine
	old *atomic.Bool
}

func (m older) Level(command []byte) (uint16, error) {
	if m.old.Load() && command[0] == '?' {
		return 0, errTomorrow
	}
	return 1, nil
}

// A server whose build is too old for a command stops and says so: it neither guesses
// nor goes on without. The others do not notice.
func TestWhoDoesNotKnowACommandStops(t *testing.T) {
	var olds []*atomic.Bool
	members := cluster(t, 3, func(c *Config) {
		olds = append(olds, &atomic.Bool{})
		c.Machine = older{old: olds[len(olds)-1]}
	})
	propose(t, members, "?early=1")
	lead := leader(t, members)
	for i, m := range members {
		if m == lead {
			continue
		}
		olds[i].Store(true)
		propose(t, members, "?a=1")
		if err := <-m.node.Failed(); !errors.Is(err, errTomorrow) {
			t.Errorf("it ended with %v", err)
		}
		if _, there := value(t, m.state, "?a"); there || m.state.Position().Index >= lead.state.Position().Index {
			t.Error("it applied what it does not know, or went past it")
		}
		break
	}
	propose(t, members, "?b=1")
}

// newer is the machine of a build with a level more than this one has.
type newer struct{ machine }

func (newer) Level(command []byte) (uint16, error) {
	if command[0] == 'k' {
		return version.Level + 1, nil
	}
	return 1, nil
}

// Who gets the state as a whole sees none of the commands that made it.
func TestAStateOfANewerBuildIsNotTaken(t *testing.T) {
	_, late := behind(t, func(c *Config) { c.Machine = newer{} })
	late.start()
	if err := <-late.node.Failed(); !errors.Is(err, storage.ErrNewer) {
		t.Errorf("it ended with %v", err)
	}
	if _, there := value(t, late.state, fmt.Sprint("k", 1)); there {
		t.Error("it took the state")
	}
	late.stop()
	if err := late.open(); err != nil { // with its own state, whose level it knows
		t.Fatal(err)
	}
	if err := errors.Join(late.state.Close(), late.log.Close()); err != nil {
		t.Fatal(err)
	}
}

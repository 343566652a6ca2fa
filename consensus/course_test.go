package consensus

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/legate-project/legate/internal/logging"
)

// record is a log that a test reads while it is written.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// has says whether one line has all the words.
func (r *record) has(words ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.b.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// recorded starts members whose logs are kept, by ID.
func recorded(t *testing.T, size int) ([]*member, map[string]*record) {
	t.Helper()
	logs := map[string]*record{}
	return cluster(t, size, func(c *Config) {
		logs[c.NodeID] = &record{}
		c.Logger = logging.New(logs[c.NodeID], new(slog.LevelVar), false)
		c.NameOf = func(id string) string { return "server-" + id }
	}), logs
}

func TestElectionsSayWhoWhyAndHowLong(t *testing.T) {
	members, logs := recorded(t, 3)
	lead := leader(t, members)
	rest := others(members, lead)
	eventually(t, "the first election is told by who won and who voted", func() bool {
		for _, m := range rest {
			if !logs[m.id].has("a leader is known", "leader=server-"+lead.id, "term=", "absent=") {
				return false
			}
		}
		return logs[lead.id].has("this server begins an election", `why="no leader was heard since the start"`) && logs[lead.id].has("this server won the election", "term=", "took=") &&
			(logs[rest[0].id].has("asked for its vote", "candidate=server-"+lead.id, "granted=true") || logs[rest[1].id].has("asked for its vote", "candidate=server-"+lead.id, "granted=true"))
	})
	lead.net.cut(lead.id)
	next := leader(t, rest)
	eventually(t, "the second says why it began", func() bool {
		return logs[next.id].has("this server begins an election", `why="no word from the leader"`, "leader=server-"+lead.id, "last_contact=") &&
			logs[next.id].has("a leader is known", "leader=server-"+next.id, "absent=")
	})
	eventually(t, "who is alone says that it knows none, and asks in vain", func() bool {
		return logs[lead.id].has("level=WARN", "no leader is known", "was=server-"+lead.id) &&
			logs[lead.id].has("this server begins an election", "this server led")
	})
	lead.net.heal(lead.id)
	eventually(t, "it says who leads now, and that it lost", func() bool {
		return logs[lead.id].has("a leader is known", "leader=server-"+next.id, "absent=") && logs[lead.id].has("this server lost the election", "took=")
	})
}

func TestAnElectionOfATransferSaysSo(t *testing.T) {
	members, logs := recorded(t, 2)
	lead := leader(t, members)
	if err := lead.node.TransferLeadership(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	next := others(members, lead)[0]
	eventually(t, "the next one says why it began", func() bool {
		return logs[next.id].has("this server begins an election", `why="the leader hands over to this server"`, "leader=server-"+lead.id)
	})
}

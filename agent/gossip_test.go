package agent

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/gossip"
)

// A server that comes and goes has one line when that is noticed and one when it is
// over, from who notices; not two for each time.
func TestMembersThatComeAndGoAreNotLoggedEachTime(t *testing.T) {
	var out bytes.Buffer
	a := &Agent{log: slog.New(slog.NewTextHandler(&out, nil))}
	damped := func(name string) bool { return name == "b1.dc2" }
	for range 100 {
		for _, kind := range []gossip.Kind{gossip.Join, gossip.Fail} {
			a.logEvent("WAN", gossip.Event{Kind: kind, Members: []gossip.Member{{Name: "b1.dc2"}}}, damped)
		}
	}
	if out.Len() > 0 {
		t.Errorf("a damped server has lines:\n%s", out.String())
	}
	for _, kind := range []gossip.Kind{gossip.Join, gossip.Fail, gossip.Leave, gossip.Reap} {
		a.logEvent("WAN", gossip.Event{Kind: kind, Members: []gossip.Member{{Name: "b2.dc2"}}}, damped)
	}
	a.logEvent("WAN", gossip.Event{Kind: gossip.Leave, Members: []gossip.Member{{Name: "b1.dc2"}}}, damped)
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("%d lines of 5:\n%s", n, out.String())
	}
}

package consensus

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// waiting counts who waits for a server to return, in all of the process: tests that use it
// do not run beside others.
func waiting() int {
	b := make([]byte, 4<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "awaitReturn(")
}

// Whoever waits for a server to return does so no more when that is removed, or when this
// node leads no more or stops.
func TestNobodyWaitsForWhoWillNotReturn(t *testing.T) {
	for name, end := range map[string]func(lead, other *member, dead string) error{
		"removed": func(lead, _ *member, dead string) error { return lead.node.RemoveServer(lead.t.Context(), dead) },
		"another leads": func(lead, other *member, _ string) error {
			eventually(lead.t, "another leads", func() bool { return lead.node.TransferLeadership(lead.t.Context(), "") == nil })
			other.stop() // which waits, too
			return nil
		},
		"stopped": func(lead, _ *member, _ string) error { lead.stop(); return nil },
		"cut off": func(lead, _ *member, _ string) error { lead.net.cut(lead.id); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			members := clusterOn(t, newNetwork(), 3, nil)
			propose(t, members, "early=1")
			lead := leader(t, members)
			dead := members[slices.IndexFunc(members, func(m *member) bool { return m != lead })]
			dead.stop()
			members = slices.DeleteFunc(members, func(m *member) bool { return m == dead })
			eventually(t, "somebody waits for it", func() bool { propose(t, members, "late=1"); return waiting() > 0 })
			lead = leader(t, members)
			other := members[slices.IndexFunc(members, func(m *member) bool { return m != lead })]
			if err := end(lead, other, dead.id); err != nil && !errors.Is(err, ErrLost) {
				t.Fatal(err)
			}
			eventually(t, "nobody waits", func() bool { return waiting() == 0 })
		})
	}
}

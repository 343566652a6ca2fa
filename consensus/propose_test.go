package consensus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/legate-project/legate/storage"
)

// gated applies commands only while its gate is open.
type gated struct {
	machine
	gate chan struct{} // closed: open
}

func (g gated) Apply(tx *storage.Txn, command []byte) (any, error) {
	<-g.gate
	return g.machine.Apply(tx, command)
}

// While an entry is with Raft few commands wait and share the next one; many go
// beside it. All are answered.
func TestCommandsGatherBehindAnEntry(t *testing.T) {
	g := gated{gate: make(chan struct{})}
	members := cluster(t, 1, func(c *Config) { c.Machine = g })
	lead := leader(t, members)
	var sent []*proposal
	send := func(n int) {
		for range n {
			p := &proposal{command: fmt.Appendf(nil, "k%d=v", len(sent)), done: make(chan result, 1)}
			sent = append(sent, p)
			lead.node.queue <- p
		}
		eventually(t, "all are taken up", func() bool { return len(lead.node.queue) == 0 })
	}
	entries := func() uint64 { last, _ := lead.log.LastIndex(); return last }
	before := entries()
	send(1)
	eventually(t, "the first goes alone", func() bool { return entries() == before+1 })
	send(besideCommands - 2)
	given := &proposal{command: []byte("given=up"), done: make(chan result, 1)}
	lead.node.queue <- given
	eventually(t, "it is taken up", func() bool { return len(lead.node.queue) == 0 })
	if _, err := given.giveUp(context.Canceled); !errors.Is(err, context.Canceled) || errors.Is(err, ErrLost) {
		t.Errorf("who gives up before Raft has the command gets %v; want to be sure that nothing happened", err)
	}
	if n := entries(); n != before+1 {
		t.Errorf("%d entries for so few commands", n-before)
	}
	send(1)
	eventually(t, "many go beside the first", func() bool { return entries() == before+2 })
	send(3)
	close(g.gate)
	for _, p := range sent {
		if r := <-p.done; r.err != nil {
			t.Fatal(r.err)
		}
	}
	if n := entries(); n != before+3 {
		t.Errorf("%d entries; want one of 1, one of %d and one of 3 commands", n-before, besideCommands-1)
	}
	if has(t, lead, "given", "up") {
		t.Error("a command was applied that its caller gave up")
	}
}

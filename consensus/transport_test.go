package consensus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// All connections of a group are replaced under load, and nobody notices: the leader
// stays, and no write fails.
func TestConnectionsAreRenewedUnderLoad(t *testing.T) {
	var members []*member
	var servers []Server
	var transports []*TCPTransport
	for i := range 3 {
		m := newMember(t, nil, fmt.Sprint("n", i), vfs.NewMem())
		tr, ok := tcp(t, nil).(*TCPTransport)
		if !ok {
			t.Fatal("no transport over TCP")
		}
		m.tune = func(c *Config) { c.Transport = tr; c.Timing = Timing{} }
		m.start()
		members, transports = append(members, m), append(transports, tr)
		servers = append(servers, Server{ID: m.id, Address: string(tr.LocalAddr()), Voter: true})
	}
	if err := members[0].node.Bootstrap(servers); err != nil {
		t.Fatal(err)
	}
	propose(t, members, "a=1")
	lead := leader(t, members)
	term := lead.node.raft.CurrentTerm()
	var old []net.Conn
	for _, tr := range transports {
		tr.conns.mu.Lock()
		for c := range tr.conns.began {
			old = append(old, c)
		}
		tr.conns.mu.Unlock()
	}

	end, writes := make(chan struct{}), 0
	var load, renewals sync.WaitGroup
	load.Go(func() {
		for ; ; writes++ {
			select {
			case <-end:
				return
			default:
			}
			if _, err := lead.node.Propose(context.Background(), fmt.Appendf(nil, "b=%d", writes)); err != nil {
				t.Errorf("write %d: %v", writes, err)
				return
			}
		}
	})
	for _, tr := range transports {
		renewals.Go(func() { tr.Renew(t.Context()) })
	}
	renewals.Wait()
	for _, c := range old {
		if err := c.SetDeadline(time.Now().Add(time.Hour)); err == nil { // it is not closed
			t.Errorf("a connection from %s to %s is still there", c.LocalAddr(), c.RemoteAddr())
		}
	}
	close(end)
	load.Wait()
	if now := lead.node.raft.CurrentTerm(); now != term || writes < 100 {
		t.Errorf("term %d became %d, %d writes", term, now, writes)
	}
}

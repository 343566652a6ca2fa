package limits

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/admission"
)

// enter says how many connections of one address a gate lets in.
func enter(g *admission.Gate, host string) (n int, why error) {
	for ; n < 2000; n++ {
		p, err := g.Enter(&net.TCPAddr{IP: net.ParseIP(host), Port: n})
		if err != nil {
			return n, err
		}
		p.Proven()
	}
	return n, nil
}

func TestAReloadChangesLimits(t *testing.T) {
	c := config.Limits{HTTPMaxConnsPerClient: 3, RPCMaxConnsPerClient: 4, RPCHandshakeTimeout: time.Second, RPCClientTimeout: time.Minute, RPCRate: -1, RPCMaxBurst: 7}
	l, err := New(c, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	check := func(host string, http, rpc int) {
		t.Helper()
		for name, g := range map[string]struct {
			gate *admission.Gate
			want int
		}{"HTTP": {l.HTTP, http}, "RPC": {l.RPC, rpc}, "Raft": {l.Raft, rpc}} {
			if n, err := enter(g.gate, host); n != g.want || !errors.Is(err, admission.ErrAddress) {
				t.Errorf("%s lets %d of an address in, then %v: want %d", name, n, err, g.want)
			}
		}
	}
	check("10.0.0.1", 3, 4)
	if l.Handshake() != time.Second || l.Timeout() != time.Minute || l.Calls.Limit() != rate.Inf {
		t.Errorf("%v, %v, %v", l.Handshake(), l.Timeout(), l.Calls.Limit())
	}
	l.Set(config.Limits{HTTPMaxConnsPerClient: 5, RPCMaxConnsPerClient: 6, RPCHandshakeTimeout: 2 * time.Second, RPCClientTimeout: time.Hour, RPCRate: 10, RPCMaxBurst: 20})
	check("10.0.0.2", 5, 6)
	if l.Handshake() != 2*time.Second || l.Timeout() != time.Hour || l.Calls.Limit() != 10 || l.Calls.Burst() != 20 {
		t.Errorf("%v, %v, %v, %v", l.Handshake(), l.Timeout(), l.Calls.Limit(), l.Calls.Burst())
	}
	if n, err := enter(l.Gossip, "10.0.0.1"); n != gossipEach || !errors.Is(err, admission.ErrAddress) {
		t.Errorf("gossip lets %d of an address in, then %v", n, err)
	}
}

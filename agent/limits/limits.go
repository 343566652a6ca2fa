// Package limits is the limits block of the configuration at work: how many connections
// each port takes, how long they may take to be made, and how many calls a client agent
// makes. A reload changes what it says while the agent runs.
package limits

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/admission"
	"github.com/legate-project/legate/transport/entrance"
)

// Bounds that no configuration changes.
const (
	// rpcTotal bounds the connections of agents to a server, one of each: a tenth of a MiB each.
	rpcTotal = 16384
	// raftTotal and raftProving bound Raft's connections: each server has some five to
	// each other one.
	raftTotal   = 512
	raftProving = 128
	// gossipTotal and gossipEach bound the TCP connections of LAN gossip, each of which
	// lives for as long as an exchange of states: memberlist takes part in 128 of them.
	gossipTotal = 256
	gossipEach  = 32
	// httpTotal bounds HTTP connections of all clients, some 16 KiB each while they are
	// idle; where fewer files may be open it is half of those, so that storage and
	// gossip keep theirs.
	httpTotal = 16384
)

// Limits of an agent. It is safe for concurrent use.
type Limits struct {
	// Gates of the ports: RPC and Raft are those of a server in its datacenter, WAN is
	// that between datacenters.
	RPC, Raft, WAN, Gossip, HTTP *admission.Gate
	// Calls is the rate of a client agent's calls to servers.
	Calls *rate.Limiter

	handshake, timeout atomic.Int64 // nanoseconds
}

// New returns what the configuration says.
func New(c config.Limits, reg prometheus.Registerer) (*Limits, error) {
	m, err := admission.NewMetrics(reg)
	if err != nil {
		return nil, err
	}
	rpc := entrance.Bounds()
	rpc.Total = rpcTotal
	l := &Limits{
		RPC:    admission.New(rpc, m.Refused("rpc")),
		Raft:   admission.New(admission.Bounds{Total: raftTotal, Proving: raftProving}, m.Refused("raft")),
		WAN:    admission.New(entrance.Bounds(), m.Refused("wan")),
		Gossip: admission.New(admission.Bounds{Total: gossipTotal, Each: gossipEach}, m.Refused("gossip")),
		HTTP:   admission.New(admission.Bounds{Total: min(httpTotal, admission.OpenFiles()/2)}, m.Refused("http")),
		Calls:  rate.NewLimiter(callRate(c), c.RPCMaxBurst),
	}
	l.Set(c)
	return l, nil
}

// Set changes what a reload changes. Connections that are open stay so.
func (l *Limits) Set(c config.Limits) {
	l.RPC.SetEach(c.RPCMaxConnsPerClient)
	l.Raft.SetEach(c.RPCMaxConnsPerClient)
	l.HTTP.SetEach(c.HTTPMaxConnsPerClient)
	l.handshake.Store(int64(c.RPCHandshakeTimeout))
	l.timeout.Store(int64(c.RPCClientTimeout))
	l.Calls.SetLimit(callRate(c))
	l.Calls.SetBurst(c.RPCMaxBurst)
}

func callRate(c config.Limits) rate.Limit {
	if c.RPCRate > 0 {
		return rate.Limit(c.RPCRate)
	}
	return rate.Inf
}

// Handshake is how long the handshake of a connection between agents may take.
func (l *Limits) Handshake() time.Duration { return time.Duration(l.handshake.Load()) }

// Timeout is how long a call of a client agent may take that does not block.
func (l *Limits) Timeout() time.Duration { return time.Duration(l.timeout.Load()) }

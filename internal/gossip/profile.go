package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// Profile is a pace of gossip.
type Profile int

// The profiles. Local is for one machine: tests and development.
const (
	LAN Profile = iota
	WAN
	Local
)

const (
	// minQueueDepth is how many broadcasts wait before the oldest are
	// dropped; large pools keep twice their size.
	minQueueDepth = 4096
	// queueDepthWarning is above what could be warned about in vain: many
	// broadcasts wait while a large pool starts.
	queueDepthWarning = 1_000_000
	// reconnectTimeout is how long a failed member is tried again.
	reconnectTimeout = 72 * time.Hour
	// leavePropagateDelay is how long a leaving node stays to spread the word.
	leavePropagateDelay = 3 * time.Second
	// wanProbeInterval and wanProbeTimeout are less than memberlist's 5 s and
	// 3 s: a failure is known in two thirds of the time, coordinates settle as
	// much faster, and in the simulation (docs/gossip.md) still no live server
	// fails. No round trip on Earth is as long as the timeout.
	wanProbeInterval = 3 * time.Second
	wanProbeTimeout  = 1500 * time.Millisecond
	// wanIndirectChecks is through how many others a server is asked that does
	// not answer. Two datacenters may be unable to reach each other while all
	// others reach both: of three datacenters of three servers four can not
	// help, and memberlist's 3 are often among these four.
	wanIndirectChecks = 8
	// deadNodeReclaim is how long after its failure the name of a node may come
	// back with another address. It only keeps a duplicate of a name from taking
	// the place of a node that fails for a moment; a server that was started
	// again elsewhere has no vote until then.
	deadNodeReclaim = 5 * time.Second
)

// apply sets Serf's and memberlist's pace.
func (p Profile) apply(conf *serf.Config) (*memberlist.Config, error) {
	conf.MinQueueDepth = minQueueDepth
	conf.QueueDepthWarning = queueDepthWarning
	conf.ReconnectTimeout = reconnectTimeout
	conf.LeavePropagateDelay = leavePropagateDelay
	var ml *memberlist.Config
	switch p {
	case LAN:
		ml = memberlist.DefaultLANConfig()
		conf.ReconnectInterval = 10 * time.Second
	case WAN:
		ml = memberlist.DefaultWANConfig()
		ml.ProbeInterval, ml.ProbeTimeout = wanProbeInterval, wanProbeTimeout
		ml.IndirectChecks = wanIndirectChecks
		// A datacenter that was cut off is whole again within seconds.
		conf.ReconnectInterval = 3 * time.Second
	case Local:
		ml = local(conf)
	default:
		return nil, fmt.Errorf("unknown gossip profile %d", p)
	}
	if p != Local {
		ml.DeadNodeReclaimTime = deadNodeReclaim
	}
	return ml, nil
}

func local(conf *serf.Config) *memberlist.Config {
	ml := memberlist.DefaultLocalConfig()
	ml.ProbeInterval = 200 * time.Millisecond
	ml.ProbeTimeout = 150 * time.Millisecond
	ml.GossipInterval = 20 * time.Millisecond
	ml.PushPullInterval = 2 * time.Second
	ml.TCPTimeout = 2 * time.Second
	ml.SuspicionMaxTimeoutMult = 2
	ml.AwarenessMaxMultiplier = 3
	ml.DeadNodeReclaimTime = time.Second
	conf.ReconnectInterval = 500 * time.Millisecond
	conf.ReapInterval = time.Second
	conf.LeavePropagateDelay = 100 * time.Millisecond
	conf.BroadcastTimeout = time.Second
	return ml
}

// Timing overrides a profile; zero keeps it.
type Timing struct {
	GossipInterval      time.Duration
	GossipNodes         int
	ProbeInterval       time.Duration
	ProbeTimeout        time.Duration
	SuspicionMult       int
	RetransmitMult      int
	PushPullInterval    time.Duration
	ReconnectInterval   time.Duration // how often a failed member is tried
	ReconnectTimeout    time.Duration // until it is forgotten
	LeavePropagateDelay time.Duration
}

func (t Timing) apply(conf *serf.Config, ml *memberlist.Config) {
	set(&ml.GossipInterval, t.GossipInterval)
	set(&ml.GossipNodes, t.GossipNodes)
	set(&ml.ProbeInterval, t.ProbeInterval)
	set(&ml.ProbeTimeout, t.ProbeTimeout)
	set(&ml.SuspicionMult, t.SuspicionMult)
	set(&ml.RetransmitMult, t.RetransmitMult)
	set(&ml.PushPullInterval, t.PushPullInterval)
	set(&conf.ReconnectInterval, t.ReconnectInterval)
	set(&conf.ReconnectTimeout, t.ReconnectTimeout)
	set(&conf.LeavePropagateDelay, t.LeavePropagateDelay)
}

func set[T comparable](field *T, v T) {
	var zero T
	if v != zero {
		*field = v
	}
}

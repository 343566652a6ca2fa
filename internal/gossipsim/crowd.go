package gossipsim

import (
	"fmt"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// Crowd is what gossip among the agents of one datacenter does and costs.
type Crowd struct {
	Members                     int
	Joined, FirstFailed, Failed time.Duration // as in News
	Bytes, Packets              float64       // sent by a member in a second, when nothing happens
	Wrong                       int           // live members taken for failed
}

const (
	crowdSettles  = time.Minute
	crowdCalm     = 4 * time.Minute // in which each member exchanges its state with another, however large the pool
	crowdPatience = time.Minute
)

// Gather has one more join a crowd, lets calm minutes pass and parts that one from all.
func Gather(f *Federation) (Crowd, error) {
	f.Run(crowdSettles)
	began := time.Now()
	added, err := f.Add(0)
	if err != nil {
		return Crowd{}, err
	}
	f.Run(crowdSettles)
	c := Crowd{Members: len(f.Servers)}
	var ok bool
	if _, c.Joined, ok = f.Spread(gossip.Join, added.Name, began); !ok {
		return c, fmt.Errorf("%s joined: %w", added.Name, ErrNotYet)
	}
	c.Bytes, c.Packets = f.rate(func() { f.Run(crowdCalm) })
	at := time.Now()
	f.Freeze(added, true)
	f.Run(crowdPatience)
	if c.FirstFailed, c.Failed, ok = f.Spread(gossip.Fail, added.Name, at); !ok {
		return c, fmt.Errorf("%s failed: %w", added.Name, ErrNotYet)
	}
	_, c.Wrong = f.Failures(began, added)
	return c, nil
}

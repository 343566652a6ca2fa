package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/legate-project/legate/agent/cloudjoin"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/internal/gossip"
)

// startJoins begins to look for other members, as long as configured.
func (a *Agent) startJoins() error {
	if a.dir.moved {
		a.log.Info("this node has moved, introducing it at its new address", "address", a.cfg.AdvertiseAddr, "address_wan", a.cfg.AdvertiseAddrWAN)
		if err := a.introduce("lan", a.lan); err != nil {
			return err
		}
		if a.server != nil && a.server.wan != nil {
			if err := a.introduce("wan", a.server.wan); err != nil {
				return err
			}
		}
	}
	c := a.cfg
	err := a.startJoin(joiner{pool: "lan", entries: c.RetryJoin, port: c.Ports.SerfLAN, interval: c.RetryInterval, most: c.RetryMax, join: a.lan.Join, members: a.lan.Members})
	if err != nil || a.server == nil || a.server.wan == nil {
		return err
	}
	return a.startJoin(joiner{pool: "wan", entries: c.RetryJoinWAN, port: c.Ports.SerfWAN, interval: c.RetryIntervalWAN, most: c.RetryMaxWAN, join: a.server.wan.Join, members: a.server.wan.Members,
		sooner: a.server.ways.Reached()})
}

// errOnlyThisNode is why nobody is joined when a cloud shows nobody else: so it
// is for the first node.
var errOnlyThisNode = errors.New("only this node is there")

// finder finds the addresses that clouds know.
type finder interface {
	Addrs(ctx context.Context) ([]string, error)
}

var _ finder = (*cloudjoin.Finder)(nil)

// joiner looks for the members of one pool.
type joiner struct {
	pool     string
	entries  []string // addresses, and clouds to ask for addresses
	interval time.Duration
	most     int // tries; 0 has no end
	join     func([]string) (int, error)
	members  func() []gossip.Member
	sooner   <-chan struct{} // says that another try may succeed now; nil for never
	plain    []string        // of entries, the addresses
	find     finder          // of the clouds among them; nil for none
	port     int             // of this node in the pool
	own      []string        // this node's addresses, as clouds show them
}

// startJoin tries to join until a member answers. With a bound on the tries,
// the agent gives up after the last.
func (a *Agent) startJoin(j joiner) error {
	if len(j.entries) == 0 {
		return nil
	}
	var clouds []config.CloudJoin
	for _, e := range j.entries {
		if !config.IsCloudJoin(e) {
			j.plain = append(j.plain, e)
			continue
		}
		cloud, err := config.ParseCloudJoin(e)
		if err != nil {
			return err
		}
		clouds = append(clouds, cloud)
	}
	if len(clouds) > 0 {
		j.find = cloudjoin.NewFinder(clouds)
	}
	for _, addr := range []string{a.cfg.AdvertiseAddr, a.cfg.AdvertiseAddrWAN} {
		j.own = append(j.own, addr, net.JoinHostPort(addr, strconv.Itoa(j.port)))
	}
	return a.group.Go("join "+j.pool, func(ctx context.Context) {
		log := a.log.With("pool", j.pool)
		shown := config.JoinEntriesToShow(j.entries)
		for tries := 0; ; {
			n, err := j.try(ctx)
			switch {
			case n > 0:
				log.Info("joined", "members", n)
				if err != nil {
					log.Warn("some entries gave no address", "error", err)
				}
				return
			case ctx.Err() != nil:
				return
			case !errors.Is(err, errOnlyThisNode):
				tries++
			}
			if j.most > 0 && tries >= j.most {
				a.finish(&FatalError{fmt.Errorf("no member of the %s pool answered at %v in %d tries: %w", j.pool, shown, tries, err)})
				return
			}
			log.Warn("no member answered, trying again", "addresses", shown, "again_in", j.interval, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(j.interval):
			case <-j.sooner:
			}
		}
	})
}

// try joins through what can be found now: first through addresses, which need no
// cloud to answer. Clouds are asked each time: members come and go while nobody
// answers.
func (j *joiner) try(ctx context.Context) (n int, err error) {
	if len(j.plain) > 0 {
		n, err = j.join(j.plain)
	}
	if n > 0 || j.find == nil {
		return n, err
	}
	addrs, found := j.find.Addrs(ctx)
	// A cloud shows this node too. To join itself would end the search.
	addrs = slices.DeleteFunc(addrs, func(addr string) bool { return slices.Contains(j.own, addr) })
	if len(addrs) > 0 {
		var failed error
		n, failed = j.join(addrs)
		found = errors.Join(failed, found)
	}
	if len(j.members()) < 2 { // it may show this node at an address that this node does not know
		n = 0
	}
	if n == 0 && err == nil && found == nil {
		found = errOnlyThisNode
	}
	return n, errors.Join(err, found)
}

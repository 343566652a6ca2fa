package gossipsim

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

// Churn is what a federation saw of its servers while some of them came and went.
type Churn struct {
	Servers, Events int
	// Longest is for how long one live server took another one for anything but alive,
	// counted from when both were there and reached each other.
	Longest time.Duration
	Who     string // of which two that is so
	// False is how often one live server took another one for failed, both of which had been
	// there, and reached each other, for longer than any suspicion lasts.
	False int
	Wrong string // the last of them
	// Lost are pairs of live servers of which the first does not know the second as alive
	// in the end, Undead those of which the second is gone.
	Lost, Undead []string
}

// sample is how often it is looked who takes whom for what.
const sample = 5 * time.Second

// outlasted is longer than a suspicion lasts that nobody confirms: 192 s among 60 servers, 240 s among
// 168, and a sixth of that when many say the same. It is memberlist's formula with its numbers and the
// probe interval of the WAN pools.
func outlasted(servers int) time.Duration {
	const most, every = 6 * 6, 3 * time.Second
	return time.Duration(most*max(math.Log10(float64(servers)), math.Log10(60))*float64(every)) + 8*time.Second
}

// turnover is one server that is about to change.
type turnover struct {
	at time.Time
	do func() error
}

// turning are servers that come and go.
type turning struct {
	*Federation
	rng     *rand.Rand
	out     Churn
	later   []turnover
	whole   map[*Server]time.Time    // since when it is there and reached
	missing map[[2]*Server]time.Time // since when the first takes the second for what it is not
	away    map[*Server]bool         // frozen now
}

// Churn lets time pass in which each hour so many servers, chosen at random, are killed
// and replaced by new ones, are killed and come back, leave and are replaced, or are cut
// off and come back, in turn. Nothing changes in the last settling part.
func (f *Federation) Churn(d time.Duration, perHour int, settling time.Duration) (Churn, error) {
	f.Run(2 * time.Minute)
	c := &turning{Federation: f, rng: rand.New(rand.NewPCG(f.spec.Seed, 1)), whole: map[*Server]time.Time{}, missing: map[[2]*Server]time.Time{}, away: map[*Server]bool{}}
	for _, s := range f.Servers {
		c.whole[s] = time.Now()
	}
	pause := time.Hour / time.Duration(perHour)
	end := time.Now().Add(d)
	next := time.Now().Add(pause)
	for now := time.Now(); now.Before(end); now = time.Now() {
		if now.After(next) && now.Before(end.Add(-settling)) {
			if err := c.turn(c.out.Events); err != nil {
				return c.out, err
			}
			c.out.Events++
			next = now.Add(pause/2 + time.Duration(c.rng.Int64N(int64(pause))))
		}
		due := c.later
		c.later = nil
		for _, t := range due {
			if now.Before(t.at) {
				c.later = append(c.later, t)
			} else if err := t.do(); err != nil {
				return c.out, err
			}
		}
		f.Run(sample)
		c.look(time.Now())
	}
	c.out.Servers = len(f.Servers)
	c.end()
	return c.out, nil
}

// turn has one server change, by the kind of its number.
func (c *turning) turn(kind int) error {
	var there []*Server
	for _, s := range c.Servers {
		if !c.away[s] {
			there = append(there, s)
		}
	}
	s := there[c.rng.IntN(len(there))]
	back := time.Now().Add(time.Minute + time.Duration(c.rng.Int64N(int64(9*time.Minute))))
	again := func() error { n, err := c.start(s.i, s.n); c.arrived(n, err); return err }
	fresh := func() error { n, err := c.Add(s.i); c.arrived(n, err); return err }
	switch kind % 4 {
	case 0:
		c.kill(s)
		c.later = append(c.later, turnover{back, fresh})
	case 1:
		c.kill(s)
		c.later = append(c.later, turnover{back, again})
	case 2:
		if err := s.Pool.Leave(); err != nil {
			return fmt.Errorf("%s leaves: %w", s.Name, err)
		}
		c.kill(s)
		c.later = append(c.later, turnover{back, fresh})
	case 3:
		c.Freeze(s, true)
		c.away[s] = true
		delete(c.whole, s)
		c.later = append(c.later, turnover{back, func() error {
			c.Freeze(s, false)
			delete(c.away, s)
			c.whole[s] = time.Now()
			return nil
		}})
	}
	return nil
}

// kill ends a server, which tells nobody.
func (c *turning) kill(s *Server) {
	c.Freeze(s, true)
	_ = s.Pool.Stop(context.Background()) // nobody hears of it
	c.Servers = slices.DeleteFunc(c.Servers, func(o *Server) bool { return o == s })
	delete(c.whole, s)
}

func (c *turning) arrived(s *Server, err error) {
	if err == nil {
		c.whole[s] = time.Now()
	}
}

// look notes who takes a live server for something else, and since when.
func (c *turning) look(now time.Time) {
	for _, from := range c.Servers {
		since, there := c.whole[from]
		if !there {
			continue
		}
		status := map[string]gossip.Status{}
		for _, m := range from.Pool.Members() {
			status[m.Name] = m.Status
		}
		for _, to := range c.Servers {
			both, there := c.whole[to]
			pair := [2]*Server{from, to}
			if !there || status[to.Name] == gossip.Alive {
				delete(c.missing, pair)
				continue
			}
			if both.Before(since) {
				both = since
			}
			if _, known := c.missing[pair]; !known {
				c.missing[pair] = both
				if now.Sub(both) > 2*sample && status[to.Name] == gossip.Failed {
					c.missing[pair] = now
				}
				if now.Sub(both) > outlasted(len(c.Servers)) && status[to.Name] == gossip.Failed {
					c.out.False++
					c.out.Wrong = fmt.Sprintf("%s takes %s for failed, after %v", from.Name, to.Name, now.Sub(both))
				}
			}
			if took := now.Sub(c.missing[pair]); took > c.out.Longest {
				c.out.Longest, c.out.Who = took, fmt.Sprintf("%s takes %s for %s", from.Name, to.Name, status[to.Name])
			}
		}
	}
}

// end looks at what everybody knows when nothing has changed for a while.
func (c *turning) end() {
	live := map[string]bool{}
	for _, s := range c.Servers {
		live[s.Name] = true
	}
	for _, from := range c.Servers {
		seen := map[string]bool{}
		for _, m := range from.Pool.Members() {
			if m.Status == gossip.Alive {
				seen[m.Name] = true
				if !live[m.Name] {
					c.out.Undead = append(c.out.Undead, from.Name+" "+m.Name)
				}
			}
		}
		for name := range live {
			if !seen[name] {
				c.out.Lost = append(c.out.Lost, from.Name+" "+name)
			}
		}
	}
}

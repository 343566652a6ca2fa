package copies

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/storage"
)

const (
	// disagreesFor is how long a datacenter that named another home counts as one that
	// does, after it did: who is refused asks again each few seconds.
	disagreesFor = time.Minute
	// movesIn is how long it must have done so to be told of: when the home moves some hear
	// of it sooner than others.
	movesIn = 5 * time.Second
	// warnEvery is how often the log says so while it goes on.
	warnEvery = 10 * time.Minute
	// maxDisagreeing bounds the datacenters that are remembered.
	maxDisagreeing = 1024
)

// disagreements are the other datacenters that filter by the records of another home.
type disagreements struct {
	mu sync.Mutex
	by map[string]disagreement // by datacenter
}

type disagreement struct {
	home              string // the one that it names
	since, last, said time.Time
}

// lasts reports whether it is more than a move that not everybody has heard of.
func (d disagreement) lasts(now time.Time) bool {
	return now.Sub(d.last) <= disagreesFor && now.Sub(d.since) >= movesIn
}

// Filters names the home by whose records callers see here what is kept of other
// datacenters; false where access is not controlled, or that is not known. A datacenter
// that was a home itself, rightly or by mistake, names itself until the copies of the
// home have taken the place of what was written here.
func (c *Copies) Filters() (home string, ok bool) {
	if !c.cfg.Enabled {
		return "", false
	}
	home, err := c.read(c.filters)
	return home, err == nil
}

func (c *Copies) filters(r storage.Reader) (string, error) {
	home, err := c.takes(r)
	if err != nil || home == c.cfg.Datacenter {
		return home, err
	}
	h, err := acl.FindHome(r)
	if err != nil || h.Away && !h.Own {
		return home, err
	}
	switch awaited, err := c.Awaited(r); {
	case err != nil:
		return "", err
	case awaited != "": // which is asked what each secret stands for
		return awaited, nil
	}
	return c.cfg.Datacenter, nil
}

// takes is which datacenter this one takes for the home; itself as long as it is not
// known whether another one has taken the role over.
func (c *Copies) takes(r storage.Reader) (string, error) {
	home, err := c.Home(r)
	if op.CodeOf(err) == op.CodeMoved {
		return c.noted().Datacenter, nil
	}
	return home, err
}

// Agrees refuses to show a datacenter what everybody here may see together, unless it
// filters by the records of the home that this datacenter has. Servers of earlier
// versions name none.
func (c *Copies) Agrees(datacenter, home string) error {
	if home == "" {
		return nil
	}
	own, err := c.read(c.takes)
	if err != nil {
		return err
	}
	if home == own {
		return nil
	}
	c.disagreed(datacenter, home, own)
	return &op.Error{Code: op.CodeUnsupported, Datacenter: c.cfg.Datacenter, Text: otherHome(datacenter, home, c.cfg.Datacenter, own) +
		". It is shown only what a token may see, when it is asked"}
}

// Lost refuses a datacenter that was the home when it began to follow, and is not any
// more: what it filters by may not be what the home has.
func (c *Copies) Lost(datacenter, home string) error {
	if home == "" || home != datacenter {
		return nil
	}
	own, err := c.read(c.takes)
	if err == nil && own != home {
		err = op.Errorf(op.CodeLost, "datacenter %s is not the home of access control any more: begin anew", home)
	}
	return err
}

func otherHome(datacenter, home, here, own string) string {
	return fmt.Sprintf("two homes of access control: datacenter %s takes %s for it, and %s takes %s. "+
		"Have primary_datacenter name the same one on all servers of all datacenters, and see legate federation primary", datacenter, home, here, own)
}

func (c *Copies) disagreed(datacenter, home, own string) {
	if c.disagree.note(datacenter, home, time.Now()) {
		c.log.Warn(otherHome(datacenter, home, c.cfg.Datacenter, own), "peer_datacenter", datacenter)
	}
}

// note remembers what a datacenter named, and reports whether the log is to say so.
func (d *disagreements) note(datacenter, home string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, known := d.by[datacenter]
	if !known && len(d.by) >= maxDisagreeing {
		maps.DeleteFunc(d.by, func(_ string, e disagreement) bool { return now.Sub(e.last) > disagreesFor })
		if len(d.by) >= maxDisagreeing {
			return false
		}
	}
	if !known || e.home != home || now.Sub(e.last) > disagreesFor {
		e = disagreement{home: home, since: now}
	}
	e.last = now
	say := e.lasts(now) && now.Sub(e.said) > warnEvery
	if say {
		e.said = now
	}
	d.by[datacenter] = e
	return say
}

// Disagreeing says which other datacenters go on naming another home, and which.
func (c *Copies) Disagreeing() map[string]string {
	d := &c.disagree
	d.mu.Lock()
	defer d.mu.Unlock()
	out, now := map[string]string{}, time.Now()
	for dc, e := range d.by {
		if e.lasts(now) {
			out[dc] = e.home
		}
	}
	return out
}

// fault says in one line that there are two homes; nil if nobody says so.
func (c *Copies) fault(home string) error {
	others := c.Disagreeing()
	if len(others) == 0 {
		return nil
	}
	dc := slices.Min(slices.Collect(maps.Keys(others)))
	return errors.New(otherHome(dc, others[dc], c.cfg.Datacenter, home))
}

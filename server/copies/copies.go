// Package copies keeps what is global (policies, roles, auth methods, binding rules,
// tokens that are not local) the same in all datacenters, and knows which of them is the
// home, where it is written.
//
// The home tells who follows it what changes as soon as it is committed; the leader of
// each other datacenter writes it through its own Raft, so that every datacenter answers
// by itself what a secret stands for, for as long as the home is away. Who is home is
// decided in each datacenter by its state, in the order of its log: a datacenter that
// has given the role away refuses what comes later. Package copies decides nobody's
// rights and keeps no record itself.
package copies

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/storage"
)

// Federation is what is known on every server of who is home, and tells the others.
type Federation interface {
	// Home returns the record that says who is home; false while there is none.
	Home() (removal.Record, bool)
	// Since is what a record is to say that makes a datacenter the home now; Counts reports
	// whether one counts: see removal.Records.
	Since(datacenter string) int64
	Counts(rec removal.Record) bool
	// SetHome says who is home; it returns how many servers know and which do not.
	SetHome(ctx context.Context, rec removal.Record) (told int, missed []string, err error)
}

// Config says for which server.
type Config struct {
	Datacenter string
	Server     string // node.datacenter
	// Enabled is whether access is controlled: without that nothing is copied.
	Enabled bool
	// First is the home as long as nobody has moved it; "" for this datacenter.
	First string
	State *storage.State
	// Self commits while this server leads.
	Self func() op.Caller
	// Leads reports whether it does.
	Leads func() bool
	// LeaderSilence is how long this server has not heard its leader.
	LeaderSilence func() time.Duration
	Log           *slog.Logger
	Registerer    prometheus.Registerer
}

// Links are the ways to other datacenters; all nil without WAN gossip.
type Links struct {
	Federation Federation
	// Calls asks other datacenters, Follow is where their changes are followed.
	Calls  op.Caller
	Follow op.Subscriber
}

// Copies is what one server does for it. It is safe for concurrent use.
type Copies struct {
	cfg      Config
	links    Links
	log      *slog.Logger
	metrics  *metrics
	sums     *totals
	follower follower
	disagree disagreements

	mu      sync.Mutex
	changed chan struct{} // closed when who is home may have changed

	move   sync.Mutex // held by the one move to this datacenter that is in progress
	moving struct {
		sync.Mutex
		version int64 // of that; 0 for none
	}
}

// New returns the copies of a server that knows no other datacenter yet.
func New(cfg Config) *Copies {
	c := &Copies{cfg: cfg, log: cfg.Log.With("component", "copies"), sums: &totals{state: cfg.State}, changed: make(chan struct{})}
	c.follower.news, c.disagree.by = make(chan struct{}), map[string]disagreement{}
	c.metrics = newMetrics(cfg.Registerer, c)
	return c
}

// Connect says how others are reached, before Run.
func (c *Copies) Connect(l Links) { c.links = l }

// HomeChanged says that who is home may have changed. It never blocks.
func (c *Copies) HomeChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// Changed is closed when who is home may have changed.
func (c *Copies) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// noted is who is home as the records of the servers say.
func (c *Copies) noted() removal.Record {
	if c.links.Federation != nil {
		if rec, ok := c.links.Federation.Home(); ok {
			return rec
		}
	}
	first := c.cfg.First
	if first == "" || c.links.Federation == nil {
		first = c.cfg.Datacenter
	}
	return removal.Record{Datacenter: first, Home: true}
}

// Home is where what is global is written, as this server knows it. The error is
// CodeMoved while this datacenter gives the role to another one.
func (c *Copies) Home(r storage.Reader) (string, error) {
	rec := c.noted()
	h, err := acl.FindHome(r)
	switch {
	case err != nil:
		return "", err
	case c.outdated(h, rec):
		return rec.Datacenter, nil
	case h.Version > rec.Version && !h.Away:
		return c.cfg.Datacenter, nil
	case h.Version > rec.Version, h.Away && rec.Datacenter == c.cfg.Datacenter:
		return "", acl.Moved(h.Datacenter)
	}
	return rec.Datacenter, nil
}

// outdated reports whether what the state says is of a home that does not count any more:
// of a datacenter that became that while it was removed from the federation.
func (c *Copies) outdated(h *acl.Home, rec removal.Record) bool {
	dc := h.Datacenter
	if !h.Away {
		dc = c.cfg.Datacenter
	}
	return h.Version > rec.Version && c.links.Federation != nil && !c.links.Federation.Counts(removal.Record{Home: true, Datacenter: dc, Version: h.Version, Since: h.Since})
}

// since is what a record is to say that makes a datacenter the home now.
func (c *Copies) since(datacenter string) int64 {
	if c.links.Federation == nil {
		return 1
	}
	return c.links.Federation.Since(datacenter)
}

// Awaited names the home as long as nothing has come from it since this datacenter is
// new; "" else. Until then the home alone knows what secrets stand for.
func (c *Copies) Awaited(r storage.Reader) (string, error) {
	home, err := c.Home(r)
	if err != nil || home == c.cfg.Datacenter { // one that gives the role away has everything
		return "", nil
	}
	h, err := acl.FindHome(r)
	if err != nil || h.Index > 0 {
		return "", err
	}
	if begun, err := acl.Bootstrapped(r); err != nil || begun {
		return "", err
	}
	return home, nil
}

// AtHome reports whether this datacenter is the home: what only the home does is not
// done while that is not sure.
func (c *Copies) AtHome() bool {
	home, err := c.read(c.Home)
	return err == nil && home == c.cfg.Datacenter
}

// read asks the state.
func (c *Copies) read(f func(storage.Reader) (string, error)) (string, error) {
	v := c.cfg.State.View()
	s, err := f(v)
	return s, errors.Join(err, v.Close())
}

// row is what the state says of who is home.
func (c *Copies) row() (*acl.Home, error) {
	v := c.cfg.State.View()
	h, err := acl.FindHome(v)
	return h, errors.Join(err, v.Close())
}

// inventory is what the state has of what is global.
func (c *Copies) inventory() (*acl.Inventory, error) {
	v := c.cfg.State.View()
	inv, err := acl.TakeInventory(v)
	return inv, errors.Join(err, v.Close())
}

// step commits a step on the way of the role.
func (c *Copies) step(ctx context.Context, r *acl.StepRequest) (*acl.StepResult, error) {
	res, _, err := acl.TakeStep.Call(ctx, c.cfg.Self(), op.Header{}, r)
	if err == nil {
		c.HomeChanged()
	}
	return res, err
}

// totalEvery bounds how often the checksum of everything is computed while it changes:
// it reads all records, some 3 µs each.
const totalEvery = 5 * time.Second

// totals keeps the checksum of everything until something changes.
type totals struct {
	state *storage.State

	mu    sync.Mutex
	watch *storage.Watch
	total uint64
	at    time.Time
}

// now returns the checksum; false where it was computed a moment ago and is another one
// since.
func (t *totals) now() (uint64, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.watch != nil && !t.watch.Stale():
		return t.total, true, nil
	case t.watch != nil && time.Since(t.at) < totalEvery/2:
		return 0, false, nil
	case t.watch != nil:
		t.watch.Close()
		t.watch = nil
	}
	watch, err := t.state.Watch(func(v *storage.View) error {
		inv, err := acl.TakeInventory(v)
		if err == nil {
			t.total = inv.Total()
		}
		return err
	})
	if err != nil {
		return 0, false, err
	}
	t.watch, t.at = watch, time.Now()
	return t.total, true, nil
}

// Show says who is home as this server knows it, and by whom.
func (c *Copies) Show() (*acl.Standings, error) {
	rec := c.noted()
	h, err := c.row()
	if err != nil {
		return nil, err
	}
	out := &acl.Standings{Home: rec.Datacenter, Version: rec.Version, By: rec.By}
	if h.Version > rec.Version && !c.outdated(h, rec) {
		if h.Away {
			out.Moving = h.Datacenter
		} else {
			out.Home, out.Version, out.By = c.cfg.Datacenter, h.Version, h.By
		}
	}
	return out, nil
}

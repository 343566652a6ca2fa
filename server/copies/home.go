package copies

import (
	"context"
	"errors"
	"time"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
)

const (
	// keepEvery is how often it is looked at whether records and state say the same.
	keepEvery = time.Second
	// stepTimeout bounds a step and asking what became of one.
	stepTimeout = 5 * time.Second
	// moveTimeout is how long a move may take.
	moveTimeout = 10 * time.Second
)

// Keep brings what the state says of who is home in line with what the servers' records
// say, while this server leads. What a move that was broken off has left is settled here.
func (c *Copies) Keep(ctx context.Context) {
	if !c.cfg.Enabled {
		return
	}
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		changed := c.Changed()
		try, cancel := context.WithTimeout(ctx, stepTimeout)
		if err := c.align(try); err != nil && ctx.Err() == nil {
			c.log.Warn("bring the state in line with who is home", "error", err)
		}
		cancel()
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// align does what is to be done now.
func (c *Copies) align(ctx context.Context) error {
	h, err := c.row()
	if err != nil {
		return err
	}
	rec := c.noted()
	mine := rec.Datacenter == c.cfg.Datacenter
	switch {
	case c.outdated(h, rec):
		return c.giveBack(ctx, h, rec)
	case h.Version > rec.Version && !h.Away: // assumed, and not told yet
		if c.links.Federation == nil {
			return nil
		}
		_, _, err := c.links.Federation.SetHome(ctx, removal.Record{Datacenter: c.cfg.Datacenter, Version: h.Version, By: h.By, Since: h.Since})
		return err
	case h.Version > rec.Version && h.Ticket == "": // noted from a record that this server has lost
		if c.links.Federation == nil {
			return nil
		}
		_, _, err := c.links.Federation.SetHome(ctx, removal.Record{Datacenter: h.Datacenter, Version: h.Version, By: h.By, Since: h.Since})
		return err
	case h.Version > rec.Version: // given away, and not known what became of it
		return c.settle(ctx, h)
	case mine && (h.Away || h.Version < rec.Version):
		_, err := c.step(ctx, &acl.StepRequest{Step: acl.StepClaim, Version: rec.Version, Datacenter: rec.Datacenter, By: rec.By, Since: rec.Since})
		return err
	case !mine && (!h.Away || h.Version < rec.Version || h.Datacenter != rec.Datacenter):
		if !h.Away && rec.Version > 0 {
			c.log.Warn("this datacenter is not the home any more: what is global is taken over from there, and what was written here alone since is dropped", "peer_datacenter", rec.Datacenter)
		}
		_, err := c.step(ctx, &acl.StepRequest{Step: acl.StepNote, Version: rec.Version, Datacenter: rec.Datacenter, By: rec.By, Since: rec.Since})
		return err
	}
	return nil
}

// giveBack has the state say again who was home before a datacenter that was removed from
// the federation made itself that.
func (c *Copies) giveBack(ctx context.Context, h *acl.Home, rec removal.Record) error {
	away := rec.Datacenter != c.cfg.Datacenter
	if !h.Away && away {
		c.log.Warn("this datacenter became the home while it was removed from the federation, and gives that up now that it is allowed again: what is global is taken over from the home of the others, and what was written here alone is dropped", "peer_datacenter", rec.Datacenter)
	}
	_, err := c.step(ctx, &acl.StepRequest{Step: acl.StepReturn, Version: rec.Version, Instead: h.Version, Away: away, Datacenter: rec.Datacenter, By: rec.By, Since: rec.Since})
	return err
}

// settle asks the datacenter that the role was given to what became of that. As long as
// it does not answer nobody knows, and nothing global is written.
func (c *Copies) settle(ctx context.Context, h *acl.Home) error {
	if c.links.Calls == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout/2)
	defer cancel()
	said, _, err := acl.SettleHome.Call(ctx, c.links.Calls, op.Header{Datacenter: h.Datacenter}, &acl.SettleRequest{Version: h.Version, Ticket: h.Ticket})
	switch {
	case err != nil:
		c.log.Warn("it is not known whether the datacenter that the home was given to has taken the role over: nothing global is written until it answers (legate federation primary -force takes it back if it is gone for good)",
			"peer_datacenter", h.Datacenter, "error", err)
		return nil
	case said == nil:
		return errors.New("it answered nothing")
	case said.Assumed:
		if c.links.Federation == nil {
			return nil
		}
		_, _, err := c.links.Federation.SetHome(ctx, removal.Record{Datacenter: h.Datacenter, Version: h.Version, By: h.By, Since: h.Since})
		return err
	case said.GivenUp:
		c.log.Warn("the datacenter that the home was given to has not taken the role over: this one takes it back", "peer_datacenter", h.Datacenter)
		_, err := c.step(ctx, &acl.StepRequest{Step: acl.StepClaim, Version: h.Version + 1, Datacenter: c.cfg.Datacenter, By: c.cfg.Server, Since: c.since(c.cfg.Datacenter)})
		return err
	}
	return nil
}

// Settle answers what became of a move to this datacenter, on its leader. One that nobody
// works at any more is given up now: then it cannot be carried out later.
func (c *Copies) Settle(ctx context.Context, _ op.Header, req *acl.SettleRequest) (*acl.Settled, error) {
	h, err := c.row()
	if err != nil {
		return nil, err
	}
	if wants, shown := h.Wants(req.Version, req.Ticket); wants {
		if !shown {
			return nil, op.Errorf(op.CodeDenied, "Permission denied: this is not the ticket of that move")
		}
		c.moving.Lock()
		goesOn := c.moving.version == req.Version
		c.moving.Unlock()
		if goesOn {
			return &acl.Settled{}, nil
		}
		res, err := c.step(ctx, &acl.StepRequest{Step: acl.StepGiveUp, Version: req.Version})
		if err != nil {
			return nil, err
		}
		h = &res.Home
	}
	assumed := !h.Away && h.Version >= req.Version
	return &acl.Settled{Assumed: assumed, GivenUp: !assumed}, nil
}

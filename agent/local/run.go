package local

import (
	"context"
	"fmt"
	"time"

	"github.com/legate-project/legate/agent/checks"
)

// UpdateTTL takes the report of a TTL check.
func (s *State) UpdateTTL(id, status, output string) error {
	switch status {
	case checks.Passing, checks.Warning, checks.Critical:
	default:
		return invalid("Invalid check status %q: use passing, warning or critical", status)
	}
	return s.change(func(w *writes) error {
		c := s.checks[id]
		if c == nil {
			return fmt.Errorf("%w %q", ErrUnknownCheck, id)
		}
		if c.def.TTL <= 0 {
			return fmt.Errorf("CheckID %q: %w", id, ErrNotTTL)
		}
		if len(output) > c.def.OutputMaxSize {
			output = output[:c.def.OutputMaxSize]
		}
		if c.ttl != nil {
			c.ttl.Seen(output)
		}
		s.result(c, checks.Result{Status: status, Output: output})
		return w.keep(resultFolder, id, kept{Result: &keptResult{CheckID: id, Status: status, Output: c.record.Output, Until: time.Now().Add(c.def.TTL)}})
	})
}

// result notes the outcome of a check; s.mu is held.
func (s *State) result(c *check, r checks.Result) {
	switch {
	case r.Status != checks.Critical:
		c.bad = time.Time{}
	case c.bad.IsZero(): // also where it has never been anything else
		c.bad = time.Now()
	}
	switch {
	case c.record.Status != r.Status:
		c.synced, c.holdOff = false, time.Time{}
	case c.record.Output != r.Output:
		if s.cfg.UpdateInterval > 0 && c.synced {
			c.holdOff = time.Now().Add(s.cfg.UpdateInterval)
		}
		c.synced = false
	default:
		return
	}
	c.record.Status, c.record.Output = r.Status, r.Output
	s.notify()
	s.tellAliases()
}

// run starts what produces a check's results; s.mu is held.
func (s *State) run(c *check) {
	c.stop = func() {}
	report := func(r checks.Result) {
		s.mu.Lock()
		defer s.mu.Unlock()
		late := c.ttl != nil && time.Now().Before(c.ttl.Until()) // a report came while its expiry waited
		if s.checks[c.def.ID] == c && !late {
			s.result(c, r)
		}
	}
	switch {
	case isMaintenance(&c.def):
		return
	case c.def.TTL > 0:
		c.ttl = checks.NewTTL(c.def.TTL, report)
		s.resumeTTL(c)
		c.stop = c.ttl.Stop
		return
	case isAlias(&c.def):
		s.runAlias(c, report)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	err := s.group.Spawn("check", func(group context.Context) {
		defer context.AfterFunc(group, cancel)()
		if err := s.runner.Run(ctx, &c.def, report); err != nil {
			s.log.Error("run check", "check", c.def.ID, "error", err)
		}
	})
	if err != nil {
		cancel()
	}
}

// halt ends what produces the check's results.
func (c *check) halt() {
	if c.stop != nil {
		c.stop()
	}
}

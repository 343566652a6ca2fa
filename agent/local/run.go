package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/agent/local/disk"
)

// UpdateTTL takes the report of a TTL check. It counts even when it cannot be
// kept: a full disk is no reason to call what reports itself healthy critical.
func (s *State) UpdateTTL(id, status, output string) error {
	switch status {
	case checks.Passing, checks.Warning, checks.Critical:
	default:
		return invalid("Invalid check status %q: use passing, warning or critical", status)
	}
	report := checks.Result{Status: status}
	until := time.Now()
	do := func() {
		c := s.checks[id]
		if c.ttl != nil {
			c.ttl.Seen(report.Output)
		}
		s.result(c, report)
	}
	err := s.change(func(w *disk.Writes) error {
		c := s.checks[id]
		if c == nil {
			return fmt.Errorf("%w %q", ErrUnknownCheck, id)
		}
		if c.def.TTL <= 0 {
			return fmt.Errorf("CheckID %q: %w", id, ErrNotTTL)
		}
		report.Output = s.output(output[:min(len(output), c.def.OutputMaxSize)])
		return w.Keep(resultFolder, id, kept{Result: &keptResult{CheckID: id, Status: status, Output: report.Output, Until: until.Add(c.def.TTL)}})
	}, do)
	if err != nil && !errors.Is(err, errNotKept) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := err != nil
	if lost && !s.lossy {
		s.log.Warn("reports of TTL checks count, but cannot be kept: after a restart the older ones are taken up", "error", err)
	}
	if s.lossy = lost; lost && s.checks[id] != nil {
		do()
	}
	return nil
}

// result notes the outcome of a check; s.mu is held.
func (s *State) result(c *check, r checks.Result) {
	switch {
	case r.Status != checks.Critical:
		c.bad = time.Time{}
	case c.bad.IsZero(): // also where it has never been anything else
		c.bad = time.Now()
	}
	r.Output = s.output(r.Output)
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
	s.changedOf(c.record.ServiceID)
	s.tellAliases()
}

// output is what is kept of one; s.mu is held.
func (s *State) output(text string) string {
	if s.cfg.DiscardOutput {
		return ""
	}
	return text
}

// SetDiscardOutput begins or ends to discard the output of checks. What there is
// of it goes from the catalog, too.
func (s *State) SetDiscardOutput(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.DiscardOutput = on
	for _, c := range s.checks {
		if on && c.record.Output != "" {
			c.record.Output, c.synced, c.holdOff = "", false, time.Time{}
			s.changedOf(c.record.ServiceID)
		}
	}
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
			if c.ttl == nil {
				s.ran(c)
			}
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
	}
	s.resume(c)
	if isAlias(&c.def) {
		s.runAlias(c, report)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	first := s.firstRun(c)
	err := s.group.Spawn("check", func(group context.Context) {
		defer context.AfterFunc(group, cancel)()
		if err := s.runner.Run(ctx, &c.def, first, report); err != nil {
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

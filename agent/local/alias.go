package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
)

const (
	// aliasWait is how long one look at another node waits for a change.
	aliasWait = time.Minute
	// aliasRetry is the pause after one that failed.
	aliasRetry = 5 * time.Second
)

func isAlias(d *config.CheckDefinition) bool { return d.AliasNode != "" || d.AliasService != "" }

// runAlias has a check follow the state of a service or node: of this agent's
// own without asking anybody, of another node's by its catalog. s.mu is held.
func (s *State) runAlias(c *check, report func(checks.Result)) {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	follow := s.followRemote
	if s.isOwnAlias(&c.def) {
		c.sealed = !c.file && s.cfg.Rights != nil
		follow = func(ctx context.Context, _ *config.CheckDefinition, report func(checks.Result)) {
			s.followOwn(ctx, c, report)
		}
	}
	bounded := func(r checks.Result) { // aliases of two nodes may quote each other
		r.Output = r.Output[:min(len(r.Output), c.def.OutputMaxSize)]
		report(r)
	}
	err := s.group.Spawn("alias check", func(group context.Context) {
		defer context.AfterFunc(group, cancel)()
		follow(ctx, &c.def, bounded)
	})
	if err != nil {
		cancel()
	}
}

// tellAliases wakes the checks that follow this agent's own; s.mu is held.
func (s *State) tellAliases() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// followOwn follows what is on this agent. A check that a client has defined tells what
// its token may read, as the catalog would; what files define is the operator's.
func (s *State) followOwn(ctx context.Context, c *check, report func(checks.Result)) {
	again := time.NewTicker(aliasWait) // rights may have changed
	defer again.Stop()
	d := &c.def
	for {
		s.mu.Lock()
		changed := s.changed
		own := s.behind(d)
		service := d.AliasService
		if known := s.services[d.AliasService]; known != nil {
			service = known.record.Service
		}
		trusted := c.file || s.cfg.Rights == nil
		s.mu.Unlock()
		var why error
		if !trusted {
			if why = s.mayFollow(ctx, d, service, own); s.seal(c, why != nil) {
				continue // those behind it are others now
			}
		}
		if why != nil {
			report(checks.Result{Status: checks.Critical, Output: why.Error()})
		} else {
			report(aliasResult(own))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again.C:
		}
	}
}

// seal has nobody look through an alias, or everybody; it reports whether that changes.
func (s *State) seal(c *check, sealed bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.sealed == sealed {
		return false
	}
	c.sealed = sealed
	s.tellAliases()
	return true
}

// mayFollow says why the token of a check may not read what it follows on this agent. Of
// what is behind that, the node's checks and those that are seen through other aliases, it
// hides what the token may not read, but for the state. As long as its rights cannot be asked for it goes on.
func (s *State) mayFollow(ctx context.Context, d *config.CheckDefinition, service string, behind catalog.Checks) error {
	a, err := s.cfg.Rights(ctx, s.token(d.Token, false))
	switch {
	case op.CodeOf(err) == op.CodeDenied:
		return fmt.Errorf("the token of this check is not known (%w): it tells nothing of service %q", err, service)
	case err != nil:
		return nil
	}
	for i := range behind {
		switch name := behind[i].ServiceName; {
		case name != "" && !a.Allow(rules.Service, rules.Read, name):
			behind[i].Name, behind[i].Output = "of another service", ""
		case name == "" && !a.Allow(rules.Node, rules.Read, s.cfg.NodeName):
			behind[i].Name, behind[i].Output = "of the node", ""
		}
	}
	if d.AliasService == "" {
		return rules.Require(a, rules.Node, rules.Read, s.cfg.NodeName)
	}
	return rules.Require(a, rules.Service, rules.Read, service)
}

// behind returns the checks that an alias of this agent's own follows, in the
// order of their IDs. An alias among them does not count by itself, but by what
// is behind it: aliases that follow each other would keep each other critical
// and quote each other without end. s.mu is held.
func (s *State) behind(d *config.CheckDefinition) catalog.Checks {
	found := map[string]*check{}
	followed := map[string]bool{d.AliasService: true} // an alias of the node follows the service without a name
	for todo := []*config.CheckDefinition{d}; len(todo) > 0; todo = todo[1:] {
		for id, c := range s.checks {
			switch {
			case !counts(&c.record, todo[0]):
			case !s.isOwnAlias(&c.def), c.sealed && &c.def != d:
				found[id] = c
			case !followed[c.def.AliasService]:
				followed[c.def.AliasService] = true
				todo = append(todo, &c.def)
			}
		}
	}
	own := make(catalog.Checks, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		own = append(own, found[id].record)
	}
	return own
}

// isOwnAlias reports whether a check follows what is on this agent.
func (s *State) isOwnAlias(d *config.CheckDefinition) bool {
	return isAlias(d) && (d.AliasNode == "" || strings.EqualFold(d.AliasNode, s.cfg.NodeName))
}

func (s *State) followRemote(ctx context.Context, d *config.CheckDefinition, report func(checks.Result)) {
	index := uint64(0)
	for ctx.Err() == nil {
		list, meta, err := catalog.ListNodeChecks.Call(ctx, s.cfg.Caller, op.Header{Token: s.token(d.Token, false), Consistency: op.Stale, MinIndex: index, MaxWait: aliasWait},
			&catalog.NodeRequest{Node: d.AliasNode})
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			report(checks.Result{Status: checks.Critical, Output: fmt.Sprintf("Failure checking the health of node %q: %v", d.AliasNode, err)})
			select {
			case <-ctx.Done():
			case <-time.After(aliasRetry):
			}
			continue
		}
		var theirs catalog.Checks
		for _, c := range *list {
			if counts(&c, d) {
				theirs = append(theirs, c)
			}
		}
		index = meta.Index
		report(aliasResult(theirs))
	}
}

// counts reports whether a check is about what the alias follows: the node
// itself always is, a service if it is the one named.
func counts(c *catalog.Check, d *config.CheckDefinition) bool {
	return c.ServiceID == "" || c.ServiceID == d.AliasService
}

// aliasResult is the worst of the checks.
func aliasResult(all catalog.Checks) checks.Result {
	if len(all) == 0 {
		return checks.Result{Status: checks.Passing, Output: "No checks found."}
	}
	status := all.Status()
	if status == checks.Passing {
		return checks.Result{Status: status, Output: "All checks passing."}
	}
	for i := range all {
		if all[i].Status == status {
			return checks.Result{Status: status, Output: fmt.Sprintf("Aliased check %q failing: %s", all[i].Name, all[i].Output)}
		}
	}
	return checks.Result{Status: status}
}

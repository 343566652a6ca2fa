package local

import (
	"fmt"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

// generatedPrefix begins the IDs of checks that a service defines without
// naming them.
const generatedPrefix = "service:"

// guard refuses a check that is wrong, or that runs a command where that is
// not allowed: from files it needs enable_local_script_checks or
// enable_script_checks, from the API the latter.
func (s *State) guard(d *config.CheckDefinition, file bool) error {
	if isMaintenance(d) {
		return nil
	}
	if err := checks.Validate(d); err != nil {
		return &InvalidError{err.Error()}
	}
	if !s.forbidden(d, file) {
		return nil
	}
	if file {
		return invalid("check %q: Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true", d.Name)
	}
	return invalid("check %q: Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true", d.Name)
}

// forbidden reports whether a check runs a command where that is not allowed.
func (s *State) forbidden(d *config.CheckDefinition, file bool) bool {
	return len(d.Args) > 0 && !s.cfg.ScriptsFromAPI && !(file && s.cfg.ScriptsFromFiles)
}

// serviceChecks returns the checks that a service defines, with IDs and names.
func serviceChecks(d *config.ServiceDefinition) []config.CheckDefinition {
	out := make([]config.CheckDefinition, 0, len(d.Checks))
	for i, c := range d.Checks {
		if c.ID == "" {
			c.ID = generatedPrefix + d.ID
			if len(d.Checks) > 1 {
				c.ID = fmt.Sprintf("%s%s:%d", generatedPrefix, d.ID, i+1)
			}
		}
		if c.Name == "" {
			c.Name = fmt.Sprintf("Service '%s' check", d.Name)
		}
		c.ServiceID = d.ID
		out = append(out, c)
	}
	return out
}

// checkRecord returns what the catalog is to hold of a valid check; s.mu is
// held.
func (s *State) checkRecord(d *config.CheckDefinition) catalog.Check {
	c := catalog.Check{Node: s.cfg.NodeName, CheckID: d.ID, Name: d.Name, Status: orElse(d.Status, checks.Critical), Notes: d.Notes,
		ServiceID: d.ServiceID, Type: maintenanceKind, ExposedPort: d.ExposedPort}
	if !isMaintenance(d) {
		c.Type, _ = checks.KindOf(d)                                    // it has one: it is valid
		c.Interval, c.Timeout = d.Interval.String(), d.Timeout.String() // "0s" of a check without them
	}
	if svc := s.services[d.ServiceID]; svc != nil && d.ServiceID != "" {
		c.ServiceName, c.ServiceTags = svc.record.Service, svc.record.Tags
	}
	return c
}

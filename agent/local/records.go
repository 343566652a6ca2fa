package local

import (
	"fmt"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

// serviceRecord returns what the catalog is to hold of a service.
func serviceRecord(d *config.ServiceDefinition) (catalog.Service, error) {
	if d.Name == "" {
		return catalog.Service{}, fmt.Errorf("%w: Missing service name", ErrInvalid)
	}
	if d.ID == "" {
		d.ID = d.Name
	}
	if d.Address == "0.0.0.0" || d.Address == "::" || d.Address == "[::]" {
		return catalog.Service{}, fmt.Errorf("%w: Invalid service address", ErrInvalid)
	}
	s := catalog.Service{ID: d.ID, Service: d.Name, Tags: d.Tags, Address: d.Address, Meta: d.Meta, Port: d.Port,
		SocketPath: d.SocketPath, EnableTagOverride: d.EnableTagOverride, Weights: catalog.Weights{Passing: 1, Warning: 1}}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if w := d.Weights; w != nil {
		s.Weights = catalog.Weights{Passing: w.Passing, Warning: w.Warning}
	}
	if len(d.TaggedAddresses) > 0 {
		s.TaggedAddresses = map[string]catalog.ServiceAddress{}
		for tag, a := range d.TaggedAddresses {
			s.TaggedAddresses[tag] = catalog.ServiceAddress{Address: a.Address, Port: a.Port}
		}
	}
	return s, nil
}

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
		return fmt.Errorf("%w: %v", ErrInvalid, err)
	}
	if len(d.Args) == 0 || s.cfg.ScriptsFromAPI || file && s.cfg.ScriptsFromFiles {
		return nil
	}
	if file {
		return fmt.Errorf("%w: check %q: Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true", ErrInvalid, d.Name)
	}
	return fmt.Errorf("%w: check %q: Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true", ErrInvalid, d.Name)
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

// checkRecord returns what the catalog is to hold of a check; s.mu is held.
func (s *State) checkRecord(d *config.CheckDefinition) (catalog.Check, error) {
	switch d.Status {
	case "", checks.Passing, checks.Warning, checks.Critical:
	default:
		return catalog.Check{}, fmt.Errorf("%w: Bad check status %q: use passing, warning or critical", ErrInvalid, d.Status)
	}
	kind := maintenanceKind
	if !isMaintenance(d) {
		var err error
		if kind, err = checks.KindOf(d); err != nil {
			return catalog.Check{}, fmt.Errorf("%w: %v", ErrInvalid, err)
		}
	}
	c := catalog.Check{Node: s.cfg.NodeName, CheckID: d.ID, Name: d.Name, Status: orElse(d.Status, checks.Critical), Notes: d.Notes,
		ServiceID: d.ServiceID, Type: kind}
	if d.Interval > 0 {
		c.Interval = d.Interval.String()
	}
	if d.Timeout > 0 {
		c.Timeout = d.Timeout.String()
	}
	if svc := s.services[d.ServiceID]; svc != nil && d.ServiceID != "" {
		c.ServiceName, c.ServiceTags = svc.record.Service, svc.record.Tags
	}
	return c, nil
}

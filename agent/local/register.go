package local

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/legate-project/legate/config"
)

// others says what becomes of the checks that a service has and that its new
// definition does not name.
type others uint8

const (
	keepOthers others = iota // they stay
	dropParts                // those that the old definition named go
	dropOthers               // all but maintenance go
)

// change carries out do with s.mu held, then makes durable what it wrote. When
// it returns nil, both are done.
func (s *State) change(do func(w *writes) error) error {
	w := s.disk.begin()
	s.mu.Lock()
	err := do(w)
	s.mu.Unlock()
	return errors.Join(err, w.commit())
}

// AddService registers a service with its checks, or changes it. Checks that
// it has and that the definition does not name stay.
func (s *State) AddService(def config.ServiceDefinition) error {
	return s.addService(def, false, keepOthers)
}

// ReplaceService is AddService, but checks that the definition does not name
// go. Maintenance stays.
func (s *State) ReplaceService(def config.ServiceDefinition) error {
	return s.addService(def, false, dropOthers)
}

func (s *State) addService(def config.ServiceDefinition, file bool, rest others) error {
	record, defs, err := s.validService(&def, file)
	if err != nil {
		return err
	}
	return s.change(func(w *writes) error {
		old := s.services[record.ID]
		if old == nil && len(s.services) >= maxServices {
			return invalid("this agent has %d services already, its limit", maxServices)
		}
		if len(s.checks)+len(defs) > maxChecks {
			return invalid("this agent has %d checks already, its limit is %d", len(s.checks), maxChecks)
		}
		svc := &service{def: def, file: file, record: record, changed: make(chan struct{}), checks: map[string]*check{}}
		if old != nil {
			svc.inherit(old)
		}
		s.services[record.ID] = svc
		delete(s.gone, goneKey{service: record.ID})
		var errs []error
		switch {
		case !file:
			errs = append(errs, w.keep(serviceFolder, record.ID, kept{Service: &def}))
		case old != nil && !old.file:
			w.forget(serviceFolder, record.ID)
		}
		named := map[string]bool{}
		for i := range defs {
			named[defs[i].ID] = true
			s.putCheck(w, &defs[i], file, true)
		}
		errs = append(errs, s.settle(w, svc, named, rest))
		s.relabel(svc)
		s.notify()
		return errors.Join(errs...)
	})
}

// inherit takes over what an older registration of the service knows.
func (svc *service) inherit(old *service) {
	svc.checks = old.checks
	if svc.def.EnableTagOverride && old.def.EnableTagOverride && !slices.Equal(old.record.Tags, old.def.Tags) {
		svc.record.Tags = old.record.Tags // the catalog's
	}
	if old.record.Same(&svc.record) {
		svc.synced, svc.changed = old.synced, old.changed
		return
	}
	close(old.changed)
}

// settle decides on the checks of a service that were not named again.
func (s *State) settle(w *writes, svc *service, named map[string]bool, rest others) error {
	var errs []error
	for id, c := range svc.checks {
		switch {
		case named[id]:
		case rest == dropOthers && !isMaintenance(&c.def), rest == dropParts && c.part:
			s.dropCheck(w, id, c)
		case c.part: // it stays, but not as a part of the definition any more
			c.part, c.file = false, false
			errs = append(errs, w.keep(checkFolder, id, kept{Check: &c.def}))
		}
	}
	return errors.Join(errs...)
}

// relabel gives the checks of a service the name and tags that it has now.
// s.mu is held.
func (s *State) relabel(svc *service) {
	for _, c := range svc.checks {
		if c.record.ServiceName != svc.record.Service || !slices.Equal(c.record.ServiceTags, svc.record.Tags) {
			c.record.ServiceName, c.record.ServiceTags = svc.record.Service, svc.record.Tags
			c.synced = false
		}
	}
}

// RemoveService deregisters a service with its checks.
func (s *State) RemoveService(id string) error {
	return s.change(func(w *writes) error {
		svc := s.services[id]
		if svc == nil {
			return fmt.Errorf("%w %q", ErrUnknownService, id)
		}
		for cid, c := range svc.checks {
			s.dropCheck(w, cid, c)
			delete(s.gone, goneKey{service: id, check: cid}) // goes with its service
		}
		delete(s.services, id)
		close(svc.changed)
		s.gone[goneKey{service: id}] = gone{token: s.token(svc.def.Token, svc.file)}
		w.forget(serviceFolder, id)
		s.notify()
		return nil
	})
}

// AddCheck registers a check, or changes it; its last result stays.
func (s *State) AddCheck(def config.CheckDefinition) error { return s.addCheck(def, false) }

func (s *State) addCheck(def config.CheckDefinition, file bool) error {
	if err := s.validCheck(&def, file); err != nil {
		return err
	}
	return s.change(func(w *writes) error {
		if def.ServiceID != "" && s.services[def.ServiceID] == nil {
			return fmt.Errorf("%w: ServiceID %q does not exist", ErrUnknownService, def.ServiceID)
		}
		if s.checks[def.ID] == nil && len(s.checks) >= maxChecks {
			return invalid("this agent has %d checks already, its limit", maxChecks)
		}
		s.putCheck(w, &def, file, false)
		s.notify()
		if file {
			return nil
		}
		return w.keep(checkFolder, def.ID, kept{Check: &def})
	})
}

// putCheck installs a check that is valid and runs it; s.mu is held. part says
// that it was defined with its service.
func (s *State) putCheck(w *writes, def *config.CheckDefinition, file, part bool) {
	c := &check{def: *def, file: file, part: part, record: s.checkRecord(def), stop: func() {}}
	old := s.checks[def.ID]
	if old != nil {
		if (part || file) && !old.part && !old.file {
			w.forget(checkFolder, def.ID)
		}
		if old.goesOn(def, file) {
			old.file, old.part = file, part
			return
		}
		old.halt()
		if def.Status == "" {
			c.record.Status, c.record.Output, c.bad = old.record.Status, old.record.Output, old.bad
		}
		c.synced = old.synced && old.record.Same(&c.record)
		s.disown(old)
	}
	s.checks[def.ID] = c
	if svc := s.services[def.ServiceID]; svc != nil {
		svc.checks[def.ID] = c
	}
	delete(s.gone, goneKey{service: def.ServiceID, check: def.ID})
	if s.running {
		s.run(c)
	}
}

// goesOn reports whether a check that is defined again just goes on: reading
// the same file again is no reason to begin anew.
func (c *check) goesOn(def *config.CheckDefinition, file bool) bool {
	return reflect.DeepEqual(c.def, *def) && (file && c.file || def.Status == "" && def.TTL == 0)
}

// disown takes a check from its service; s.mu is held.
func (s *State) disown(c *check) {
	if svc := s.services[c.def.ServiceID]; svc != nil {
		delete(svc.checks, c.def.ID)
	}
}

// RemoveCheck deregisters a check.
func (s *State) RemoveCheck(id string) error {
	return s.change(func(w *writes) error {
		c := s.checks[id]
		if c == nil {
			return fmt.Errorf("%w %q", ErrUnknownCheck, id)
		}
		s.dropCheck(w, id, c)
		s.notify()
		svc := s.services[c.def.ServiceID]
		if !c.part || svc == nil {
			return nil
		}
		svc.def.Checks = slices.DeleteFunc(slices.Clone(svc.def.Checks), func(d config.CheckDefinition) bool { return d.ID == id })
		if svc.file {
			return nil
		}
		return w.keep(serviceFolder, svc.def.ID, kept{Service: &svc.def})
	})
}

// dropCheck takes a check away; s.mu is held.
func (s *State) dropCheck(w *writes, id string, c *check) {
	c.halt()
	delete(s.checks, id)
	s.disown(c)
	s.gone[goneKey{service: c.record.ServiceID, check: id}] = gone{token: s.token(c.def.Token, c.file)}
	w.forget(checkFolder, id)
	w.forget(resultFolder, id)
	s.tellAliases()
}

// token is the secret that something is registered with: its own, else the
// agent's.
func (s *State) token(own string, file bool) string {
	if own != "" || s.cfg.Token == nil {
		return own
	}
	return s.cfg.Token(file)
}

// Define makes the services and checks from configuration files those given:
// new ones are registered, those that are no longer defined go, those that are
// the same go on undisturbed. If one is not valid, nothing changes.
func (s *State) Define(services []config.ServiceDefinition, defs []config.CheckDefinition) error {
	if err := s.Defines(services, defs); err != nil {
		return err
	}
	keepService, keepCheck := map[string]bool{}, map[string]bool{}
	var errs []error
	for _, d := range services {
		keepService[orElse(d.ID, d.Name)] = true
		errs = append(errs, s.addService(d, true, dropParts))
	}
	errs = append(errs, s.adopt())
	for _, d := range defs {
		keepCheck[orElse(d.ID, d.Name)] = true
		errs = append(errs, s.addCheck(d, true))
	}
	oldServices, oldChecks := s.fromFiles()
	for _, id := range oldServices {
		if !keepService[id] {
			errs = append(errs, s.RemoveService(id))
		}
	}
	for _, id := range oldChecks {
		if !keepCheck[id] {
			if err := s.RemoveCheck(id); !errors.Is(err, ErrUnknownCheck) { // gone with its service
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// fromFiles lists the services that files defined, and the checks that they
// defined by themselves.
func (s *State) fromFiles() (services, checks []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, svc := range s.services {
		if svc.file {
			services = append(services, id)
		}
	}
	for id, c := range s.checks {
		if c.file && !c.part {
			checks = append(checks, id)
		}
	}
	return services, checks
}

// Defines says what is wrong with services and checks from configuration
// files, all of it at once, and changes nothing.
func (s *State) Defines(services []config.ServiceDefinition, defs []config.CheckDefinition) error {
	var errs []error
	known := map[string]bool{}
	for i := range services {
		d := services[i]
		if _, _, err := s.validService(&d, true); err != nil {
			errs = append(errs, fmt.Errorf("service %q: %w", d.Name, err))
		}
		known[d.ID] = true
	}
	s.mu.Lock()
	for id, svc := range s.services {
		known[id] = known[id] || !svc.file
	}
	s.mu.Unlock()
	for i := range defs {
		d := defs[i]
		if err := s.validCheck(&d, true); err != nil {
			errs = append(errs, fmt.Errorf("check %q: %w", d.Name, err))
		}
		if d.ServiceID != "" && !known[d.ServiceID] {
			errs = append(errs, fmt.Errorf("check %q: %w: ServiceID %q does not exist", d.Name, ErrUnknownService, d.ServiceID))
		}
	}
	return errors.Join(errs...)
}

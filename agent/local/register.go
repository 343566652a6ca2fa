package local

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

// others says what becomes of the checks that a service has and that its new
// definition does not name.
type others uint8

const (
	keepOthers others = iota // they stay
	dropParts                // those that the old definition named go
	dropOthers               // all but maintenance go
)

// maxPlans is how often a change is planned anew because another was faster:
// then it keeps the others waiting for its writes.
const maxPlans = 4

// errNotKept says that a change could not be written and was not carried out.
var errNotKept = errors.New("nothing was changed")

// change carries out do, and makes durable what plan says that it writes. What
// cannot be written is found before anything changes: then, as when plan
// refuses, nothing has. Both run with s.mu held, and nothing that plan looks at
// changes between them. An error after do tells that files are left over, or
// that the last flush failed: what the disk then holds nobody knows.
func (s *State) change(plan func(w *disk.Writes) error, do func()) (err error) {
	d := disk.Drafts{}
	defer func() { err = errors.Join(err, d.Discard()) }()
	for try := 1; ; try++ {
		w, err := s.planned(plan)
		if err != nil {
			return err
		}
		if try < maxPlans {
			if err := d.Prepare(w); err != nil {
				return fmt.Errorf("%w: %w", errNotKept, err)
			}
		}
		if again, err := s.carryOut(plan, do, d, try == maxPlans); !again {
			return err
		}
	}
}

// planned returns what a change writes as things are.
func (s *State) planned(plan func(w *disk.Writes) error) (*disk.Writes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.disk.Begin()
	return w, plan(w)
}

// carryOut carries a change out for which d is prepared. Where it no longer
// fits, it prepares with last what is missing, else it asks to begin again.
func (s *State) carryOut(plan func(w *disk.Writes) error, do func(), d disk.Drafts, last bool) (again bool, err error) {
	s.changing.Lock()
	unlock := sync.OnceFunc(s.changing.Unlock)
	defer unlock()
	w, err := s.planned(plan)
	if err != nil {
		return false, err
	}
	switch {
	case d.Ready(w):
	case !last:
		return true, nil
	default:
		if err := d.Prepare(w); err != nil {
			return false, fmt.Errorf("%w: %w", errNotKept, err)
		}
	}
	done, err := w.CarryOut(d)
	if !done {
		return false, fmt.Errorf("%w: %w", errNotKept, err)
	}
	s.mu.Lock()
	do()
	s.mu.Unlock()
	unlock()
	return false, errors.Join(err, w.Flush())
}

// addService registers a service; a sidecar in its definition is not looked at.
func (s *State) addService(def config.ServiceDefinition, file bool, rest others) error {
	record, defs, err := s.validService(&def, file)
	if err != nil {
		return err
	}
	r := registration{at: time.Now(), def: def, file: file, rest: rest, record: record, checks: defs, named: map[string]bool{}}
	for i := range defs {
		r.named[defs[i].ID] = true
	}
	return s.change(func(w *disk.Writes) error { return s.planService(w, &r) }, func() { s.putService(&r) })
}

// registration is one of a service.
type registration struct {
	at     time.Time
	def    config.ServiceDefinition
	file   bool
	rest   others
	record catalog.Service
	checks []config.CheckDefinition
	named  map[string]bool // IDs of checks
}

// drops reports whether a check that the service had goes, and loosens whether
// it stays, but not as a part of the definition any more.
func (r *registration) drops(id string, c *check) bool {
	return !r.named[id] && (r.rest == dropOthers && !isMaintenance(&c.def) || r.rest == dropParts && c.part)
}

func (r *registration) loosens(id string, c *check) bool {
	return !r.named[id] && c.part && !r.drops(id, c)
}

// asleep are the checks that stay so: those that the service had and that the
// definition does not name.
func (r *registration) asleep(old *service) []config.CheckDefinition {
	if old == nil || r.file || r.rest != keepOthers {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(old.asleep), func(d config.CheckDefinition) bool { return r.named[d.ID] })
}

// planService says what a registration writes; s.mu is held.
func (s *State) planService(w *disk.Writes, r *registration) error {
	id := r.record.ID
	old := s.services[id]
	if old == nil && len(s.services) >= maxServices {
		return invalid("this agent has %d services already, its limit", maxServices)
	}
	if len(s.checks)+len(r.checks) > maxChecks {
		return invalid("this agent has %d checks already, its limit is %d", len(s.checks), maxChecks)
	}
	var has map[string]*check
	if old != nil {
		has = old.checks
	}
	for i := range r.checks {
		if err := keepStatus(w, &r.checks[i], r.at, r.file); err != nil {
			return err
		}
	}
	for cid, c := range has {
		if r.loosens(cid, c) {
			if err := w.Keep(checkFolder, cid, kept{Check: &c.def}); err != nil {
				return err
			}
		}
	}
	if !r.file {
		if err := w.Keep(serviceFolder, id, stored(&r.def, r.asleep(old))); err != nil {
			return err
		}
	} else if old != nil && !old.file {
		w.Forget(serviceFolder, id)
	}
	if !r.def.EnableTagOverride {
		s.forgetTags(w, id)
	}
	for i := range r.checks {
		s.forgetAlone(w, r.checks[i].ID)
	}
	if r.rest == dropOthers {
		for _, cid := range s.sleepers(id) {
			forgetCheck(w, cid)
		}
	}
	for cid, c := range has {
		if r.drops(cid, c) {
			forgetCheck(w, cid)
		}
	}
	return nil
}

// putService carries a registration out; s.mu is held.
func (s *State) putService(r *registration) {
	id := r.record.ID
	svc := &service{def: r.def, file: r.file, record: r.record, changed: make(chan struct{}), checks: map[string]*check{}}
	old := s.services[id]
	svc.asserts = s.assertsTags(&r.def, old)
	if old != nil {
		svc.inherit(old)
		svc.asleep = r.asleep(old)
	}
	if !r.def.EnableTagOverride {
		s.dropTags(id)
	}
	s.services[id] = svc
	delete(s.gone, goneKey{service: id})
	for i := range r.checks {
		s.putCheck(&r.checks[i], r.file, true)
	}
	for cid, c := range svc.checks {
		switch {
		case r.drops(cid, c):
			s.dropCheck(cid, c)
		case r.loosens(cid, c):
			c.part, c.file = false, false
		}
	}
	if r.rest == dropOthers {
		for _, cid := range s.sleepers(id) {
			delete(s.asleep, cid)
		}
	}
	s.relabel(svc)
	s.changedOf(id)
}

// inherit takes over what an older registration of the service knows.
func (svc *service) inherit(old *service) {
	svc.checks, svc.settled = old.checks, old.settled
	if svc.def.EnableTagOverride && !svc.asserts {
		svc.record.Tags = old.record.Tags // the catalog's
	}
	if old.record.Same(&svc.record) {
		svc.synced, svc.changed = old.synced, old.changed
		return
	}
	close(old.changed)
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

// removeService deregisters a service with its checks, but not its sidecar.
func (s *State) removeService(id string) error {
	return s.change(func(w *disk.Writes) error {
		svc := s.services[id]
		if svc == nil {
			return fmt.Errorf("%w %q", ErrUnknownService, id)
		}
		w.Forget(serviceFolder, id)
		s.forgetTags(w, id)
		for cid := range svc.checks {
			forgetCheck(w, cid)
		}
		for _, cid := range s.sleepers(id) {
			forgetCheck(w, cid)
		}
		return nil
	}, func() {
		svc := s.services[id]
		for _, cid := range s.sleepers(id) {
			delete(s.asleep, cid)
		}
		for cid, c := range svc.checks {
			s.dropCheck(cid, c)
			delete(s.gone, goneKey{service: id, check: cid}) // goes with its service
		}
		delete(s.services, id)
		s.dropTags(id)
		close(svc.changed)
		s.noteGone(goneKey{service: id}, s.token(svc.def.Token, svc.file))
		s.notify()
	})
}

// AddCheck registers a check, or changes it; its last result stays.
func (s *State) AddCheck(def config.CheckDefinition) error { return s.defineCheck(def, false) }

func (s *State) defineCheck(def config.CheckDefinition, file bool) error {
	if err := s.validCheck(&def, file); err != nil {
		return err
	}
	return s.addCheck(def, file)
}

// addCheck registers a check that was defined, or that is kept.
func (s *State) addCheck(def config.CheckDefinition, file bool) error {
	if err := s.completeCheck(&def, file); err != nil {
		return err
	}
	at := time.Now()
	return s.change(func(w *disk.Writes) error {
		return errors.Join(keepStatus(w, &def, at, file), s.planCheck(w, &def, file))
	}, func() {
		s.putCheck(&def, file, false)
		s.changedOf(def.ServiceID)
	})
}

// keepStatus keeps the state that a TTL check is registered with, as if it had
// been reported: after a restart it is good for what is left of its time, and not
// anew.
func keepStatus(w *disk.Writes, def *config.CheckDefinition, at time.Time, file bool) error {
	if file || def.TTL <= 0 || def.Status == "" {
		return nil
	}
	return w.Keep(resultFolder, def.ID, kept{Result: &keptResult{CheckID: def.ID, Status: def.Status, Until: at.Add(def.TTL)}})
}

// planCheck says what the registration of a check writes; s.mu is held.
func (s *State) planCheck(w *disk.Writes, def *config.CheckDefinition, file bool) error {
	if def.ServiceID != "" && s.services[def.ServiceID] == nil {
		return fmt.Errorf("%w: ServiceID %q does not exist", ErrUnknownService, def.ServiceID)
	}
	old := s.checks[def.ID]
	if old == nil && len(s.checks) >= maxChecks {
		return invalid("this agent has %d checks already, its limit", maxChecks)
	}
	if !file {
		return w.Keep(checkFolder, def.ID, kept{Check: def})
	}
	s.forgetAlone(w, def.ID)
	return nil
}

// forgetAlone forgets a check that is kept by itself: from now on a file or its
// service defines it. s.mu is held.
func (s *State) forgetAlone(w *disk.Writes, id string) {
	c := s.checks[id]
	if _, asleep := s.asleep[id]; asleep || c != nil && !c.part && !c.file {
		w.Forget(checkFolder, id)
	}
}

// putCheck installs a check that is valid and runs it; s.mu is held. part says
// that it was defined with its service.
func (s *State) putCheck(def *config.CheckDefinition, file, part bool) {
	c := &check{def: *def, file: file, part: part, record: s.checkRecord(def), stop: func() {}}
	old := s.checks[def.ID]
	if old != nil {
		if old.goesOn(def, file) {
			old.file, old.part = file, part
			return
		}
		old.halt()
		if def.Status == "" {
			c.record.Status, c.record.Output, c.bad = old.record.Status, old.record.Output, old.bad
		}
		if c.settled = old.settled; old.record.Same(&c.record) {
			c.synced = old.synced
			if reflect.DeepEqual(old.def, *def) { // output that is held back stays so
				c.holdOff = old.holdOff
			}
		}
		s.disown(old)
	}
	s.checks[def.ID] = c
	delete(s.asleep, def.ID)
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
	return s.change(func(w *disk.Writes) error {
		if _, asleep := s.asleep[id]; asleep {
			forgetCheck(w, id)
			return nil
		}
		if s.checks[id] == nil {
			return fmt.Errorf("%w %q", ErrUnknownCheck, id)
		}
		return s.planRemoval(w, id)
	}, func() {
		if _, asleep := s.asleep[id]; asleep {
			delete(s.asleep, id)
		} else {
			s.takeCheck(id)
		}
	})
}

// planRemoval says what removing a check that there is writes; s.mu is held.
func (s *State) planRemoval(w *disk.Writes, id string) error {
	if svc := s.definer(s.checks[id]); svc != nil && !svc.file {
		def := svc.without(id)
		if err := w.Keep(serviceFolder, def.ID, stored(&def, svc.asleep)); err != nil {
			return err
		}
	}
	forgetCheck(w, id)
	return nil
}

// takeCheck removes a check that there is; s.mu is held.
func (s *State) takeCheck(id string) {
	c := s.checks[id]
	s.dropCheck(id, c)
	if svc := s.definer(c); svc != nil {
		svc.def = svc.without(id)
	}
	s.notify()
}

// stored is what is kept of a service: its definition, with the checks that are
// asleep.
func stored(def *config.ServiceDefinition, asleep []config.CheckDefinition) kept {
	d := *def
	d.Checks = slices.Concat(def.Checks, asleep)
	return kept{Service: &d}
}

// definer is the service that a check was defined with, or nil.
func (s *State) definer(c *check) *service {
	if !c.part {
		return nil
	}
	return s.services[c.def.ServiceID]
}

// without is the definition of the service without one of its checks.
func (svc *service) without(check string) config.ServiceDefinition {
	def := svc.def
	def.Checks = slices.DeleteFunc(slices.Clone(def.Checks), func(d config.CheckDefinition) bool { return d.ID == check })
	return def
}

// dropCheck takes a check away; s.mu is held.
func (s *State) dropCheck(id string, c *check) {
	c.halt()
	delete(s.checks, id)
	s.disown(c)
	s.noteGone(goneKey{service: c.record.ServiceID, check: id}, s.token(c.def.Token, c.file))
	s.tellAliases()
}

// noteGone notes what is to be deleted from the catalog; s.mu is held. What is
// found by comparing instead is deleted with the agent's token.
func (s *State) noteGone(k goneKey, token string) {
	if len(s.gone) >= maxGone {
		clear(s.gone)
		s.unsure = true
	}
	s.gone[k] = gone{token: token}
}

// token is the secret that a service or check is registered with: its own, else what the
// agent has for such.
func (s *State) token(own string, file bool) string {
	if own != "" || s.cfg.RegistrationToken == nil {
		return own
	}
	return s.cfg.RegistrationToken(file)
}

// ownToken is the secret for what the agent itself asks for.
func (s *State) ownToken() string {
	if s.cfg.Token == nil {
		return ""
	}
	return s.cfg.Token()
}

// Define makes the services and checks from configuration files those given:
// new ones are registered, those that are no longer defined go, those that are
// the same go on undisturbed. If one is not valid, nothing changes.
func (s *State) Define(services []config.ServiceDefinition, defs []config.CheckDefinition) error {
	if err := s.Defines(services, defs); err != nil {
		return err
	}
	services, err := s.withSidecars(services)
	if err != nil {
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
		errs = append(errs, s.defineCheck(d, true))
	}
	oldServices, oldChecks := s.fromFiles()
	for _, id := range oldServices {
		if !keepService[id] {
			if err := s.RemoveService(id); !errors.Is(err, ErrUnknownService) { // gone as a sidecar
				errs = append(errs, err)
			}
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
	services, err := s.withSidecars(services)
	errs := []error{err}
	defined := map[string]bool{}
	for i := range services {
		d := services[i]
		if _, _, err := s.validService(&d, true); err != nil {
			errs = append(errs, fmt.Errorf("service %q: %w", d.Name, err))
		}
		defined[d.ID] = true
	}
	s.mu.Lock()
	for id, svc := range s.services {
		defined[id] = defined[id] || !svc.file
	}
	s.mu.Unlock()
	for i := range defs {
		d := defs[i]
		if err := s.validCheck(&d, true); err != nil {
			errs = append(errs, fmt.Errorf("check %q: %w", d.Name, err))
		}
		if d.ServiceID != "" && !defined[d.ServiceID] {
			errs = append(errs, fmt.Errorf("check %q: %w: ServiceID %q does not exist", d.Name, ErrUnknownService, d.ServiceID))
		}
	}
	return errors.Join(errs...)
}

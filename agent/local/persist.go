package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/legate-project/legate/agent/checks"
	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
)

// Folders in the data directory.
const (
	serviceFolder = "services"
	checkFolder   = "checks"
	resultFolder  = "checks/state"
	tagFolder     = "services/tags"
)

// kept is what a file holds: one of its fields.
type kept struct {
	Service *config.ServiceDefinition `json:",omitempty"`
	Check   *config.CheckDefinition   `json:",omitempty"`
	Result  *keptResult               `json:",omitempty"`
	Tags    *keptTags                 `json:",omitempty"`
}

// keptResult is the last state of a check.
type keptResult struct {
	CheckID, Status, Output string
	// Until the last report of a TTL check is good; a registration that says how
	// it is, is one.
	Until time.Time `json:",omitzero"`
	// Definition of a check that is run; see digest.
	Definition string `json:",omitempty"`
}

// restore reads what was kept: services first, as checks name them. A damaged
// file is put aside, named in the log and otherwise passed over.
func (s *State) restore() error {
	if s.cfg.Dir == "" {
		return nil
	}
	if err := s.restoreTags(); err != nil {
		return err
	}
	real := s.disk
	s.disk = disk.New("") // what is read needs not be written
	defer func() { s.disk = real }()
	var asleep []string
	defer func() { s.tellAsleep(asleep) }()
	for _, folder := range []string{serviceFolder, checkFolder} {
		err := s.eachKept(folder, func(k kept) error {
			k.mend()
			switch {
			case k.Service != nil:
				ids, err := s.restoreService(k.Service)
				asleep = append(asleep, ids...)
				return err
			case k.Check != nil && s.forbidden(k.Check, false):
				s.asleep[k.Check.ID] = *k.Check
				asleep = append(asleep, k.Check.ID)
				return nil // its file stays
			case k.Check != nil:
				err := s.addCheck(*k.Check, false)
				if errors.Is(err, ErrUnknownService) { // a file may define it
					s.waiting = append(s.waiting, *k.Check)
					return nil
				}
				return err
			}
			return errors.New("holds neither a service nor a check")
		})
		if err != nil {
			return err
		}
	}
	return s.eachKept(resultFolder, func(k kept) error {
		if k.Result == nil {
			return errors.New("holds no result")
		}
		switch k.Result.Status {
		case checks.Passing, checks.Warning, checks.Critical:
		default:
			return fmt.Errorf("holds the state %.32q, which is none", k.Result.Status)
		}
		if c := s.checks[k.Result.CheckID]; c != nil && c.def.TTL > 0 && time.Now().Before(k.Result.Until) {
			c.record.Status, c.record.Output = k.Result.Status, s.output(k.Result.Output)
		}
		return nil
	})
}

// forgetCheck removes what is kept of a check.
func forgetCheck(w *disk.Writes, id string) {
	w.Forget(checkFolder, id)
	w.Forget(resultFolder, id)
}

// mend makes definitions valid that were taken when less was refused.
func (k *kept) mend() {
	var all []*config.CheckDefinition
	if k.Check != nil {
		all = append(all, k.Check)
	}
	if k.Service != nil {
		for i := range k.Service.Checks {
			all = append(all, &k.Service.Checks[i])
		}
	}
	for _, d := range all {
		if d.OutputMaxSize = max(d.OutputMaxSize, 0); d.TTL > 0 {
			d.Interval = 0
		}
	}
}

// restoreService registers a kept service without those of its checks that may not run
// now, and returns their IDs. Their definitions stay on disk for when they may.
func (s *State) restoreService(def *config.ServiceDefinition) (ids []string, err error) {
	all := def.Checks
	def.Checks = nil
	var asleep []config.CheckDefinition
	for _, d := range all {
		if s.forbidden(&d, false) {
			asleep, ids = append(asleep, d), append(ids, d.ID)
		} else {
			def.Checks = append(def.Checks, d)
		}
	}
	if err := s.addService(*def, false, keepOthers); err != nil {
		return nil, err
	}
	s.services[orElse(def.ID, def.Name)].asleep = asleep
	return ids, nil
}

// sleepers are the IDs of a service's checks that are asleep and kept by
// themselves; s.mu is held.
func (s *State) sleepers(service string) (ids []string) {
	for id, d := range s.asleep {
		if d.ServiceID == service {
			ids = append(ids, id)
		}
	}
	return ids
}

// tellAsleep says once which kept checks are not here.
func (s *State) tellAsleep(ids []string) {
	const shown = 8
	if len(ids) > 0 {
		s.log.Warn("scripts are disabled: kept checks that run one are left out, and their services stand without them, until enable_script_checks is true again",
			"count", len(ids), "checks", ids[:min(len(ids), shown)])
	}
}

// adopt registers the kept checks of services that files define. Those whose
// service is defined no more go, as they would have gone with it.
func (s *State) adopt() error {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	var errs []error
	for _, d := range waiting {
		err := s.addCheck(d, false)
		if errors.Is(err, ErrUnknownService) {
			s.log.Warn("a kept check goes: its service is not defined any more", "check", d.ID, "service", d.ServiceID)
			err = s.change(func(w *disk.Writes) error {
				forgetCheck(w, d.ID)
				return nil
			}, func() {})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *State) eachKept(folder string, use func(kept) error) error {
	dir := filepath.Join(s.cfg.Dir, folder)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", folder, err)
	}
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		if strings.HasPrefix(f.Name(), disk.Unfinished) { // the agent was killed while it wrote
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("restore %s: %w", folder, err)
			}
			continue
		}
		if f.IsDir() || filepath.Ext(name) != ".json" {
			continue
		}
		k, err := readKept(name)
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return fmt.Errorf("restore %s: %w", folder, err)
		}
		if err == nil {
			err = use(k)
		}
		if err != nil {
			s.log.Error("a kept file is damaged; it is put aside as .bad and passed over: register again what it held", "file", name, "error", err)
			if err := os.Rename(name, name+".bad"); err != nil {
				return fmt.Errorf("put %s aside: %w", name, err)
			}
		}
	}
	return nil
}

// resumeTTL lets a TTL that was reported before a restart run on; s.mu is
// held.
func (s *State) resumeTTL(c *check) {
	if s.cfg.Dir == "" {
		return
	}
	k, err := readKept(s.disk.Path(resultFolder, c.def.ID))
	if err != nil || k.Result == nil {
		return // never reported, or restore has put it aside
	}
	if time.Now().Before(k.Result.Until) {
		c.ttl.Resume(k.Result.Output, k.Result.Until)
		c.record.Status, c.record.Output = k.Result.Status, s.output(k.Result.Output)
	} else if !s.running || c.def.Status == "" { // who registers it now may say how it is
		c.record.Status, c.record.Output = checks.Critical, s.output(checks.Expired(k.Result.Output))
	}
}

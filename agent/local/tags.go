package local

import (
	"errors"
	"slices"

	"github.com/legate-project/legate/agent/local/disk"
	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/state/catalog"
)

// Others may change the tags of a service with enable_tag_override in the
// catalog, and so may its own agent: a definition that says other tags than the
// one before goes to the catalog first, and what others change after that flows
// back. State.taken has, for each such service, the tags that its definition had
// when the catalog last took them, or when the catalog's were taken for them. It
// is kept on disk: a definition may change while the agent is down.

// keptTags are what is in State.taken of one service.
type keptTags struct {
	ServiceID string
	Tags      []string
}

// assertsTags reports whether the tags of a definition go before the catalog's;
// s.mu is held. old is the service as it was, or nil.
func (s *State) assertsTags(def *config.ServiceDefinition, old *service) bool {
	if !def.EnableTagOverride {
		return false
	}
	if old != nil {
		return old.asserts || !old.def.EnableTagOverride || !slices.Equal(def.Tags, old.def.Tags)
	}
	if taken, ok := s.taken[def.ID]; ok {
		return !slices.Equal(def.Tags, taken)
	}
	return s.running // what was there before this start says nothing new
}

// compareTags takes the catalog's tags over where they may differ; s.mu is held.
func (s *State) compareTags(svc *service, at *catalog.Service) {
	theirs := at.Tags
	same := slices.Equal(svc.record.Tags, theirs)
	if _, known := s.taken[svc.def.ID]; svc.def.EnableTagOverride && !known && !at.EnableTagOverride {
		svc.asserts = true // they are this agent's, from before others might change them
	}
	if !svc.def.EnableTagOverride || svc.asserts && !same {
		return
	}
	s.settleTags(svc)
	if same {
		return
	}
	svc.record.Tags = theirs
	close(svc.changed)
	svc.changed = make(chan struct{})
	s.relabel(svc)
}

// settleTags notes that the tags of a service's definition have been in the
// catalog, or have given way to what others put there; s.mu is held.
func (s *State) settleTags(svc *service) {
	if !svc.def.EnableTagOverride {
		return
	}
	svc.asserts = false
	if taken, ok := s.taken[svc.def.ID]; !ok || !slices.Equal(taken, svc.def.Tags) {
		s.taken[svc.def.ID] = svc.def.Tags
		s.unkept[svc.def.ID] = true
	}
}

// keepTags writes what settleTags noted.
func (s *State) keepTags() error {
	s.mu.Lock()
	n := len(s.unkept)
	s.mu.Unlock()
	if n == 0 {
		return nil
	}
	return s.change(func(w *disk.Writes) error {
		for id := range s.unkept {
			tags, ok := s.taken[id]
			if !ok {
				continue // the service is gone
			}
			if err := w.Keep(tagFolder, id, kept{Tags: &keptTags{ServiceID: id, Tags: tags}}); err != nil {
				return err
			}
		}
		return nil
	}, func() { clear(s.unkept) })
}

// forgetTags forgets what settleTags noted of a service, and dropTags does so
// when the change is carried out; s.mu is held.
func (s *State) forgetTags(w *disk.Writes, id string) {
	if _, ok := s.taken[id]; ok {
		w.Forget(tagFolder, id)
	}
}

func (s *State) dropTags(id string) {
	delete(s.taken, id)
	delete(s.unkept, id)
}

// restoreTags reads what was kept of State.taken.
func (s *State) restoreTags() error {
	return s.eachKept(tagFolder, func(k kept) error {
		if k.Tags == nil {
			return errors.New("holds no tags")
		}
		s.taken[k.Tags.ServiceID] = k.Tags.Tags
		return nil
	})
}

// sweepTags forgets the tags of services that are not defined any more.
func (s *State) sweepTags() error {
	var left []string
	return s.change(func(w *disk.Writes) error {
		left = nil
		for id := range s.taken {
			if svc := s.services[id]; svc == nil || !svc.def.EnableTagOverride {
				left = append(left, id)
				s.forgetTags(w, id)
			}
		}
		return nil
	}, func() {
		for _, id := range left {
			s.dropTags(id)
		}
	})
}

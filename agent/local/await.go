package local

import (
	"context"
	"time"
)

// AwaitSync waits until the catalog has taken or refused what was changed here,
// before the call, of a service with its checks or of one check; with neither,
// of the node's own checks. It waits no longer than HoldTimeout, and not after
// Leave or before Start. Nothing is lost when it gives up: anti-entropy goes on.
//
// What is not to be sent now is not waited for: output that is held back, and
// what was refused a moment ago.
func (s *State) AwaitSync(ctx context.Context, service, checkID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.number // what is sent from now on has all that was changed before
	serviceID, pending := s.pending(service, checkID, since)
	if !s.running || !pending {
		return
	}
	select {
	case s.urgent <- struct{}{}:
	default:
	}
	over := time.NewTimer(s.cfg.HoldTimeout)
	defer over.Stop()
	s.awaiting++
	defer func() { s.awaiting-- }()
	for pending && s.awaitService(ctx, serviceID, over.C) {
		serviceID, pending = s.pending(service, checkID, since)
	}
}

// waiters is what those share who wait for something of one service.
type waiters struct {
	waiting int
	told    chan struct{} // closed when something of it was taken or refused
}

// awaitService waits until something of a service was taken or refused; it reports
// whether it was. s.mu is held, but not while it waits.
func (s *State) awaitService(ctx context.Context, id string, over <-chan time.Time) bool {
	l := s.waiters[id]
	if l == nil {
		l = &waiters{told: make(chan struct{})}
		s.waiters[id] = l
	}
	l.waiting++
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-l.told:
		return true
	case <-over:
	case <-ctx.Done():
	case <-s.sending.Context().Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.waiting--; l.waiting == 0 && s.waiters[id] == l {
		delete(s.waiters, id)
	}
	return false
}

// tell wakes those who wait for something of a service; s.mu is held.
func (s *State) tell(id string) {
	if l := s.waiters[id]; l != nil {
		delete(s.waiters, id)
		close(l.told)
	}
}

// settled notes that what a batch covers was taken or refused; s.mu is held. It
// also counts for what has changed since: who waits for an older change does not
// wait for that.
func (b *batch) settled(s *State) {
	if svc := s.services[b.serviceID]; svc != nil && b.service != nil {
		svc.settled = b.number
	}
	for _, old := range b.checks {
		if c := s.checks[old.def.ID]; c != nil {
			c.settled = b.number
		}
	}
	s.tell(b.serviceID)
}

// awaited reports whether somebody waits.
func (s *State) awaited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.awaiting > 0
}

// pending reports whether something of a service with its checks, or of a
// check, is to be sent now and was neither taken nor refused in a batch later
// than a given one, and of which service it is. s.mu is held.
func (s *State) pending(service, checkID string, since uint64) (serviceID string, is bool) {
	now := time.Now()
	for k, g := range s.gone {
		if (checkID != "" && k.check == checkID || checkID == "" && k.service == service) && !g.holdOff.After(now) {
			return k.service, true
		}
	}
	due := func(c *check) bool { return !c.synced && !c.holdOff.After(now) && c.settled <= since }
	if checkID != "" {
		c := s.checks[checkID]
		if c == nil || !due(c) {
			return "", false
		}
		return c.record.ServiceID, true
	}
	of := s.checks
	if svc := s.services[service]; svc != nil {
		if of = svc.checks; !svc.synced && !svc.holdOff.After(now) && svc.settled <= since {
			return service, true
		}
	}
	for _, c := range of {
		if c.record.ServiceID == service && due(c) {
			return service, true
		}
	}
	return "", false
}

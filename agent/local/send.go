package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

const (
	// maxInFlight is how many registrations are on their way at once: enough that
	// they share entries of the Raft log, few enough for a server to take from
	// many agents.
	maxInFlight = 64
	// maxShownErrors of one round, which may have as many as there are services.
	maxShownErrors = 8
	// roundLength is how long a round takes up what changes while it is under
	// way: then a comparison may be due.
	roundLength = 5 * time.Second
)

// faults gathers what went wrong in one round.
type faults struct {
	broken  error   // the servers can carry out nothing
	refused []error // they said no to one change
	more    int     // refusals that are not in the list
}

func (f *faults) note(err error) {
	switch {
	case err == nil:
	case !refused(err):
		f.broken = errors.Join(f.broken, err)
	case len(f.refused) < maxShownErrors:
		f.refused = append(f.refused, err)
	default:
		f.more++
	}
}

// all is everything in one error, first what is no refusal.
func (f *faults) all() error {
	errs := append([]error{f.broken}, f.refused...)
	if f.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", f.more))
	}
	return errors.Join(errs...)
}

// refused reports whether the servers said no to one change, rather than that
// they can carry out none.
func refused(err error) bool {
	switch op.CodeOf(err) {
	case op.CodeInvalid, op.CodeDenied, op.CodeConflict, op.CodeTooLarge:
		return true
	}
	return false
}

// broken reports whether an error, or a part of it, is no refusal.
func broken(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(all.Unwrap(), broken)
	}
	return err != nil && !refused(err)
}

// sendGone deletes from the catalog what is not here any more. What is refused
// does not keep the rest back. Nothing else is on its way meanwhile: a check may
// have gone to another service.
func (s *State) sendGone(ctx context.Context) error {
	s.mu.Lock()
	keys := s.goneDue(time.Now())
	s.mu.Unlock()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // of what follows
		next int
		all  faults
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= len(keys) && all.broken == nil && ctx.Err() == nil
	}
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		all.note(err)
	}
	for range min(len(keys), maxInFlight) {
		wg.Add(1)
		err := s.sending.Spawn("deregistration", func(context.Context) {
			defer wg.Done()
			for i, ok := take(); ok; i, ok = take() {
				note(s.deregister(ctx, keys[i]))
			}
		})
		if err != nil {
			wg.Done()
			note(err)
		}
	}
	wg.Wait()
	if all.broken == nil && next < len(keys) {
		all.broken = ctx.Err()
	}
	return all.all()
}

// goneDue lists what is to be deleted now; s.mu is held.
func (s *State) goneDue(now time.Time) (keys []goneKey) {
	for k, g := range s.gone {
		if !g.holdOff.After(now) {
			keys = append(keys, k)
		}
	}
	return keys
}

// deregister deletes one thing from the catalog, unless it is here again.
func (s *State) deregister(ctx context.Context, k goneKey) error {
	s.mu.Lock()
	g, ok := s.gone[k]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	req := &catalog.DeregisterRequest{Node: s.cfg.NodeName, ServiceID: k.service}
	if k.check != "" { // with both named, the catalog deletes the service
		req.ServiceID, req.CheckID = "", k.check
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	_, _, err := catalog.Deregister.Call(ctx, s.cfg.Caller, op.Header{Token: g.token}, req)
	s.metrics.wrote(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		delete(s.gone, k)
		s.tell(k.service)
		return nil
	case refused(err):
		if g, ok := s.gone[k]; ok {
			g.holdOff = time.Now().Add(s.cfg.RetryPeriod)
			s.gone[k] = g
		}
		s.tell(k.service)
	}
	return fmt.Errorf("deregister service %q check %q: %w", k.service, k.check, err)
}

// sendNode registers the node by itself, where tokens of services may not write it: they
// need it to be there.
func (s *State) sendNode(ctx context.Context) error {
	s.mu.Lock()
	own := s.ownToken()
	alone := false
	if !s.nodeSent {
		for _, svc := range s.services {
			alone = alone || !svc.synced && s.token(svc.def.Token, svc.file) != own
		}
		for _, c := range s.checks {
			alone = alone || !c.synced && s.token(c.def.Token, c.file) != own
		}
	}
	b := s.newBatch("", own, s.node())
	s.mu.Unlock()
	if !alone {
		return nil
	}
	return s.register(ctx, b)
}

// sendChanged registers what differs: each service with its checks in one
// command, beside the node's own checks. What changes meanwhile joins, so that
// nobody waits for the slowest of a round; one service is on its way once at a
// time. A service that is refused does not keep the others back. After an error
// that is no refusal nothing more is sent: the servers are not well.
func (s *State) sendChanged(ctx context.Context) error {
	var (
		all     faults
		flying  = map[string]int{} // batches on their way, by service
		ended   = make(chan ending, maxInFlight)
		until   = time.Now().Add(roundLength)
		waiting = s.unsent()
		open    = true // for what changes meanwhile
		woken   bool
		total   int
	)
	for {
		for len(waiting) > 0 && total < maxInFlight && all.broken == nil && ctx.Err() == nil {
			b := waiting[0]
			waiting = waiting[1:]
			flying[b.serviceID]++
			total++
			err := s.sending.Spawn("registration", func(context.Context) { ended <- ending{b, s.register(ctx, b)} })
			if err != nil {
				ended <- ending{b, err}
			}
		}
		if total == 0 {
			break
		}
		select {
		case e := <-ended:
			total--
			if flying[e.batch.serviceID]--; flying[e.batch.serviceID] == 0 {
				delete(flying, e.batch.serviceID)
			}
			all.note(e.err)
		case <-s.wake:
			woken = true
		}
		if open = open && time.Now().Before(until); open && len(waiting) == 0 && total < maxInFlight {
			waiting, open = s.joining(flying, maxInFlight-total)
		}
	}
	if woken { // what did not join is for the next round
		s.notify()
	}
	if all.broken == nil && len(waiting) > 0 {
		all.broken = ctx.Err()
	}
	return all.all()
}

// ending is the end of one registration.
type ending struct {
	batch *batch
	err   error
}

// register sends one batch.
func (s *State) register(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	_, _, err := catalog.Register.Call(ctx, s.cfg.Caller, op.Header{Token: b.token}, &b.request)
	s.metrics.wrote(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		b.sent(s)
		b.settled(s)
		return nil
	case refused(err):
		b.hold(time.Now().Add(s.cfg.RetryPeriod))
		b.settled(s)
	}
	return fmt.Errorf("register %s: %w", b.what(), err)
}

// batch is one registration with what it covers.
type batch struct {
	serviceID string // ID of the service, or empty for the node's own checks
	number    uint64 // one that began later has a higher one
	request   catalog.RegisterRequest
	service   *service
	record    catalog.Service // of the service, as sent
	checks    []*check
	results   []catalog.Check // of checks, as sent
	node      *catalog.Node   // as sent
	token     string
}

func (b *batch) what() string {
	if b.serviceID == "" {
		return "the node and its checks"
	}
	return fmt.Sprintf("service %q", b.serviceID)
}

// sent notes what the catalog now has; s.mu is held. What changed meanwhile
// stays to be sent.
func (b *batch) sent(s *State) {
	s.nodeSent = s.nodeSent || !b.request.SkipNodeUpdate && b.node.Same(s.node())
	if b.service != nil && s.services[b.record.ID] == b.service && b.service.record.Same(&b.record) {
		b.service.synced = true
		s.settleTags(b.service)
	}
	for i, c := range b.checks {
		if s.checks[c.def.ID] == c && c.record.Same(&b.results[i]) {
			c.synced = true
		}
	}
}

// hold keeps what was refused back for a while; s.mu is held.
func (b *batch) hold(until time.Time) {
	if b.service != nil {
		b.service.holdOff = until
	}
	for _, c := range b.checks {
		c.holdOff = until
	}
}

// unsent gathers what is to be sent.
func (s *State) unsent() []*batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fresh)
	now, node := time.Now(), s.node()
	out := s.unsentOf("", node, now)
	for id := range s.services {
		out = append(out, s.unsentOf(id, node, now)...)
	}
	if len(out) == 0 && !s.nodeSent {
		out = append(out, s.newBatch("", s.ownToken(), node))
	}
	return out
}

// joining gathers what was changed since the last look and is not on its way
// already, for a number of places. It is not open if something has to happen
// before more can be sent: that is for the next round.
func (s *State) joining(flying map[string]int, places int) (out []*batch, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fresh) == 0 {
		return nil, true
	}
	now, node := time.Now(), s.node()
	if s.unsure || len(s.goneDue(now)) > 0 {
		return nil, false
	}
	var ids []string
	open = true
	for id := range s.fresh {
		if len(ids) == places {
			break
		}
		switch svc := s.services[id]; {
		case flying[id] > 0:
		case svc != nil && svc.looksFirst(): // what was changed is compared first
			open = false
		default:
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		delete(s.fresh, id)
		out = append(out, s.unsentOf(id, node, now)...)
	}
	return out, open
}

// unsentOf gathers what is to be sent of a service with its checks or, without
// an ID, of the node's own checks, in batches for one token each: what files and
// clients define beside each other may have several. s.mu is held.
func (s *State) unsentOf(id string, node *catalog.Node, now time.Time) (out []*batch) {
	by := map[string]*batch{}
	add := func(token string) *batch {
		b := by[token]
		if b == nil {
			b = s.newBatch(id, token, node)
			by[token], out = b, append(out, b)
		}
		return b
	}
	checks := s.checks
	svc := s.services[id]
	if svc != nil && svc.looksFirst() && !svc.looked {
		s.notify() // changed since the comparison: the next round begins with one
		return nil
	}
	if svc != nil {
		svc.looked = false
		if checks = svc.checks; !svc.synced && !svc.holdOff.After(now) {
			b := add(s.token(svc.def.Token, svc.file))
			b.service, b.record = svc, svc.record
			record := svc.record // the call may complete it
			b.request.Service = &record
		}
	}
	for _, c := range checks {
		if c.record.ServiceID != id || c.synced || c.holdOff.After(now) {
			continue
		}
		token := s.token(c.def.Token, c.file)
		if svc != nil {
			token = s.token(orElse(c.def.Token, svc.def.Token), c.file)
			if !svc.synced && token != s.token(svc.def.Token, svc.file) {
				s.changedOf(id) // its service has to be there first: it goes after it
				continue
			}
		}
		b := add(token)
		b.checks, b.results = append(b.checks, c), append(b.results, c.record)
		b.request.Checks = append(b.request.Checks, c.record)
	}
	return out
}

// newBatch returns one that has nothing but the node; s.mu is held. What the
// catalog has of the node already stays, and tokens of services do not write it.
func (s *State) newBatch(service, token string, n *catalog.Node) *batch {
	s.number++
	return &batch{serviceID: service, number: s.number, node: n, token: token,
		request: catalog.RegisterRequest{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
			TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta, Locality: n.Locality, SkipNodeUpdate: s.nodeSent || token != s.ownToken()}}
}

package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
)

// The leader's own: service and check that it keeps for members.
const leaderService = "consul"

const (
	syncTimeout = 30 * time.Second // one comparison or one round of changes
	firstRetry  = 500 * time.Millisecond
	// scaleFrom is the cluster size above which full comparisons get rarer,
	// by one period for each doubling.
	scaleFrom = 128
	// maxInFlight is how many registrations are on their way at once: enough that
	// they share entries of the Raft log, few enough for a server to take from
	// many agents.
	maxInFlight = 64
	// maxShownErrors of one round, which may have as many as there are services.
	maxShownErrors = 8
	// When a server appears, agents come to it spread over this long for each
	// member, so that a large datacenter does not come at once.
	arrivalSpread    = 10 * time.Millisecond
	maxArrivalSpread = 3 * time.Second
	// coordinateRate is how many coordinates a datacenter takes a second.
	coordinateRate = 64
)

// syncLoop compares everything now and then, and sends changes as they come.
// Its times are differences of the monotonic clock: setting the wall clock
// moves none of them.
func (s *State) syncLoop(ctx context.Context) {
	var nextFull time.Time // zero: at once
	retry := firstRetry
	for ctx.Err() == nil {
		full := !time.Now().Before(nextFull)
		err := s.sync(ctx, full)
		s.metrics.syncs(err)
		if refused(err) {
			s.log.Warn("the catalog refuses services or checks of this agent", "error", err, "again in", s.cfg.RetryPeriod)
		} else if err != nil && ctx.Err() == nil {
			wait := retry/2 + rand.N(retry/2) // agents that failed together come back one by one
			s.log.Warn("sync services and checks with the catalog", "error", err, "again in", wait)
			retry = min(2*retry, s.cfg.RetryPeriod)
			if s.pause(ctx, wait, nil) { // what failed will fail again: changes do not wake it
				nextFull = time.Time{}
			}
			continue
		}
		if retry = firstRetry; full {
			nextFull = time.Now().Add(s.fullPeriod())
		}
		if s.pause(ctx, s.nextHoldOff(time.Until(nextFull)), s.wake) {
			nextFull = time.Time{}
		}
	}
}

// pause waits until the time is over, something is to be sent or ctx ends. It
// reports whether a server appeared: then it is time to compare everything.
func (s *State) pause(ctx context.Context, wait time.Duration, wake <-chan struct{}) (appeared bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake: // changes, however many, do not put the comparison off
	case <-s.full:
		spread := min(time.Duration(s.cfg.ClusterSize()-1)*arrivalSpread, maxArrivalSpread)
		timer.Reset(rand.N(max(spread, 0) + 1))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		return true
	}
	return false
}

// fullPeriod is the time between full comparisons: longer in large
// datacenters, and never the same on two agents.
func (s *State) fullPeriod() time.Duration {
	p := s.cfg.SyncPeriod
	if n := s.cfg.ClusterSize(); n > scaleFrom {
		p *= time.Duration(1 + math.Ceil(math.Log2(float64(n)/scaleFrom)))
	}
	return p + rand.N(p/4+1)
}

// nextHoldOff shortens the wait to the first of what is held back.
func (s *State) nextHoldOff(wait time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	until := func(t time.Time) {
		if t.After(now) {
			wait = min(wait, t.Sub(now))
		}
	}
	for _, c := range s.checks {
		if !c.synced {
			until(c.holdOff)
		}
	}
	for _, svc := range s.services {
		if !svc.synced {
			until(svc.holdOff)
		}
	}
	for _, g := range s.gone {
		until(g.holdOff)
	}
	return wait
}

// sync sends what differs; with full it first looks at what the catalog has.
func (s *State) sync(ctx context.Context, full bool) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	defer context.AfterFunc(s.sending.Context(), cancel)()
	if full || s.uncertain() {
		if err := s.compare(ctx); err != nil {
			return fmt.Errorf("compare with the catalog: %w", err)
		}
	}
	err := s.sendGone(ctx)
	if err != nil && !refused(err) {
		return err
	}
	return errors.Join(err, s.sendChanged(ctx))
}

// uncertain reports whether only a comparison tells what is to be sent: more
// went than was noted, or a service is to be sent whose tags the catalog may know
// better.
func (s *State) uncertain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsure {
		return true
	}
	for _, svc := range s.services {
		if !svc.synced && svc.def.EnableTagOverride {
			return true
		}
	}
	return false
}

// compare marks what differs from the catalog, and what the catalog has under
// this node that this agent does not know.
func (s *State) compare(ctx context.Context) error {
	at := &catalog.NodeRequest{Node: s.cfg.NodeName}
	h := op.Header{Token: s.token("", false)}
	remote, _, err := catalog.GetNodeServices.Call(ctx, s.cfg.Caller, h, at)
	if err != nil {
		return err
	}
	remoteChecks, _, err := catalog.ListNodeChecks.Call(ctx, s.cfg.Caller, h, at)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var services map[string]*catalog.Service
	s.nodeSent, s.unsure = false, false
	if remote != nil {
		services = remote.Services
		s.nodeSent = remote.Node.Same(s.node())
	}
	for id, svc := range s.services {
		theirs := services[id]
		if theirs != nil && svc.def.EnableTagOverride && !slices.Equal(svc.record.Tags, theirs.Tags) {
			svc.record.Tags = theirs.Tags
			close(svc.changed)
			svc.changed = make(chan struct{})
			s.relabel(svc)
		}
		svc.synced = theirs != nil && theirs.Same(&svc.record)
	}
	for id := range services {
		if s.services[id] == nil && id != leaderService {
			s.goneUnlessKnown(goneKey{service: id}, h.Token)
		}
	}
	s.compareChecks(remoteChecks, services, h.Token)
	return nil
}

// goneUnlessKnown notes what is to be deleted; s.mu is held. What does not fit
// is for the next comparison.
func (s *State) goneUnlessKnown(k goneKey, token string) {
	if _, ok := s.gone[k]; !ok && len(s.gone) < maxGone {
		s.gone[k] = gone{token: token}
	}
}

func (s *State) compareChecks(remote *catalog.Checks, services map[string]*catalog.Service, token string) {
	theirs, now := map[string]*catalog.Check{}, time.Now()
	if remote != nil {
		for i := range *remote {
			theirs[(*remote)[i].CheckID] = &(*remote)[i]
		}
	}
	for id, c := range s.checks {
		c.against(theirs[id], now)
	}
	for id, t := range theirs {
		switch {
		case s.checks[id] != nil, id == catalog.SerfHealth, t.ServiceID == leaderService:
		case s.services[t.ServiceID] == nil && services[t.ServiceID] != nil: // goes with its service
		default:
			s.goneUnlessKnown(goneKey{service: t.ServiceID, check: id}, token)
		}
	}
}

// against compares a check with the catalog's, which may be nil. Output that
// is held back stays so, as long as nothing else differs.
func (c *check) against(theirs *catalog.Check, now time.Time) {
	c.synced = theirs != nil && c.record.Same(theirs)
	if c.synced || !c.holdOff.After(now) {
		return
	}
	if theirs != nil {
		mine := c.record
		if mine.Output = theirs.Output; mine.Same(theirs) {
			return
		}
	}
	c.holdOff = time.Time{}
}

// node is what the catalog is to hold of this node.
func (s *State) node() *catalog.Node {
	return &catalog.Node{ID: s.cfg.NodeID, Node: s.cfg.NodeName, Address: s.cfg.Address, Datacenter: s.cfg.Datacenter,
		TaggedAddresses: s.cfg.TaggedAddresses, Meta: s.cfg.Meta}
}

// sendGone deletes from the catalog what is not here any more. What is refused
// does not keep the rest back.
func (s *State) sendGone(ctx context.Context) error {
	s.mu.Lock()
	now := time.Now()
	var keys []goneKey
	var tokens []string
	for k, g := range s.gone {
		if !g.holdOff.After(now) {
			keys, tokens = append(keys, k), append(tokens, g.token)
		}
	}
	s.mu.Unlock()
	return s.each(ctx, len(keys), func(ctx context.Context, i int) error {
		k := keys[i]
		req := &catalog.DeregisterRequest{Node: s.cfg.NodeName, ServiceID: k.service}
		if k.check != "" { // with both named, the catalog deletes the service
			req.ServiceID, req.CheckID = "", k.check
		}
		_, _, err := catalog.Deregister.Call(ctx, s.cfg.Caller, op.Header{Token: tokens[i]}, req)
		s.metrics.wrote(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case err == nil:
			delete(s.gone, k)
			return nil
		case refused(err):
			if g, ok := s.gone[k]; ok {
				g.holdOff = time.Now().Add(s.cfg.RetryPeriod)
				s.gone[k] = g
			}
		}
		return fmt.Errorf("deregister service %q check %q: %w", k.service, k.check, err)
	})
}

// each does n things, a bounded number of them at a time. After an error that
// is no refusal it begins none any more: the servers are not well.
func (s *State) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	var (
		wg           sync.WaitGroup
		mu           sync.Mutex // of what follows
		next, failed int
		errs         []error // refusals
		broken       error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && broken == nil && ctx.Err() == nil
	}
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !refused(err):
			broken = errors.Join(broken, err)
		case len(errs) < maxShownErrors:
			errs = append(errs, err)
		default:
			failed++
		}
	}
	for range min(n, maxInFlight) {
		wg.Add(1)
		err := s.sending.Spawn("registration", func(context.Context) {
			defer wg.Done()
			for i, ok := take(); ok; i, ok = take() {
				if err := do(ctx, i); err != nil {
					note(err)
				}
			}
		})
		if err != nil {
			wg.Done()
			note(err)
		}
	}
	wg.Wait()
	if failed > 0 {
		errs = append(errs, fmt.Errorf("and %d more", failed))
	}
	if broken == nil && next < n {
		broken = ctx.Err()
	}
	return errors.Join(append([]error{broken}, errs...)...)
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

// sendChanged registers what differs: each service with its checks in one
// command, beside the node's own checks. A service that is refused does not
// keep the others back.
func (s *State) sendChanged(ctx context.Context) error {
	batches := s.unsent()
	return s.each(ctx, len(batches), func(ctx context.Context, i int) error {
		b := batches[i]
		_, _, err := catalog.Register.Call(ctx, s.cfg.Caller, op.Header{Token: b.token}, &b.request)
		s.metrics.wrote(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case err == nil:
			b.sent(s)
			return nil
		case refused(err):
			b.hold(time.Now().Add(s.cfg.RetryPeriod))
		}
		return fmt.Errorf("register %s: %w", b.what(), err)
	})
}

// batch is one registration with what it covers.
type batch struct {
	request catalog.RegisterRequest
	service *service
	record  catalog.Service // of the service, as sent
	checks  []*check
	results []catalog.Check // of checks, as sent
	node    *catalog.Node   // as sent
	token   string
}

func (b *batch) what() string {
	if b.service == nil {
		return "checks of the node"
	}
	return fmt.Sprintf("service %q", b.record.ID)
}

// sent notes what the catalog now has; s.mu is held. What changed meanwhile
// stays to be sent.
func (b *batch) sent(s *State) {
	s.nodeSent = s.nodeSent || b.node.Same(s.node())
	if b.service != nil && s.services[b.record.ID] == b.service && b.service.record.Same(&b.record) {
		b.service.synced = true
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

// unsent gathers what is to be sent, in batches for one token each: what files
// and clients define beside each other may have several.
func (s *State) unsent() []*batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	node := s.node()
	type key struct{ service, token string }
	by := map[key]*batch{}
	var out []*batch
	add := func(service, token string) *batch {
		b := by[key{service, token}]
		if b == nil {
			b = &batch{request: s.request(node), node: node, token: token}
			by[key{service, token}], out = b, append(out, b)
		}
		return b
	}
	for id, svc := range s.services {
		if !svc.synced && !svc.holdOff.After(now) {
			b := add(id, s.token(svc.def.Token, svc.file))
			b.service, b.record = svc, svc.record
			record := svc.record // the call may complete it
			b.request.Service = &record
		}
	}
	for id, c := range s.checks {
		if c.synced || c.holdOff.After(now) {
			continue
		}
		service, token := c.record.ServiceID, s.token(c.def.Token, c.file)
		if svc := s.services[service]; service != "" && svc != nil {
			token = s.token(orElse(c.def.Token, svc.def.Token), c.file)
			if !svc.synced && token != s.token(svc.def.Token, svc.file) {
				s.notify() // its service has to be there first: it goes in the next round
				continue
			}
		}
		b := add(service, token)
		b.checks, b.results = append(b.checks, s.checks[id]), append(b.results, c.record)
		b.request.Checks = append(b.request.Checks, c.record)
	}
	if len(out) == 0 && !s.nodeSent {
		out = append(out, &batch{request: s.request(node), node: node, token: s.token("", false)})
	}
	return out
}

// request describes the node; what the catalog has of it already stays.
func (s *State) request(n *catalog.Node) catalog.RegisterRequest {
	return catalog.RegisterRequest{ID: n.ID, Node: n.Node, Address: n.Address, Datacenter: n.Datacenter,
		TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta, SkipNodeUpdate: s.nodeSent}
}

// reapLoop removes services whose checks have been critical for as long as
// their definition allows.
func (s *State) reapLoop(ctx context.Context) {
	const period = 30 * time.Second
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		dead := s.overdue(time.Now())
		for _, id := range dead {
			s.log.Warn("service was critical for too long, deregistering it", "service", id)
			if err := s.RemoveService(id); err != nil && !errors.Is(err, ErrUnknownService) {
				s.log.Error("deregister service", "service", id, "error", err)
			}
		}
	}
}

// overdue lists the services that have been critical for too long by now.
func (s *State) overdue(now time.Time) []string {
	const shortest = time.Minute
	s.mu.Lock()
	defer s.mu.Unlock()
	var dead []string
	for _, c := range s.checks {
		after := c.def.DeregisterCriticalServiceAfter
		if after > 0 && c.record.ServiceID != "" && !c.bad.IsZero() && now.Sub(c.bad) >= max(after, shortest) {
			dead = append(dead, c.record.ServiceID)
		}
	}
	return dead
}

// coordinateLoop sends the node's network coordinate, the more rarely the
// more nodes there are.
func (s *State) coordinateLoop(ctx context.Context) {
	for {
		period := max(s.cfg.CoordinatePeriod, time.Duration(s.cfg.ClusterSize())*time.Second/coordinateRate)
		timer := time.NewTimer(period/2 + rand.N(period))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		c := s.cfg.Coordinate()
		if c == nil {
			continue
		}
		e := &coordinate.Entry{Node: s.cfg.NodeName, Coord: coordinate.FromSerf(c)}
		if _, _, err := coordinate.Update.Call(ctx, s.cfg.Caller, op.Header{Token: s.token("", false)}, e); err != nil && ctx.Err() == nil {
			s.log.Debug("send the network coordinate", "error", err)
		}
	}
}

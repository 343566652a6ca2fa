package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
	// coordinateRate is how many coordinates a datacenter takes a second.
	coordinateRate = 64
)

// syncLoop compares everything now and then, and sends changes as they come.
func (s *State) syncLoop(ctx context.Context) {
	var nextFull time.Time // zero: at once
	retry := firstRetry
	for ctx.Err() == nil {
		full := !time.Now().Before(nextFull)
		err := s.sync(ctx, full)
		s.metrics.syncs(err)
		var next time.Duration
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sync services and checks with the catalog", "error", err, "again in", retry)
			next, retry = retry, min(2*retry, s.cfg.RetryPeriod)
		} else {
			if retry = firstRetry; full {
				nextFull = time.Now().Add(s.fullPeriod())
			}
			next = s.nextHoldOff(time.Until(nextFull))
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.full:
			nextFull = time.Time{}
		case <-s.wake: // changes, however many, do not put the comparison off
			if err != nil { // what failed will fail again: do not spin
				select {
				case <-ctx.Done():
				case <-timer.C:
				}
			}
		}
		timer.Stop()
	}
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

// nextHoldOff shortens the wait to the first output that was held back.
func (s *State) nextHoldOff(wait time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, c := range s.checks {
		if !c.synced && c.holdOff.After(now) {
			wait = min(wait, c.holdOff.Sub(now))
		}
	}
	return wait
}

// sync sends what differs; with full it first looks at what the catalog has.
func (s *State) sync(ctx context.Context, full bool) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if full {
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

// compare marks what differs from the catalog, and what the catalog has under
// this node that this agent does not know.
func (s *State) compare(ctx context.Context) error {
	at := &catalog.NodeRequest{Node: s.cfg.NodeName}
	remote, _, err := catalog.GetNodeServices.Call(ctx, s.cfg.Caller, op.Header{}, at)
	if err != nil {
		return err
	}
	remoteChecks, _, err := catalog.ListNodeChecks.Call(ctx, s.cfg.Caller, op.Header{}, at)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var services map[string]*catalog.Service
	s.nodeSent = false
	if remote != nil {
		services = remote.Services
		s.nodeSent = remote.Node.Same(s.node())
	}
	for id, svc := range s.services {
		theirs := services[id]
		if theirs != nil && svc.def.EnableTagOverride {
			svc.record.Tags = theirs.Tags
		}
		svc.synced = theirs != nil && theirs.Same(&svc.record)
	}
	for id := range services {
		if s.services[id] == nil && id != leaderService {
			s.gone[goneKey{service: id}] = true
		}
	}
	s.compareChecks(remoteChecks, services)
	return nil
}

func (s *State) compareChecks(remote *catalog.Checks, services map[string]*catalog.Service) {
	theirs := map[string]*catalog.Check{}
	if remote != nil {
		for i := range *remote {
			theirs[(*remote)[i].CheckID] = &(*remote)[i]
		}
	}
	for id, c := range s.checks {
		t := theirs[id]
		c.synced = t != nil && s.sameCheck(t, c)
	}
	for id, t := range theirs {
		switch {
		case s.checks[id] != nil, id == catalog.SerfHealth, t.ServiceID == leaderService:
		case s.services[t.ServiceID] == nil && services[t.ServiceID] != nil: // goes with its service
		default:
			s.gone[goneKey{service: t.ServiceID, check: id}] = true
		}
	}
}

// sameCheck compares with the catalog's check; output that is held back does
// not count.
func (s *State) sameCheck(theirs *catalog.Check, c *check) bool {
	mine := c.record
	if svc := s.services[mine.ServiceID]; svc != nil && mine.ServiceID != "" {
		mine.ServiceName, mine.ServiceTags = svc.record.Service, svc.record.Tags
	}
	if c.holdOff.After(time.Now()) {
		mine.Output = theirs.Output
	}
	return mine.Same(theirs)
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
	gone := make([]goneKey, 0, len(s.gone))
	for k := range s.gone {
		gone = append(gone, k)
	}
	s.mu.Unlock()
	var errs []error
	for _, k := range gone {
		req := &catalog.DeregisterRequest{Node: s.cfg.NodeName, ServiceID: k.service, CheckID: k.check}
		if _, _, err := catalog.Deregister.Call(ctx, s.cfg.Caller, op.Header{}, req); err != nil {
			errs = append(errs, fmt.Errorf("deregister service %q check %q: %w", k.service, k.check, err))
			if !refused(err) {
				break
			}
			continue
		}
		s.mu.Lock()
		delete(s.gone, k)
		s.mu.Unlock()
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

// sendChanged registers what differs: each service with its checks in one
// command, then the node's own checks. A service that is refused does not
// keep the others back.
func (s *State) sendChanged(ctx context.Context) error {
	var errs []error
	for _, batch := range s.unsent() {
		_, _, err := catalog.Register.Call(ctx, s.cfg.Caller, op.Header{}, &batch.request)
		if err != nil {
			errs = append(errs, fmt.Errorf("register %s: %w", batch.what(), err))
			if !refused(err) {
				break // the servers are not well: do not hammer them
			}
			continue
		}
		s.mu.Lock()
		batch.sent(s)
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// batch is one registration with what it covers.
type batch struct {
	request catalog.RegisterRequest
	service *service
	record  catalog.Service // of the service, as sent
	checks  []*check
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
	s.nodeSent = true
	if b.service != nil && s.services[b.record.ID] == b.service && b.service.record.Same(&b.record) {
		b.service.synced = true
	}
	for i, c := range b.checks {
		if s.checks[c.def.ID] == c && c.record.Same(&b.request.Checks[i]) {
			c.synced = true
		}
	}
}

// unsent gathers what is to be sent.
func (s *State) unsent() []*batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	byService := map[string]*batch{}
	var out []*batch
	add := func(id string, svc *service) *batch {
		b := byService[id]
		if b == nil {
			b = &batch{request: s.request()}
			byService[id], out = b, append(out, b)
		}
		if svc != nil && b.service == nil {
			b.service, b.record = svc, svc.record
			record := svc.record
			b.request.Service = &record
		}
		return b
	}
	for id, svc := range s.services {
		if !svc.synced {
			add(id, svc)
		}
	}
	for _, c := range s.checks {
		if c.synced || c.holdOff.After(now) {
			continue
		}
		b := add(c.record.ServiceID, s.services[c.record.ServiceID])
		b.checks = append(b.checks, c)
		b.request.Checks = append(b.request.Checks, c.record)
	}
	if len(out) == 0 && !s.nodeSent {
		out = append(out, &batch{request: s.request()})
	}
	return out
}

// request describes the node; what the catalog has of it already stays.
func (s *State) request() catalog.RegisterRequest {
	n := s.node()
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
		if _, _, err := coordinate.Update.Call(ctx, s.cfg.Caller, op.Header{}, e); err != nil && ctx.Err() == nil {
			s.log.Debug("send the network coordinate", "error", err)
		}
	}
}

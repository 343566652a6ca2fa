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
	syncTimeout = 30 * time.Second // one comparison, or one call
	firstRetry  = 500 * time.Millisecond
	// scaleFrom is the cluster size above which full comparisons get rarer,
	// by one period for each doubling.
	scaleFrom = 128
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
			s.log.Warn("the catalog refuses services or checks of this agent", "error", err, "again_in", s.cfg.RetryPeriod)
		} else if err != nil && ctx.Err() == nil {
			wait := retry/2 + rand.N(retry/2) // agents that failed together come back one by one
			s.log.Warn("sync services and checks with the catalog", "error", err, "again_in", wait)
			retry = min(2*retry, s.cfg.RetryPeriod)
			// What failed will fail again: changes do not wake it, unless somebody waits
			// for one, and then no more often than at first.
			shortest := min(wait, firstRetry/2)
			if s.awaited() {
				wait = min(wait, firstRetry)
			}
			if s.pause(ctx, shortest, nil) || s.pause(ctx, wait-shortest, s.urgent) {
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.sending.Context(), cancel)()
	var compared error
	if full || s.uncertain() {
		if compared = s.compare(ctx); compared != nil {
			compared = fmt.Errorf("compare with the catalog: %w", compared)
		}
		if refused(compared) { // services may have tokens that may do more
			s.assumeNothing()
		} else if compared != nil {
			return compared
		}
	}
	err := errors.Join(s.sendGone(ctx), s.sendNode(ctx))
	if broken(err) {
		return err
	}
	err = errors.Join(s.sendChanged(ctx), err, compared) // first what is no refusal
	if err := s.keepTags(); err != nil {
		s.log.Warn("tags that the catalog took cannot be kept: after a restart they may go before what others changed", "error", err)
	}
	return err
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
		if svc.looksFirst() {
			return true
		}
	}
	return false
}

// looksFirst reports whether a service is to be sent whose tags the catalog may
// know better.
func (svc *service) looksFirst() bool {
	return !svc.synced && svc.def.EnableTagOverride && !svc.asserts
}

// compare marks what differs from the catalog, and what the catalog has under
// this node that this agent does not know.
func (s *State) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	at := &catalog.NodeRequest{Node: s.cfg.NodeName}
	h := op.Header{Token: s.ownToken()}
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
		if theirs != nil {
			s.compareTags(svc, theirs)
		}
		svc.synced = theirs != nil && theirs.Same(&svc.record)
		svc.looked = true
	}
	for id := range services {
		if s.services[id] == nil && id != leaderService {
			s.goneUnlessKnown(goneKey{service: id}, h.Token)
		}
	}
	s.compareChecks(remoteChecks, services, h.Token)
	return nil
}

// assumeNothing marks everything as to be sent: what the catalog has this agent may not
// see.
func (s *State) assumeNothing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodeSent, s.unsure = false, false
	for _, svc := range s.services {
		svc.synced, svc.looked = false, true
	}
	for _, c := range s.checks {
		c.synced = false
	}
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
		TaggedAddresses: s.cfg.TaggedAddresses, Meta: s.cfg.Meta, Locality: s.cfg.Locality}
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
		if _, _, err := coordinate.Update.Call(ctx, s.cfg.Caller, op.Header{Token: s.ownToken()}, e); err != nil && ctx.Err() == nil {
			s.log.Debug("send the network coordinate", "error", err)
		}
	}
}

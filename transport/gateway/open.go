package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/legate-project/legate/transport"
)

// open makes a flow from who asks to a server. Asked again with the same label it answers
// as before, as long as that flow goes on.
func (r *Relay) open(ctx context.Context, s *session, q request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	to, onward, err := r.towards(ctx, s, q)
	if err != nil {
		return answer{}, err
	}
	known, err := r.between(s, to, q)
	if err != nil || known != nil {
		return answer{Label: known.from(s)}, err
	}
	f := &flow{since: time.Now(), server: q.Server}
	for _, of := range []*session{s, to} {
		in, err := r.cfg.Board.Reserve(of.neighbor)
		if err != nil {
			r.abandon(f)
			return answer{}, fmt.Errorf("%w: %w", ErrTooMany, err)
		}
		f.ends = append(f.ends, end{s: of, in: in})
	}
	from, dest := &f.ends[0], &f.ends[1]
	onward.Label = dest.in
	a, err := to.ask(ctx, onward)
	if err != nil {
		r.abandon(f)
		return answer{}, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	from.out, dest.out = q.Label, a.Label
	f.limit = r.limit(s, q.Server)
	if err := r.cfg.Board.Join(from.hop(), dest.hop(), f.limit); err != nil {
		r.abandon(f)
		return answer{}, err
	}
	older, err := r.add(f)
	if err != nil {
		r.abandon(f)
		r.tell(*dest)
		return answer{}, err
	}
	for _, e := range older {
		r.tell(e)
	}
	r.watch(s)
	r.watch(to)
	return answer{Label: from.in}, nil
}

// limit is what the flows of a session to one server may carry together, in bytes.
func (r *Relay) limit(s *session, server string) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range s.flows {
		if f.server == server && f.limit != nil {
			return f.limit
		}
	}
	return rate.NewLimiter(rate.Limit(r.cfg.Rate), r.cfg.Rate/burstTime)
}

// dials counts a dial for a session, if it may have one more.
func (r *Relay) dials(s *session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.dialling >= maxDials {
		return fmt.Errorf("%w: %d are dialled for it already", ErrTooMany, maxDials)
	}
	s.dialling++
	return nil
}

// dialled ends that. A dial that failed counts on for as long as one may take, since it goes
// on when who asked for it gives up; then its target is forgotten: peers may name as many as
// they like.
func (r *Relay) dialled(s *session, to transport.Target, err error) {
	done := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		s.dialling--
	}
	if err == nil {
		done()
		return
	}
	// The group may have ended: then nothing is counted any more.
	_ = r.group.Spawn("forget a target", func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(dialTime):
		}
		r.cfg.Endpoint.ForgetUnused(to)
		done()
	})
}

// towards finds the session that a flow to a server is to go on over, and what to ask
// there: of the server itself, registered or dialled, or of a gateway that it has.
func (r *Relay) towards(ctx context.Context, s *session, q request) (to *session, onward request, err error) {
	onward = request{Do: doOffer, Server: q.Server}
	if !r.cfg.Carries {
		return r.inTransit(ctx, s, q)
	}
	r.mu.Lock()
	to = r.registered[q.Server]
	r.mu.Unlock()
	if to != nil {
		return to, onward, nil
	}
	next := transport.Target{Addr: q.Addr, Name: q.Server}
	q.Via = q.Via[:min(len(q.Via), maxVia)]
	switch {
	case len(q.Server) > maxAddr || len(q.Addr) > maxAddr || slices.ContainsFunc(q.Via, func(v string) bool { return len(v) > maxAddr }):
		return nil, onward, fmt.Errorf("%w: a name or address of more than %d bytes", errBadRequest, maxAddr)
	case q.Addr != "":
	case q.Hops >= maxHops:
		return nil, onward, fmt.Errorf("%w: %.100q is beyond %d gateways", ErrNotHere, q.Server, maxHops)
	case len(q.Via) > 0:
		onward.Do, onward.Hops = doOpen, q.Hops+1
		next = transport.Target{Addr: q.Via[0]}
	default:
		return nil, onward, fmt.Errorf("%w: %.100q", ErrNotHere, q.Server)
	}
	if err := r.dials(s); err != nil {
		return nil, onward, err
	}
	others := onward.Do == doOpen && len(q.Via) > 1
	trial := ctx
	if others {
		var cancel context.CancelFunc
		trial, cancel = context.WithTimeout(ctx, trialTimeout)
		defer cancel()
	}
	remote, err := r.cfg.Endpoint.Reach(trial, next, Protocol)
	if err == nil {
		to, err = r.session(remote)
	}
	r.dialled(s, next, err)
	if err != nil && others && ctx.Err() == nil {
		q.Via = q.Via[1:]
		return r.towards(ctx, s, q)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return to, onward, err
}

// between finds the flow to a server over two sessions, if there is one, or why there can
// be none.
func (r *Relay) between(s, to *session, q request) (known *flow, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if to == s {
		return nil, fmt.Errorf("%w: it is who asks", ErrNotHere)
	}
	// The other end may be behind a gateway, or server, of a third datacenter.
	for _, dc := range []string{s.remote.Peer.Datacenter, to.remote.Peer.Datacenter, q.Server[strings.LastIndexByte(q.Server, '.')+1:]} {
		if err := r.cfg.Refuse(dc); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotAdmitted, err)
		}
	}
	for _, f := range s.flows {
		if len(f.ends) == 2 && f.server == q.Server && f.ends[0].s == s && f.ends[0].out == q.Label && f.ends[1].s == to {
			return f, nil
		}
	}
	if !room(s, to, q.Server) {
		return nil, ErrTooMany
	}
	return nil, nil
}

// room reports whether a peer may have one more flow to a server; r.mu is held.
func room(s, to *session, server string) bool {
	pair := 0
	for _, f := range to.flows {
		if len(f.ends) == 2 && f.server == server && same(f.ends[0].s.remote.Peer, s.remote.Peer) {
			pair++
		}
	}
	return pair < maxPair && len(s.flows) < maxFlows && len(to.flows) < maxFlows
}

// add keeps a flow, unless one of its sessions has ended meanwhile, or others have taken its
// room. It ends those that it replaces, to the session that its server had before, and
// returns who is to be told: not who opened them, by whose label this one goes on.
func (r *Relay) add(f *flow) (older []end, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range f.ends {
		if r.sessions[e.s.remote.Link] != e.s {
			return nil, ErrNotConnected
		}
		if len(e.s.flows) >= maxFlows && e.s.flows[e.in] == nil {
			return nil, ErrTooMany
		}
	}
	if len(f.ends) == 2 && !room(f.ends[0].s, f.ends[1].s, f.server) {
		return nil, ErrTooMany
	}
	if len(f.ends) == 2 {
		for _, old := range f.ends[0].s.flows {
			if len(old.ends) == 2 && old.ends[0].s == f.ends[0].s && old.ends[0].out == f.ends[0].out {
				older = append(older, r.release(old)[1])
			}
		}
	}
	for _, e := range f.ends {
		e.s.flows[e.in] = f
	}
	return older, nil
}

// abandon gives back the labels of a flow that did not come about.
func (r *Relay) abandon(f *flow) {
	for _, e := range f.ends {
		r.cfg.Board.Release(e.in)
	}
}

package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/legate-project/legate/transport"
)

const (
	// maxAsked bounds the datacenters of one question, and maxTrip the round trip that is believed.
	maxAsked = 32
	maxTrip  = time.Minute
)

// Link is how a datacenter is reached from a server.
type Link struct {
	Datacenter string
	// Reached says that it is reached directly. Else Through is the server, node.datacenter, that
	// carries there what this one says; empty if nobody does.
	Reached bool   `json:",omitempty"`
	Through string `json:",omitempty"`
	// RTT is the round trip to the nearest of its servers, measured, and Loss the share of packets
	// that were lost lately, 0 to 1.
	RTT  time.Duration `json:",omitempty"`
	Loss float64       `json:",omitempty"`
}

// Report is what a server says of its links, and how far it is itself.
type Report struct {
	Carries bool // it carries flows of others
	Links   []Link
	RTT     time.Duration
	Loss    float64
}

// lossLeast is how many packets must have been sent for the share of lost ones to say something.
const lossLeast = 50

// LossOf is the share of packets that a connection lost, 0 to 1; 0 while that says nothing.
func LossOf(l transport.Link) float64 {
	sent, lost := l.Sent()
	if sent < lossLeast {
		return 0
	}
	return float64(lost) / float64(sent)
}

// Ask asks a server how it reaches datacenters, 32 at most. What it says is made to make sense; it may
// still be a lie.
func (r *Relay) Ask(ctx context.Context, to transport.Target, datacenters []string) (Report, error) {
	remote, err := r.cfg.Endpoint.Reach(ctx, to, Protocol)
	if err != nil {
		return Report{}, err
	}
	s, err := r.session(remote)
	if err != nil {
		return Report{}, err
	}
	a, err := s.ask(ctx, request{Do: doPaths, Datacenters: datacenters[:min(len(datacenters), maxAsked)]})
	if err != nil {
		return Report{}, err
	}
	out := Report{Carries: a.Carries, RTT: remote.Link.RTT(), Loss: LossOf(remote.Link)}
	for _, l := range a.Links {
		at := slices.IndexFunc(out.Links, func(o Link) bool { return o.Datacenter == l.Datacenter })
		if at >= 0 || !slices.Contains(datacenters, l.Datacenter) || len(l.Through) > maxAddr {
			continue
		}
		l.RTT, l.Loss = min(max(l.RTT, 0), maxTrip), min(max(l.Loss, 0), 1)
		out.Links = append(out.Links, l)
	}
	return out, nil
}

// Reaches asks the process at the other end of a session whether it lives, dialled if there is
// none: the way that nobody carries.
func (r *Relay) Reaches(ctx context.Context, to transport.Target) error {
	remote, err := r.cfg.Endpoint.Reach(ctx, to, Protocol)
	if err != nil {
		return err
	}
	s, err := r.session(remote)
	if err != nil {
		return err
	}
	_, err = s.ask(ctx, request{Do: doPing})
	return err
}

// lose closes the connections over a flow that ends here and has ended, so that what waits there goes
// another way at once.
func (r *Relay) lose(f *flow, why string) {
	if f.way != nil {
		r.cfg.Lost(*f.way)
	}
	if f.local == nil {
		return
	}
	for _, c := range r.cfg.Endpoint.Remotes("") {
		if c.Addr.String() == f.local.String() {
			c.Link.End(why)
		}
	}
}

// Opened are the addresses that stand for the other ends of flows that were opened from here.
func (r *Relay) Opened() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]bool{}
	for _, s := range r.sessions {
		for _, f := range s.flows {
			if f.way != nil {
				out[f.local.String()] = true
			}
		}
	}
	return out
}

// Silent reports whether who carries flows, as it was named, was given up a moment ago.
func (r *Relay) Silent(gateway string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.silent[gateway]) < avoidFor
}

// paths answers Ask.
func (r *Relay) paths(ctx context.Context, s *session, q request) (answer, error) {
	switch {
	case r.cfg.Links == nil || !s.remote.Peer.Server:
		return answer{}, fmt.Errorf("%w: it does not say how it reaches others", ErrNotAdmitted)
	case len(q.Datacenters) > maxAsked:
		return answer{}, fmt.Errorf("%w: more than %d datacenters", errBadRequest, maxAsked)
	case !s.questions.Allow():
		return answer{}, fmt.Errorf("%w: questions about paths, more than %d a second", ErrTooMany, maxQuestions)
	}
	return answer{Links: r.cfg.Links(ctx, q.Datacenters), Carries: r.cfg.Locate != nil}, nil
}

// inTransit finds the session that a flow goes on over where servers carry it: to the server that it
// leads to, or to the next one that who opened it has named. Who is named is one that this server
// knows, wherever who asks says that it is.
func (r *Relay) inTransit(ctx context.Context, s *session, q request) (to *session, onward request, err error) {
	onward, next := request{Do: doOffer, Server: q.Server}, q.Server
	if len(q.Through) > 0 {
		onward, next = request{Do: doOpen, Server: q.Server, Through: q.Through[1:], Hops: q.Hops + 1}, q.Through[0]
	}
	if q.Hops < 0 || q.Hops+len(q.Through) >= maxHops {
		return nil, onward, fmt.Errorf("%w: %.100q is beyond %d servers", ErrNotHere, q.Server, maxHops)
	}
	target, err := r.cfg.Locate(next)
	if err != nil {
		return nil, onward, fmt.Errorf("%w: %w", ErrNotHere, err)
	}
	if err := r.dials(s); err != nil {
		return nil, onward, err
	}
	ctx, cancel := context.WithTimeout(ctx, trialTimeout)
	defer cancel()
	remote, err := r.cfg.Endpoint.Reach(ctx, target, Protocol)
	if err == nil {
		to, err = r.session(remote)
	}
	r.dialled(s, target, err)
	if err != nil {
		return nil, onward, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	return to, onward, nil
}

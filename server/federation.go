package server

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/federation"
	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/op/rpc"
	"github.com/legate-project/legate/op/view"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/transport"
	"github.com/legate-project/legate/wan"
)

// Bounds of asking the other datacenters how they see the federation.
const (
	viewTimeout = 2 * time.Second // for each
	viewsAtOnce = 32              // asked at once
)

// Federation is what the server shows of the other datacenters.
type Federation interface {
	// Status lists those that are known, nearest first.
	Status() []federation.Status
	// Views says what is kept of their results.
	Views() []view.Status
	// Removed lists those that were removed.
	Removed() []removal.Record
	// Registrations are those with gateways that this server is to be reached through.
	Registrations() []status.Registration
	// SetRemoved removes a datacenter or allows it again; it returns how many
	// servers know and which do not.
	SetRemoved(ctx context.Context, datacenter string, removed bool) (told int, missed []string, err error)
	// Home returns the record that says who is home; false while there is none.
	Home() (removal.Record, bool)
	// Since is what a record is to say that makes a datacenter the home now; Counts reports
	// whether one counts: see removal.Records.
	Since(datacenter string) int64
	Counts(rec removal.Record) bool
	// SetHome says who is home; it returns how many servers know and which do not.
	SetHome(ctx context.Context, rec removal.Record) (told int, missed []string, err error)
	// Quit has this server leave the WAN pool.
	Quit(ctx context.Context) error
}

// errNoFederation is the answer of a server without WAN gossip.
var errNoFederation = op.Errorf(op.CodeConflict, "this server takes no part in a federation (ports.serf_wan = -1)")

// federationViews answers how the federation is seen: from here, and by the others
// if that is asked for.
func (s *Server) federationViews(ctx context.Context, h op.Header, req *status.FederationRequest) (*status.Views, error) {
	own := s.federationView()
	out := &status.Views{Views: []status.View{own}}
	if req.Probes {
		defer func() { out.Views[0].Probes = s.probes() }()
	}
	if !req.Each {
		return out, nil
	}
	out.Views = append(out.Views, make([]status.View, len(own.Links))...)
	var g errgroup.Group
	g.SetLimit(viewsAtOnce)
	for i := range own.Links {
		link, view := &own.Links[i], &out.Views[i+1]
		view.Datacenter, view.Links = link.Datacenter, []status.Link{}
		if link.State == status.Removed || link.State == status.Left {
			view.Error = "it is no part of the federation: " + link.State
			continue
		}
		g.Go(func() error {
			s.askView(ctx, op.Header{Datacenter: link.Datacenter, Token: h.Token, Consistency: op.Stale}, view)
			return nil
		})
	}
	_ = g.Wait()                      // each says in its view what went wrong
	out.Views[0] = s.federationView() // asking has shown who answers
	for i := range out.Views[0].Links {
		l := &out.Views[0].Links[i]
		if at := slices.IndexFunc(out.Views, func(v status.View) bool { return v.Datacenter == l.Datacenter }); at > 0 {
			settle(l, &out.Views[at])
		}
		if l.State == status.Unreachable || l.State == status.Degraded && l.LastContact.IsZero() {
			l.Reason += s.routerBefore(l.Datacenter)
		}
	}
	shareLeaders(out.Views)
	return out, nil
}

// others are the other datacenters that belong to the federation.
func (s *Server) others() []string {
	var out []string
	if s.federation != nil {
		for _, st := range s.federation.Status() {
			if st.State != federation.Removed && st.State != federation.Left {
				out = append(out, st.Datacenter)
			}
		}
	}
	return out
}

// changesKeysEverywhere refuses who may not change gossip keys in each datacenter: a local
// token, or one whose rights count in some alone, changes nothing that others share.
func (s *Server) changesKeysEverywhere(h op.Header) error {
	a, _, err := s.access.Everywhere(h.Token, s.others())
	if err != nil {
		return err
	}
	return rules.Require(a, rules.Keyring, rules.Write, "")
}

// shareLeaders shows in every view who leads the others.
func shareLeaders(views []status.View) {
	leaders := map[string]string{}
	for _, v := range views {
		leaders[v.Datacenter] = v.Leader
	}
	for _, v := range views {
		for i := range v.Links {
			v.Links[i].Leader = leaders[v.Links[i].Datacenter]
		}
	}
}

// askView fills in how another datacenter sees the federation, or why that is not
// known.
func (s *Server) askView(ctx context.Context, h op.Header, view *status.View) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	got, _, err := status.Federation.Call(ctx, s, h, &status.FederationRequest{})
	switch {
	case err != nil:
		view.Error = err.Error()
		switch op.CodeOf(err) {
		case op.CodeUnreachableDatacenter: // the text names this status as the place that shows why
			view.Error = "none of its servers could be asked"
		case op.CodeUnsupported:
			view.Error = op.CodeUnsupported.String()
		}
	case got == nil || len(got.Views) == 0:
		view.Error = "it answered nothing"
	default:
		asked := view.Datacenter
		*view = got.Views[0]
		view.Datacenter = asked // whatever it says: it stands beside the link to it
	}
}

// changeMembership removes a datacenter from the federation or allows it again.
func (s *Server) changeMembership(ctx context.Context, _ op.Header, req *status.Membership) (*status.Changed, error) {
	if s.federation == nil {
		return nil, errNoFederation
	}
	if err := s.mayChange(ctx, req); err != nil {
		return nil, err
	}
	told, missed, err := s.federation.SetRemoved(ctx, req.Datacenter, req.Removed)
	if err != nil {
		return nil, err
	}
	return &status.Changed{Told: told, Missed: missed}, nil
}

// mayChange refuses what is a mistake.
func (s *Server) mayChange(ctx context.Context, req *status.Membership) error {
	dc := req.Datacenter
	removed := slices.ContainsFunc(s.federation.Removed(), func(r removal.Record) bool { return r.Datacenter == dc })
	if dc == s.cfg.Datacenter {
		return op.Errorf(op.CodeInvalid, "%s is the datacenter of the server that was asked: ask one of another datacenter, or have it leave (legate leave -wan -all)", dc)
	}
	if req.Removed && !removed && s.access.Enabled() && dc == s.home() {
		return op.Errorf(op.CodeConflict, "datacenter %s is the home of access control, where policies, roles and global tokens are written: make another one the home first (legate federation primary DATACENTER, with -force if %s is gone for good)", dc, dc)
	}
	if removed || !req.Removed {
		if !req.Removed && !removed {
			return op.Errorf(op.CodeNotFound, "datacenter %s was not removed from the federation", dc)
		}
		return nil // to remove it again tells those that missed it
	}
	for _, st := range s.federation.Status() {
		if st.Datacenter != dc {
			continue
		}
		if !req.Force && (st.State == federation.Up || st.State == federation.Degraded) && s.answers(ctx, dc) {
			return op.Errorf(op.CodeConflict, "datacenter %s is %s, %d of its %d servers are asked and one answered just now: stop them, or have them leave (legate leave -wan -all in %s), or remove it with -force",
				dc, st.State, st.Answering, st.Servers, dc)
		}
		return nil
	}
	return op.Errorf(op.CodeNotFound, "no datacenter %s is known", dc)
}

// answers asks a datacenter: one that died a moment ago may still count as up.
func (s *Server) answers(ctx context.Context, dc string) bool {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	_, _, err := status.Ping.Call(ctx, s, op.Header{Datacenter: dc, Consistency: op.Stale}, &op.Empty{})
	return err == nil
}

// quitFederation has this server, or all of its datacenter, leave the WAN pool.
func (s *Server) quitFederation(ctx context.Context, h op.Header, req *status.QuitRequest) (*status.Changed, error) {
	if s.federation == nil {
		return nil, errNoFederation
	}
	out := &status.Changed{}
	if req.All {
		s.quitOthers(ctx, h, out)
	}
	if err := s.federation.Quit(ctx); err != nil && !errors.Is(err, wan.ErrLeft) {
		return nil, err
	}
	out.Told++
	return out, nil
}

// quitOthers has the other servers of the datacenter leave the WAN pool, at once: each
// takes seconds to say goodbye.
func (s *Server) quitOthers(ctx context.Context, h op.Header, out *status.Changed) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(viewsAtOnce)
	for _, srv := range s.lan.Servers() {
		if srv.ID == s.cfg.NodeID || srv.WANPort == 0 || srv.Status != gossip.Alive {
			continue
		}
		g.Go(func() error {
			call := op.NewCall(&status.Quit, op.Header{Token: h.Token}, &status.QuitRequest{})
			_, err := rpc.Send(ctx, s.cfg.Transport, transport.Target{Addr: srv.RPCAddr(), NodeID: srv.ID, Name: srv.Name}, call)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.log.Warn("a server did not leave the federation", "server", srv.Name, "error", err)
				out.Missed = append(out.Missed, srv.Name)
				return nil
			}
			out.Told++
			return nil
		})
	}
	_ = g.Wait() // who did not is in Missed
	slices.Sort(out.Missed)
}

// settle adds to a link what the datacenter said of itself.
func settle(l *status.Link, view *status.View) {
	if l.State != status.Up && l.State != status.Degraded || view.Leader != "" && view.Error == "" {
		return
	}
	why := "it has no leader"
	if view.Error != "" {
		why = "it did not say how it is (" + view.Error + ")"
	}
	if l.State = status.Degraded; l.Reason != "" {
		why = l.Reason + ", " + why
	}
	l.Reason = why
}

// routerBefore says that a router may hide the servers of a datacenter that are not reached: they show private
// addresses and no gateway, and this one shows a public address. It is empty where that does not hold.
func (s *Server) routerBefore(datacenter string) string {
	var theirs string
	for _, srv := range s.wan.Servers() {
		addr, err := netip.ParseAddr(srv.Addr)
		switch {
		case err != nil || srv.Status == gossip.Left:
		case srv.ID == s.cfg.NodeID && addr.IsPrivate():
			return ""
		case srv.Datacenter == datacenter && (!addr.IsPrivate() || srv.Via != ""):
			return ""
		case srv.Datacenter == datacenter:
			theirs = srv.Addr
		}
	}
	if theirs == "" {
		return ""
	}
	return "; its servers show a private address (" + theirs + ") and no gateway that carries for them: behind a router that hides them they need federation.reach (docs/reach.md)"
}

// federationView is how this server sees the other datacenters.
func (s *Server) federationView() status.View {
	v := status.View{Datacenter: s.cfg.Datacenter, Server: s.cfg.NodeName, Version: s.cfg.Version, Links: []status.Link{}, Leader: s.leaderName()}
	if s.federation == nil {
		return v
	}
	if s.access.Enabled() {
		v.Home = s.home()
	}
	gateways, carry := s.reached()
	v.Gateways, v.Carries, v.Registrations = gateways[v.Datacenter], carry[v.Datacenter], s.federation.Registrations()
	versions, views, otherHomes := s.versions(), map[string]view.Status{}, s.copies.Disagreeing()
	for _, w := range s.federation.Views() {
		views[w.Datacenter] = w
	}
	for _, st := range s.federation.Status() {
		l := linkOf(st)
		kept := views[l.Datacenter]
		l.OtherHome, l.Versions, l.Views, l.OldestAgeMS = otherHomes[l.Datacenter], versions[l.Datacenter], kept.Views, milliseconds(kept.Oldest)
		l.Gateways, l.Carries = gateways[l.Datacenter], carry[l.Datacenter]
		v.Links = append(v.Links, l)
	}
	for _, rec := range s.federation.Removed() {
		v.Links = append(v.Links, status.Link{Datacenter: rec.Datacenter, State: status.Removed, RemovedBy: rec.By, RemovedAt: rec.At,
			Reason: "by " + rec.By + " at " + rec.At.UTC().Format(time.RFC3339)})
	}
	return v
}

// probes lists what this server's own probes of the others show.
func (s *Server) probes() []status.Probe {
	if s.wan == nil {
		return nil
	}
	var out []status.Probe
	for _, srv := range s.wan.Servers() {
		name := wan.FullName(srv.Name, srv.Datacenter)
		if d, ok := s.wan.RoundTrip(name); ok {
			out = append(out, status.Probe{Server: name, RoundTripMS: milliseconds(d)})
		}
	}
	return out
}

// leaderName is the node that leads this datacenter, empty if none does.
func (s *Server) leaderName() string {
	id, addr := s.raft.Leader()
	if id == "" {
		return ""
	}
	for _, srv := range s.lan.Servers() {
		if srv.ID == id {
			return srv.Name
		}
	}
	return addr
}

// reached lists the gateways that servers of each datacenter say they are reached through, and
// which datacenters have servers that carry for others.
func (s *Server) reached() (gateways map[string][]string, carry map[string]bool) {
	gateways, carry = map[string][]string{}, map[string]bool{}
	for _, srv := range s.wan.Servers() {
		if srv.Status != gossip.Alive {
			continue
		}
		carry[srv.Datacenter] = carry[srv.Datacenter] || srv.Transit
		for _, g := range srv.Gateways() {
			if list := gateways[srv.Datacenter]; len(list) < status.MaxGateways && !slices.Contains(list, g) {
				gateways[srv.Datacenter] = append(list, g)
			}
		}
	}
	for _, list := range gateways {
		slices.Sort(list)
	}
	return gateways, carry
}

// versions lists which releases of Legate the servers of each datacenter run, as
// gossip has it.
func (s *Server) versions() map[string][]string {
	out := map[string][]string{}
	for _, srv := range s.wan.Servers() {
		if !slices.Contains(out[srv.Datacenter], srv.Version) && srv.Version != "" {
			out[srv.Datacenter] = append(out[srv.Datacenter], srv.Version)
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

func linkOf(s federation.Status) status.Link {
	return status.Link{
		Datacenter: s.Datacenter, State: string(s.State), Reason: s.Reason, RoundTripMS: milliseconds(s.RTT), Loss: s.Loss,
		Servers: s.Servers, Alive: s.Alive, Answering: s.Answering, Connections: s.Connections, Streams: s.Streams,
		BytesSent: s.BytesSent, BytesRead: s.BytesRead, PacketsSent: s.PacketsSent, PacketsLost: s.PacketsLost,
		Calls: s.Calls, Blocked: s.Blocked, Breaker: string(s.Breaker), ReadP95MS: milliseconds(s.P95),
		LastContact: s.LastContact, LastError: s.LastError, Through: s.Way.Through, ReachedFrom: s.Way.ReachedFrom,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

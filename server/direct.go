package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/wan"
)

// directHandlers lists what this server answers from what it holds itself.
func (s *Server) directHandlers() map[string]op.Handler {
	m := map[string]op.Handler{}
	for _, h := range slices.Concat(s.leader.Handlers(), s.homeHandlers(), s.replicas.Handlers(), s.votes.Handlers(), []op.Handler{
		status.Leader.Handle(s.statusLeader),
		status.Peers.Handle(s.statusPeers),
		status.Raft.Handle(s.statusRaft),
		leaderOnly(status.RemovePeer.Handle(s.removePeer)),
		leaderOnly(status.TransferLeader.Handle(s.transferLeader)),
		status.Datacenters.Handle(s.statusDatacenters),
		status.Ping.Handle(func(context.Context, op.Header, *op.Empty) (*op.Empty, error) { return nil, nil }),
		status.Federation.Handle(s.federationViews),
		status.Change.Handle(s.changeMembership),
		status.Quit.Handle(s.quitFederation),
		status.KeyringList.Handle(func(ctx context.Context, h op.Header, r *status.KeyringRequest) (*status.Keyrings, error) {
			return s.keyrings.List(ctx, h, r)
		}),
		status.KeyringChange.Handle(func(ctx context.Context, h op.Header, r *status.KeyringRequest) (*status.Keyrings, error) {
			return s.keyrings.Change(ctx, h, r)
		}),
		status.KeyringWAN.Handle(func(ctx context.Context, h op.Header, r *status.KeyringRequest) (*status.Keyrings, error) {
			return s.keyrings.OfWAN(ctx, h, r)
		}),
		status.Gateway.Handle(func(context.Context, op.Header, *status.GatewayRequest) (*op.Empty, error) { return nil, nil }),
		coordinate.Datacenters.Handle(s.coordinateDatacenters),
		query.Execute.Handle(s.queries.Execute),
		events.Fire.Handle(s.fireEvent),
		acl.ResolveSecret.Handle(s.resolveSecret),
		acl.Authorize.Handle(s.authorize),
		acl.AuthorizeToken.Handle(s.authorizeToken),
		s.logins.Handler(),
		s.clocks.Handler(),
		s.newAnnouncer().Handler(),
	}) {
		m[h.Operation.OpName()] = h
	}
	return m
}

func leaderOnly(h op.Handler) op.Handler {
	h.LeaderOnly = true
	return h
}

func (s *Server) statusLeader(context.Context, op.Header, *op.Empty) (*op.Text, error) {
	_, addr := s.raft.Leader()
	return &op.Text{Text: addr}, nil
}

func (s *Server) statusPeers(context.Context, op.Header, *op.Empty) (*op.Texts, error) {
	servers, _, err := s.raft.Configuration()
	if err != nil {
		return nil, err
	}
	out := &op.Texts{Texts: []string{}}
	for _, srv := range servers {
		out.Texts = append(out.Texts, srv.Address)
	}
	return out, nil
}

func (s *Server) statusDatacenters(context.Context, op.Header, *op.Empty) (*op.Texts, error) {
	out := &op.Texts{Texts: []string{s.cfg.Datacenter}}
	if s.remote != nil {
		out.Texts = append(out.Texts, s.remote.Datacenters()...)
	}
	return out, nil
}

func (s *Server) coordinateDatacenters(context.Context, op.Header, *op.Empty) (*coordinate.DatacenterMaps, error) {
	maps := map[string]*coordinate.DatacenterMap{}
	if s.wan != nil {
		for _, srv := range s.wan.Servers() {
			s.addCoordinate(maps, srv)
		}
	}
	out := coordinate.DatacenterMaps{}
	for _, m := range maps {
		out = append(out, *m)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Datacenter < out[j].Datacenter })
	return &out, nil
}

func (s *Server) addCoordinate(maps map[string]*coordinate.DatacenterMap, srv wan.Server) {
	m := maps[srv.Datacenter]
	if m == nil {
		m = &coordinate.DatacenterMap{Datacenter: srv.Datacenter, AreaID: "wan", Coordinates: []coordinate.Entry{}}
		maps[srv.Datacenter] = m
	}
	if c, ok := s.wan.CoordinateOf(wan.FullName(srv.Name, srv.Datacenter)); ok && rtt.Validate(c) == nil {
		m.Coordinates = append(m.Coordinates, coordinate.Entry{Node: srv.Name, Coord: coordinate.FromSerf(c)})
	}
}

// resolveSecret says what a secret stands for.
func (s *Server) resolveSecret(_ context.Context, _ op.Header, r *acl.ResolveRequest) (*acl.Resolved, error) {
	switch {
	case !s.access.Enabled():
		return nil, acl.ErrDisabled
	case r.Datacenter == "" || r.Datacenter == s.cfg.Datacenter:
		return s.access.Resolve(r.Secret)
	case s.home() != s.cfg.Datacenter:
		return nil, op.Errorf(op.CodeConflict, "datacenter %s is not the home of access control: it does not say what tokens stand for elsewhere", s.cfg.Datacenter)
	case s.remote == nil || !slices.Contains(s.remote.Datacenters(), r.Datacenter):
		return nil, op.Errorf(op.CodeUnknownDatacenter, "datacenter %.64q is not known in %s", r.Datacenter, s.cfg.Datacenter)
	}
	return s.access.ResolveFor(r.Secret, r.Datacenter)
}

// authorize says which rights the caller has here.
func (s *Server) authorize(_ context.Context, h op.Header, r *acl.Questions) (*acl.Questions, error) {
	a, err := s.access.Authorizer(h.Token)
	if err != nil {
		return nil, err
	}
	r.Answer(a)
	return r, nil
}

// authorizeToken says which rights a token has here. It is known by its secret to who decides: what
// counts for a call that shows it counts for the answer.
func (s *Server) authorizeToken(_ context.Context, _ op.Header, r *acl.TokenQuestions) (*acl.Questions, error) {
	v := s.cfg.State.View()
	t, err := acl.FindToken(v, r.AccessorID)
	if err = errors.Join(err, v.Close()); err != nil || t == nil {
		return nil, err
	}
	a, err := s.access.Authorizer(t.SecretID)
	switch {
	case op.CodeOf(err) == op.CodeDenied && t.Expired(time.Now()):
		a = rules.Compile(rules.Settings{}, nil).For("token that has ended")
	case op.CodeOf(err) == op.CodeDenied: // it went meanwhile
		return nil, nil
	case err != nil:
		return nil, err
	}
	out := &acl.Questions{Questions: r.Questions}
	out.Answer(a)
	return out, nil
}

// fireEvent broadcasts an event in this datacenter's pool.
func (s *Server) fireEvent(_ context.Context, _ op.Header, e *events.Event) (*events.Event, error) {
	sent, b, err := events.Pack(*e)
	if err != nil {
		return nil, err
	}
	if err := s.lan.FireEvent(events.GossipName, b); err != nil {
		return nil, fmt.Errorf("fire the event %s: %w", e.Name, err)
	}
	return &sent, nil
}

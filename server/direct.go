package server

import (
	"context"
	"fmt"
	"sort"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/rtt"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/query"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/wan"
)

// directHandlers lists what this server answers from what it holds itself.
func (s *Server) directHandlers() map[string]op.Handler {
	m := map[string]op.Handler{}
	for _, h := range append(s.leader.Handlers(),
		status.Leader.Handle(s.statusLeader),
		status.Peers.Handle(s.statusPeers),
		status.Raft.Handle(s.statusRaft),
		status.Datacenters.Handle(s.statusDatacenters),
		status.Ping.Handle(func(context.Context, op.Header, *op.Empty) (*op.Empty, error) { return nil, nil }),
		status.Federation.Handle(s.federationViews),
		status.Change.Handle(s.changeMembership),
		status.Quit.Handle(s.quitFederation),
		coordinate.Datacenters.Handle(s.coordinateDatacenters),
		query.Execute.Handle(s.queries.Execute),
		events.Fire.Handle(s.fireEvent),
	) {
		m[h.Operation.OpName()] = h
	}
	return m
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

func (s *Server) statusRaft(context.Context, op.Header, *op.Empty) (*status.RaftConfiguration, error) {
	servers, index, err := s.raft.Configuration()
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, srv := range s.lan.Servers() {
		names[srv.ID] = srv.Name
	}
	leader, _ := s.raft.Leader()
	out := &status.RaftConfiguration{Index: index, Servers: []status.RaftServer{}}
	for _, srv := range servers {
		name, ok := names[srv.ID]
		if !ok {
			name = "(unknown)"
		}
		out.Servers = append(out.Servers, status.RaftServer{ID: srv.ID, Node: name, Address: srv.Address,
			Leader: srv.ID == leader, ProtocolVersion: "3", Voter: srv.Voter})
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

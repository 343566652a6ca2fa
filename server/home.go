package server

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/access"
	"github.com/legate-project/legate/server/copies"
	"github.com/legate-project/legate/server/replicas"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/storage"
)

// newCopies makes what keeps copies of what is global.
func (s *Server) newCopies() *copies.Copies {
	c := &s.cfg
	return copies.New(copies.Config{Datacenter: c.Datacenter, Server: c.NodeName + "." + c.Datacenter, Enabled: c.Access.Enabled, First: c.Access.Home,
		State: c.State, Self: func() op.Caller { return s.leader.Self() }, Leads: func() bool { return s.raft.LeaseRead() }, LeaderSilence: s.leaderSilence, Log: c.Log, Registerer: c.Registerer})
}

// HomeChanged tells the server that another datacenter may be the home of what is
// global. It never blocks.
func (s *Server) HomeChanged() { s.copies.HomeChanged() }

// FiltersBy names the home of the records by which callers are shown here what their
// tokens may see; false where they are shown everything.
func (s *Server) FiltersBy() (home string, ok bool) { return s.copies.Filters() }

// homeHandlers answer what concerns the home of what is global; the leader knows.
func (s *Server) homeHandlers() []op.Handler {
	list := []op.Handler{
		acl.ReplicationStatus.Handle(func(context.Context, op.Header, *op.Empty) (*acl.Replication, error) {
			return s.copies.Status(s.home()), nil
		}),
		acl.MoveHome.Handle(s.copies.Move), acl.YieldHome.Handle(s.copies.Yield), acl.SettleHome.Handle(s.copies.Settle), acl.ShowHome.Handle(s.showHome),
	}
	for i := range list {
		list[i].LeaderOnly = true
	}
	return list
}

// home is where what is global is written, as far as this server knows; the datacenter
// that gives the role away as long as that is not settled.
func (s *Server) home() string {
	v := s.cfg.State.View()
	home, err := s.copies.Home(v)
	if err = errors.Join(err, v.Close()); err != nil {
		return s.cfg.Datacenter
	}
	return home
}

// homeAsked is what is global, at its home, for the time until there are copies here.
type homeAsked struct{ s *Server }

var _ access.Home = homeAsked{}

// Awaited implements access.Home.
func (h homeAsked) Awaited(r storage.Reader) (string, error) { return h.s.copies.Awaited(r) }

// Ask implements access.Home. Any server there is asked, and the leader before a secret is
// taken for unknown: it may have been made a moment ago.
func (h homeAsked) Ask(ctx context.Context, datacenter string, r *acl.ResolveRequest) (found *acl.Resolved, err error) {
	if h.s.remote == nil {
		return nil, &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: datacenter}
	}
	for _, c := range []op.Consistency{op.Stale, op.Default} {
		found, _, err = acl.ResolveSecret.Call(ctx, h.s.remote, op.Header{Datacenter: datacenter, Consistency: c}, r)
		if op.CodeOf(err) != op.CodeDenied {
			break
		}
	}
	if err == nil && (found == nil || found.Scoped && found.Datacenter != r.Datacenter) {
		return nil, op.Errorf(op.CodeUnsupported, "its version says nothing of the rights in other datacenters")
	}
	return found, err
}

// showHome says who is home, and asks all datacenters how their copies stand.
func (s *Server) showHome(ctx context.Context, _ op.Header, _ *op.Empty) (*acl.Standings, error) {
	out, err := s.copies.Show()
	if err != nil {
		return nil, err
	}
	datacenters := []string{s.cfg.Datacenter}
	if s.remote != nil {
		datacenters = append(datacenters, s.remote.Datacenters()...)
	}
	out.Datacenters = make([]acl.Standing, len(datacenters))
	var g errgroup.Group
	g.SetLimit(viewsAtOnce)
	for i, dc := range datacenters {
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, viewTimeout)
			defer cancel()
			st := acl.Standing{Datacenter: dc}
			// Everybody may ask, and a token of this home says nothing to another one.
			got, _, err := acl.ReplicationStatus.Call(ctx, s, op.Header{Datacenter: dc}, &op.Empty{})
			switch {
			case err != nil:
				st.Error = err.Error()
			case got != nil:
				st.Home, st.Replication = got.Home, *got
			}
			out.Datacenters[i] = st
			return nil
		})
	}
	_ = g.Wait() // each says in its row what went wrong
	return out, nil
}

// newReplicas makes what copies keys of other datacenters.
func (s *Server) newReplicas() *replicas.Replicas {
	c := &s.cfg
	return replicas.New(replicas.Config{Datacenter: c.Datacenter, Server: c.NodeName + "." + c.Datacenter, State: c.State, Self: func() op.Caller { return s.leader.Self() },
		Leads: func() bool { return s.raft.LeaseRead() }, LeaderSilence: s.leaderSilence, Log: c.Log, Registerer: c.Registerer})
}

// followGlobal tells a server of another datacenter what is global.
func (s *Server) followGlobal(ctx context.Context, call *op.Call, push func(*op.Reply) error) error {
	return s.serve(ctx, func(ctx context.Context) error { return s.copies.Serve(ctx, call, push) })
}

// followKeys tells a server of another datacenter which keys are here.
func (s *Server) followKeys(ctx context.Context, call *op.Call, who rights, push func(*op.Reply) error) error {
	may := func() (<-chan struct{}, error) {
		_, changed, err := who()
		return changed, err
	}
	return s.serve(ctx, func(ctx context.Context) error { return s.replicas.Serve(ctx, call, may, push) })
}

// serve carries out a subscription that is no result, as one of those that there may be,
// until the server stops.
func (s *Server) serve(ctx context.Context, tell func(context.Context) error) error {
	if !s.followed.TryAcquire() {
		return op.Errorf(op.CodeBusy, "server has %d subscriptions, its limit", s.followed.Max())
	}
	defer s.followed.Release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.group.Context(), cancel)
	defer stop()
	err := tell(ctx)
	if s.group.Context().Err() != nil {
		return op.ErrStopping
	}
	return err
}

// elsewhere carries the write of what is global to its home. Where that cannot be
// reached the error says what it is and what can be done.
func (s *Server) elsewhere(ctx context.Context, call *op.Call, home string) (*op.Reply, error) {
	c := *call
	c.Header.Datacenter = home
	reply, err := s.toDatacenter(ctx, &c)
	switch code := op.CodeOf(err); code {
	case op.CodeUnreachableDatacenter, op.CodeUnknownDatacenter, op.CodeLeftDatacenter, op.CodeRemovedDatacenter:
		return nil, &op.Error{Code: code, Datacenter: home, Text: "No path to datacenter " + home + ", the home of access control: policies, roles, auth methods, binding rules and global tokens are written there alone. " +
			"Try again when it can be reached; if it is gone for good make another datacenter the home (legate federation primary -force DATACENTER). Local tokens can be written meanwhile"}
	}
	return reply, err
}

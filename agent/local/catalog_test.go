package local

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/logging"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// fakeCatalog is a datacenter that is as slow, broken or choosy as a test
// wants. It lives in a bubble of synctest.
type fakeCatalog struct {
	latency time.Duration

	mu        sync.Mutex
	err       error // of every call
	cut       bool  // calls hang
	refuse    string
	nodes     string          // the only token that may write the node, "" for all
	blind     map[string]bool // tokens that may not compare
	slow      string          // registrations of this service take a second
	flying    map[string]int  // registrations, by service
	twice     bool            // two of one service were on their way at once
	node      *catalog.Node
	services  map[string]catalog.Service
	checks    map[string]catalog.Check
	writes    int
	atOnce    int // calls in flight, and their most
	mostAtOnc int
	tokens    map[string]string // of the last write of a service
	events    []time.Time       // of calls
}

func newFakeCatalog() *fakeCatalog {
	return &fakeCatalog{latency: 5 * time.Millisecond, services: map[string]catalog.Service{}, checks: map[string]catalog.Check{}, tokens: map[string]string{}, flying: map[string]int{}}
}

func (f *fakeCatalog) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Do implements op.Caller.
func (f *fakeCatalog) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	f.mu.Lock()
	f.events = append(f.events, time.Now())
	f.atOnce++
	f.mostAtOnc = max(f.mostAtOnc, f.atOnce)
	cut := f.cut
	f.mu.Unlock()
	defer f.set(func() { f.atOnce-- })
	if cut {
		<-ctx.Done()
		return nil, op.Errorf(op.CodeTimeout, "no answer")
	}
	req, err := call.Request()
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(f.takeOff(req)):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r, ok := req.(*catalog.RegisterRequest); ok && r.Service != nil {
		f.flying[r.Service.ID]--
	}
	if f.err != nil {
		return nil, f.err
	}
	res, err := f.answer(call.Header.Token, req)
	return op.NewReply(op.Meta{Index: 1}, res), err
}

// takeOff notes that a request is on its way, and says how long it is.
func (f *fakeCatalog) takeOff(req any) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := req.(*catalog.RegisterRequest)
	if !ok || r.Service == nil {
		return f.latency
	}
	f.flying[r.Service.ID]++
	f.twice = f.twice || f.flying[r.Service.ID] > 1
	if r.Service.ID == f.slow {
		return time.Second
	}
	return f.latency
}

func (f *fakeCatalog) answer(token string, req any) (any, error) {
	switch req := req.(type) {
	case *catalog.RegisterRequest:
		if req.Service != nil && req.Service.ID == f.refuse {
			return nil, op.Errorf(op.CodeDenied, "Permission denied")
		}
		if f.nodes != "" && token != f.nodes && (f.node == nil || !req.SkipNodeUpdate) {
			return nil, op.Errorf(op.CodeDenied, "Permission denied")
		}
		f.writes++
		if f.node == nil || !req.SkipNodeUpdate {
			f.tokens["node"] = token
		}
		f.node = &catalog.Node{ID: req.ID, Node: req.Node, Address: req.Address, Datacenter: req.Datacenter, TaggedAddresses: req.TaggedAddresses, Meta: req.NodeMeta}
		if s := req.Service; s != nil {
			f.services[s.ID], f.tokens[s.ID] = *s, token
		}
		for _, c := range req.Checks {
			if s, ok := f.services[c.ServiceID]; ok {
				c.ServiceName, c.ServiceTags = s.Service, s.Tags
			} else if c.ServiceID != "" {
				return nil, op.Errorf(op.CodeInvalid, "Missing service registration")
			}
			f.checks[c.CheckID] = c
			f.tokens[c.CheckID] = token
		}
		return &catalog.RegisterResult{}, nil
	case *catalog.DeregisterRequest:
		f.writes++
		f.tokens["-"+req.ServiceID+req.CheckID] = token
		if req.ServiceID == "" && req.CheckID != "" { // as the real one: a service goes first
			delete(f.checks, req.CheckID)
			return &catalog.RegisterResult{}, nil
		}
		delete(f.services, req.ServiceID)
		maps.DeleteFunc(f.checks, func(_ string, c catalog.Check) bool { return c.ServiceID == req.ServiceID })
		return &catalog.RegisterResult{}, nil
	case *catalog.NodeRequest:
		if f.blind[token] {
			return nil, op.Errorf(op.CodeDenied, "Permission denied")
		}
		if f.node == nil {
			return nil, nil
		}
		services := map[string]*catalog.Service{}
		for id, s := range f.services {
			services[id] = &s
		}
		return &catalog.NodeServices{Node: f.node, Services: services}, nil
	}
	return nil, op.Errorf(op.CodeUnsupported, "fake knows no %T", req)
}

// listing answers what reads of a node's checks and services share a request
// type for.
type listing struct{ *fakeCatalog }

func (l listing) Do(ctx context.Context, call *op.Call) (*op.Reply, error) {
	reply, err := l.fakeCatalog.Do(ctx, call)
	if err != nil || call.Operation.OpName() != "health.node" {
		return reply, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := catalog.Checks(slices.Collect(maps.Values(l.checks)))
	return op.NewReply(op.Meta{Index: 1}, &list), nil
}

func (f *fakeCatalog) service(id string) (s catalog.Service, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok = f.services[id]
	return s, ok
}

func (f *fakeCatalog) check(id string) (c catalog.Check, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok = f.checks[id]
	return c, ok
}

func (f *fakeCatalog) count() (services, writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.services), f.writes
}

// bubble runs a state against a fake catalog in time that passes at once.
func bubble(t *testing.T, change func(*Config), test func(*testing.T, *State, *fakeCatalog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCatalog()
		cfg := Config{Caller: listing{f}, Datacenter: "dc1", NodeName: "n1", NodeID: "11111111-1111-4111-8111-111111111111", Address: "10.0.0.1", HoldTimeout: 7 * time.Second, Log: logging.Discard(),
			Registerer: prometheus.NewRegistry()}
		if change != nil {
			change(&cfg)
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		test(t, s, f)
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// after lets time pass in a bubble.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

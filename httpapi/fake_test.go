package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/config"
	"github.com/legate-project/legate/httpapi/agent"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/coordinate"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/state/status"
	"github.com/legate-project/legate/state/txn"
)

// fake is a datacenter in memory. It notes the last call.
type fake struct {
	mu      sync.Mutex
	header  op.Header
	request any
	// operation that was asked for last
	operation string
	entries   map[string]*kv.Entry
	index     uint64
	wait      chan struct{} // what a blocking read waits for, beside its context
}

func newFake() *fake {
	return &fake{index: 7, wait: make(chan struct{}), entries: map[string]*kv.Entry{
		"a":     {Key: "a", Value: []byte("one"), CreateIndex: 3, ModifyIndex: 4},
		"b/x":   {Key: "b/x", Value: []byte("<two>"), Flags: 42, LockIndex: 1, Session: "s", CreateIndex: 5, ModifyIndex: 6},
		"empty": {Key: "empty", CreateIndex: 2, ModifyIndex: 2},
		"long":  {Key: "long", Value: []byte(strings.Repeat("z", 4000)), CreateIndex: 2, ModifyIndex: 2},
	}}
}

func (f *fake) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	req, err := c.Request()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.header, f.request, f.operation = c.Header, req, c.Operation.OpName()
	f.mu.Unlock()
	switch c.Header.Datacenter {
	case "", "dc1":
	case "dc2":
		return nil, &op.Error{Code: op.CodeUnreachableDatacenter, Text: "Remote DC has no server currently reachable", Datacenter: "dc2"}
	default:
		return nil, op.Errorf(op.CodeUnknownDatacenter, "No path to datacenter")
	}
	if c.Header.MinIndex >= f.index {
		select {
		case <-f.wait:
		case <-time.After(c.Header.MaxWait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	res, err := f.answer(req)
	if err != nil {
		return nil, err
	}
	return op.NewReply(op.Meta{Index: f.index, KnownLeader: true, Datacenter: "dc1", Consistency: c.Header.Consistency}, res), nil
}

// create prepares a session as a leader would.
func (f *fake) create(s *session.Session) (any, error) {
	if err := session.Create.Prepare(op.Leader{NewID: func() string { return "s2" }}, &session.CreateRequest{Session: *s}); err != nil {
		return nil, err
	}
	if s.Node != "n1" {
		return nil, op.Errorf(op.CodeConflict, "Missing node registration")
	}
	return &session.CreateResult{ID: "s2"}, nil
}

// session is one for the operation that asked: a list to read, itself to renew.
func (f *fake) session(id string) (any, error) {
	one := session.Session{ID: id, Name: "n", Node: "n1", LockDelay: 15 * time.Second, Behavior: session.Release, TTL: "10s",
		NodeChecks: []string{"serfHealth"}, CreateIndex: 3, ModifyIndex: 3}
	switch {
	case f.operation == session.Renew.Name && id == "none":
		return nil, op.Errorf(op.CodeNotFound, "Session id 'none' not found")
	case f.operation == session.Renew.Name:
		return &one, nil
	case id == "none":
		return &session.Sessions{}, nil
	}
	return &session.Sessions{one}, nil
}

// transact fails what is not about "a".
func (f *fake) transact(r *txn.Request) *txn.Result {
	res := &txn.Result{}
	for i, o := range r.Ops {
		if o.KV == nil || o.KV.Key != "a" {
			res.Errors = append(res.Errors, txn.Error{OpIndex: i, What: "no"})
			continue
		}
		e := *f.entries["a"]
		if o.KV.Verb != txn.Get {
			e.Value = []byte{}
		}
		res.Results = append(res.Results, txn.Item{KV: &e})
	}
	return res
}

func (f *fake) answer(req any) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch req := req.(type) {
	case *kv.GetRequest:
		switch req.Key {
		case "panic":
			panic("asked for")
		case "lost":
			return nil, op.Errorf(op.CodeNoLeader, "No cluster leader")
		case "busy":
			return nil, op.Errorf(op.CodeBusy, "too much")
		case "denied":
			return nil, op.Errorf(op.CodeDenied, "Permission denied: x")
		}
		if e := f.entries[req.Key]; e != nil {
			return e, nil
		}
		return nil, nil
	case *kv.ListRequest:
		list := kv.Entries{}
		for _, k := range []string{"a", "b/x"} {
			if strings.HasPrefix(k, req.Prefix) {
				list = append(list, *f.entries[k])
			}
		}
		return &list, nil
	case *kv.KeysRequest:
		list := kv.Keys{}
		for _, k := range []string{"a", "b/x"} {
			if strings.HasPrefix(k, req.Prefix) {
				list = append(list, k)
			}
		}
		return &list, nil
	case *kv.ApplyRequest:
		return &kv.ApplyResult{OK: req.Entry.ModifyIndex != 99, Index: 8}, nil
	case *session.CreateRequest:
		return f.create(&req.Session)
	case *session.DestroyRequest:
		return nil, nil
	case *session.IDRequest:
		return f.session(req.ID)
	case *session.NodeRequest:
		return &session.Sessions{{ID: "s1", Node: req.Node}}, nil
	case *txn.Request:
		return f.transact(req), nil
	case *catalog.RegisterRequest:
		if req.Node == "" {
			return nil, op.Errorf(op.CodeInvalid, "Must provide node")
		}
		return &catalog.RegisterResult{Index: 9}, nil
	case *catalog.DeregisterRequest:
		return &catalog.RegisterResult{Index: 9}, nil
	case *catalog.NodeRequest:
		return f.node(req.Node), nil
	case *catalog.StateRequest:
		return &catalog.Checks{{Node: "n1", CheckID: "c", Status: req.State}}, nil
	case *catalog.ServiceRequest:
		return nil, nil
	case *coordinate.NodeRequest:
		if req.Node == "n1" {
			return &coordinate.Entries{{Node: "n1", Coord: coordinate.Coord{Vec: []float64{0, 1}}}}, nil
		}
		return &coordinate.Entries{}, nil
	case *coordinate.Entry:
		return nil, nil
	}
	return nil, op.Errorf(op.CodeUnsupported, "fake knows no %T", req)
}

func (f *fake) node(name string) any {
	if name != "n1" {
		return nil
	}
	return &catalog.NodeServices{Node: &catalog.Node{ID: "id", Node: "n1", Address: "10.0.0.1", Datacenter: "dc1"},
		Services: map[string]*catalog.Service{"web": {ID: "web", Service: "web", Port: 80}, "db": {ID: "db", Service: "db", Port: 5432}}}
}

// typed answers by operation what cannot be told by the type of the request.
type typed struct{ *fake }

func (t typed) Do(ctx context.Context, c *op.Call) (*op.Reply, error) {
	node := catalog.Node{ID: "id", Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", Meta: map[string]string{"rack": "r1"}}
	meta := op.Meta{Index: 7, KnownLeader: true, Datacenter: "dc1", Consistency: c.Header.Consistency}
	var res any
	switch c.Operation.OpName() {
	case "catalog.nodes":
		res = &catalog.Nodes{node, {Node: "n2"}}
	case "catalog.services":
		res = &catalog.ServiceTags{"web": {"v1"}, "consul": nil}
	case "catalog.service-nodes":
		res = &catalog.ServiceNodes{{Node: "n1", ServiceName: "web", NodeMeta: node.Meta}}
	case "health.service":
		res = &catalog.Instances{{Node: &node, Service: &catalog.Service{ID: "web1", Service: "web", Port: 80, Meta: map[string]string{"v": "2"}},
			Checks: catalog.Checks{{Node: "n1", CheckID: "serfHealth", Status: "passing"}}}}
		if strings.Contains(fmt.Sprint(c.Request()), "missing") {
			res = &catalog.Instances{}
		}
	case "health.node", "health.checks":
		res = &catalog.Checks{}
	case "status.leader":
		res = &op.Text{Text: "10.0.0.1:8300"}
	case "status.peers":
		res = &op.Texts{Texts: []string{"10.0.0.1:8300"}}
	case "status.datacenters":
		res = &op.Texts{Texts: []string{"dc1", "dc2"}}
	case "status.raft":
		res = &status.RaftConfiguration{Servers: []status.RaftServer{{ID: "id", Node: "n1", Address: "10.0.0.1:8300", Leader: true, Voter: true}}, Index: 1}
	case "session.list":
		res = &session.Sessions{}
	case "coordinate.nodes":
		res = &coordinate.Entries{}
	case "coordinate.datacenters":
		res = &coordinate.DatacenterMaps{{Datacenter: "dc1", AreaID: "wan"}}
	default:
		return t.fake.Do(ctx, c)
	}
	req, _ := c.Request()
	t.mu.Lock()
	t.header, t.request = c.Header, req
	t.mu.Unlock()
	return op.NewReply(meta, res), nil
}

// thisAgent is the agent n1 of dc1, and no server.
type thisAgent struct{ agent.Agent }

// Self implements agent.Facts.
func (thisAgent) Self() agent.SelfView {
	return agent.SelfView{Config: agent.SelfConfig{Datacenter: "dc1", NodeName: "n1"}}
}

// world is a server with everything around it.
type world struct {
	*Server
	fake *fake
	reg  *prometheus.Registry
}

func start(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	w := &world{fake: newFake(), reg: prometheus.NewRegistry()}
	cfg := Config{Caller: typed{w.fake}, Agent: thisAgent{}, Local: struct{ agent.Local }{}, Datacenter: "dc1", NodeName: "n1", MaxValueSize: 8192,
		Log: quiet, Registerer: w.reg, Metrics: http.NotFoundHandler(), AgentMetrics: http.NotFoundHandler()}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if w.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, req)
	return rec
}

func httpConfig(c config.HTTPConfig) func(*Config) { return func(cfg *Config) { cfg.HTTP = c } }

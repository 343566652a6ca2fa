// Package queries carries out prepared queries: the query and the instances of
// this datacenter are kept results, other datacenters that stand in are asked at
// once and chosen by order, and who waits is answered when what the answer was
// decided from has moved.
//
// It keeps no queries (state/query does) and knows no way to another datacenter:
// it asks and follows through the server.
package queries

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/server/near"
	"github.com/legate-project/legate/server/results"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/query"
)

// Bounds of carrying out one query. All datacenters that stand in are asked at
// once; the answer is the first in order that is not empty, known as soon as
// all before it have answered or failed. So a query takes as long as this
// datacenter's own answer and standInDeadline at most.
const (
	maxStandIns = 64
	// standInDeadline is how long a datacenter that stands in may take, or half of
	// what the caller has left: time to answer with those that did.
	standInDeadline = 2 * time.Second
	// nearFront is up to which place the node that an answer is sorted by is moved
	// to the front: it is as near to itself as nothing else.
	nearFront = 10
)

// Values of a label.
const (
	answerLocal    = "local"
	answerFailover = "failover"
	answerEmpty    = "empty"
)

// Server is what carrying out queries needs of the server that does. As a Caller
// and a Subscriber it reaches the other datacenters.
type Server interface {
	op.Caller
	op.Subscriber
	// Nearest lists the other datacenters in an order that does not sway.
	Nearest() []string
	// Anywhere reports whether this server may answer although it does not lead.
	Anywhere(h *op.Header) bool
	// Answer describes an answer of this datacenter.
	Answer(h *op.Header, anywhere bool) op.Meta
	// ConfirmLeadership fails unless this server leads right now.
	ConfirmLeadership(ctx context.Context) error
	// Leads reports whether this server leads and may answer as leader.
	Leads() bool
	// Reign is closed when this time of leadership ends; nil if there is none.
	Reign() <-chan struct{}
	// Wait bounds how long a caller wants to wait.
	Wait(asked time.Duration) time.Duration
}

// Config says where queries are carried out.
type Config struct {
	Datacenter string
	Authorizer func(token string) (rules.Authorizer, error)
	Results    *results.Store
	Near       *near.Order
	Group      *lifecycle.Group // of the goroutines that ask the others
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Executor carries out queries. It is safe for concurrent use.
type Executor struct {
	cfg     Config
	server  Server
	metrics *metrics
}

// New returns an executor for the server.
func New(s Server, cfg Config) *Executor {
	return &Executor{cfg: cfg, server: s, metrics: newMetrics(cfg.Registerer)}
}

// Execute answers query.Execute.
func (e *Executor) Execute(ctx context.Context, h op.Header, r *query.ExecuteRequest) (*query.Answer, error) {
	if h.Consistency == op.Consistent {
		if err := e.server.ConfirmLeadership(ctx); err != nil {
			return nil, err
		}
	}
	x := &execution{e: e, h: h, r: r}
	if h.MinIndex > 0 {
		return x.wait(ctx)
	}
	d, err := x.decide(ctx)
	if err != nil {
		return nil, err
	}
	d.release()
	return d.answer, nil
}

// execution is one call of query.Execute.
type execution struct {
	e *Executor
	h op.Header
	r *query.ExecuteRequest
}

// decision is an answer with what it was decided from: the query, the instances
// here and, if there are none, those of the datacenters up to the one that has
// some. Release it after use.
type decision struct {
	answer      *query.Answer
	query, here *results.Result
	token       string
	selection   *query.SelectRequest
	failover    *query.Failover // nil if this datacenter has instances
	standIns    []string        // all, in the order in which they count
	asked       []source        // those that decided
}

// source is what a datacenter said.
type source struct {
	dc    string
	index uint64 // 0 if it did not answer
	list  *catalog.Instances
	meta  op.Meta
	err   error
}

// outcome says how it took part. One that refuses the token has answered.
func (s *source) outcome() op.Outcome {
	switch {
	case s.index == 0 && op.CodeOf(s.err) != op.CodeDenied:
		return op.Outcome{Datacenter: s.dc, State: op.Unreachable}
	case s.meta.Age > 0:
		return op.Outcome{Datacenter: s.dc, State: op.Aged, Age: s.meta.Age}
	}
	return op.Outcome{Datacenter: s.dc}
}

func (d *decision) release() {
	d.query.Release()
	if d.here != nil {
		d.here.Release()
	}
}

// decide carries the query out once.
func (x *execution) decide(ctx context.Context) (*decision, error) {
	name := &query.NameRequest{Name: x.r.Name}
	res, err := x.e.cfg.Results.Of(&query.Explain, op.NewCall(&query.Explain, op.Header{}, name), name)
	if err != nil {
		return nil, err
	}
	d := &decision{query: res, answer: &query.Answer{Datacenter: x.e.cfg.Datacenter, Nodes: catalog.Instances{}}}
	d.answer.Meta = x.e.server.Answer(&x.h, x.e.server.Anywhere(&x.h))
	if err := x.answer(ctx, d); err != nil {
		d.release()
		return nil, err
	}
	d.answer.Meta.Index = d.index()
	return d, nil
}

func (x *execution) answer(ctx context.Context, d *decision) error {
	found, _ := d.query.Value.(*query.Queries)
	if found == nil || len(*found) == 0 {
		return op.Errorf(op.CodeNotFound, "Query not found")
	}
	q := &(*found)[0]
	d.answer.Service, d.answer.DNS = q.Service.Service, q.DNS
	d.token, d.selection = cmp.Or(q.Token, x.h.Token), q.Service.Selection()
	d.selection.Connect = d.selection.Connect || x.r.Connect
	a, err := x.e.cfg.Authorizer(d.token)
	if err != nil {
		return err
	}
	list, err := x.local(d, a)
	if err != nil {
		return err
	}
	if len(*list) > 0 {
		x.e.metrics.executed.WithLabelValues(answerLocal).Inc()
		return x.arrange(d.answer, list, x.near(q))
	}
	d.failover = &q.Service.Failover
	d.standIns = x.standIns(d.failover)
	chosen := x.ask(ctx, d)
	d.answer.Failovers = len(d.asked)
	x.tell(d)
	if chosen == nil {
		x.e.metrics.executed.WithLabelValues(answerEmpty).Inc()
		return nil
	}
	x.e.metrics.executed.WithLabelValues(answerFailover).Inc()
	d.answer.Datacenter = chosen.dc
	m := &d.answer.Meta
	m.Age, m.Hit, m.Filtered = chosen.meta.Age, chosen.meta.Hit, m.Filtered || chosen.meta.Filtered
	return x.arrange(d.answer, chosen.list, "") // distances are known inside a datacenter only
}

// tell notes what became of asking each datacenter, this one first: who gets
// nothing is to know whether that is because nobody has an instance.
func (x *execution) tell(d *decision) {
	if len(d.asked) == 0 {
		return
	}
	m := &d.answer.Meta
	own := source{dc: x.e.cfg.Datacenter, index: max(d.here.Index, 1), meta: *m}
	m.Outcomes = []op.Outcome{own.outcome()}
	for i := range d.asked[:min(len(d.asked), op.MaxListed-1)] {
		m.Outcomes = append(m.Outcomes, d.asked[i].outcome())
	}
}

// local is what the query finds in this datacenter.
func (x *execution) local(d *decision, a rules.Authorizer) (*catalog.Instances, error) {
	sel := d.selection
	if err := query.Select.Allow(a, sel); err != nil {
		return nil, err
	}
	var err error
	if d.here, err = x.e.cfg.Results.Of(&query.Select, op.NewCall(&query.Select, op.Header{}, sel), sel); err != nil {
		return nil, err
	}
	shown, filtered := query.Select.Hide(a, d.here.Value)
	d.answer.Meta.Filtered = filtered
	list, _ := shown.(*catalog.Instances)
	if list == nil {
		list = &catalog.Instances{}
	}
	return list, nil
}

// near is whom the answer is sorted by: a node of this datacenter, an address,
// or nobody.
func (x *execution) near(q *query.Query) string {
	near := cmp.Or(x.h.Near, q.Service.Near)
	if near == query.NearAgent {
		near = x.r.Agent
	}
	switch {
	case near == query.NearAddress && x.r.Address != "":
		return op.NearAddress + x.r.Address
	case near == query.NearAddress:
		return ""
	case near == x.r.Agent && x.r.AgentDatacenter != "" && x.r.AgentDatacenter != x.e.cfg.Datacenter:
		return "" // a node of that name here is another one
	}
	return near
}

// arrange sorts or shuffles the instances and takes as many as are wanted.
func (x *execution) arrange(answer *query.Answer, list *catalog.Instances, near string) error {
	var shown any = list
	sorted, err := x.e.cfg.Near.Sort(near, &shown)
	if err != nil {
		return err
	}
	if !sorted {
		shown = list.Reordered(rand.Perm(len(*list)))
	}
	nodes := *shown.(*catalog.Instances) // a copy of ours
	for i := range nodes[:min(nearFront, len(nodes))] {
		if near != "" && strings.EqualFold(nodes[i].Node.Node, near) {
			nodes[0], nodes[i] = nodes[i], nodes[0]
			break
		}
	}
	if x.r.Limit > 0 && x.r.Limit < uint64(len(nodes)) {
		nodes = nodes[:x.r.Limit]
	}
	answer.Nodes = nodes
	return nil
}

// standIns lists the datacenters that are known here and stand in for this one,
// each once: the nearest, then those listed. In a list op.Nearest is all others.
func (x *execution) standIns(f *query.Failover) []string {
	known := x.e.server.Nearest()
	var out []string
	add := func(dcs ...string) {
		for _, dc := range dcs {
			if slices.Contains(known, dc) && !slices.Contains(out, dc) && len(out) < maxStandIns {
				out = append(out, dc)
			}
		}
	}
	listed := func(dc string) {
		if dc == op.Nearest {
			add(known...)
			return
		}
		add(dc)
	}
	add(known[:min(f.NearestN, len(known))]...)
	for _, dc := range f.Datacenters {
		listed(dc)
	}
	for _, t := range f.Targets {
		listed(t.Datacenter)
	}
	return out
}

// ask asks all datacenters that stand in at once and returns the first in order
// that has instances, nil if none has. What is known of one that is out of reach
// comes after all others: it may be right, but who could use it?
func (x *execution) ask(ctx context.Context, d *decision) *source {
	limit := standInDeadline
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel() // who comes too late is not waited for
	type said struct {
		at int
		source
	}
	answers := make(chan said, len(d.standIns))
	for i, dc := range d.standIns {
		err := x.e.cfg.Group.Spawn("query", func(context.Context) { answers <- said{i, x.askOne(ctx, d, dc)} })
		if err != nil { // stopping
			answers <- said{i, source{dc: dc, err: err}}
		}
	}
	in := make([]*source, len(d.standIns))
	var aged *source
	for next := 0; next < len(in); {
		one := <-answers
		in[one.at] = &one.source
		for ; next < len(in) && in[next] != nil; next++ {
			d.asked = append(d.asked, *in[next])
			switch src := in[next]; {
			case src.list == nil || len(*src.list) == 0:
			case src.meta.Age == 0:
				return src
			case aged == nil:
				aged = src
			}
		}
	}
	return aged
}

// askOne asks a datacenter for its instances. A failure makes it one that does
// not stand in.
func (x *execution) askOne(ctx context.Context, d *decision, dc string) source {
	out := source{dc: dc}
	list, meta, err := query.Select.Call(ctx, x.e.server, x.toward(dc, d.token), d.selection)
	if err != nil {
		x.e.cfg.Log.Debug("datacenter does not stand in", "peer_datacenter", dc, "service", d.selection.Service, "error", err)
		out.err = err
		return out
	}
	out.index, out.list, out.meta = meta.Index, list, meta
	return out
}

// toward is the header for another datacenter. There any server may answer: one
// without a leader stands in as well.
func (x *execution) toward(dc, token string) op.Header {
	h := op.Header{Datacenter: dc, Token: token, Consistency: op.Stale, MaxStale: x.h.MaxStale, Hops: x.h.Hops}
	switch x.h.Consistency {
	case op.Consistent:
		h.Consistency = op.Consistent
	case op.Cached:
		h.Consistency, h.MaxAge, h.MustCurrent = op.Cached, x.h.MaxAge, x.h.MustCurrent
	}
	return h
}

// maxQueryIndex keeps indexes exact for clients that read numbers as floats.
const maxQueryIndex = 1<<52 - 1

// index stands for what the answer was decided from. Answers with the same index
// are the same but for their order.
func (d *decision) index() uint64 {
	hash := fnv.New64a()
	write := func(dc string, index uint64) {
		b := append([]byte(dc), 0)
		_, _ = hash.Write(binary.BigEndian.AppendUint64(b, index)) // does not fail
	}
	write("", max(d.query.Index, 1))
	write("", max(d.here.Index, 1))
	for _, src := range d.asked {
		write(src.dc, src.index)
	}
	return max(hash.Sum64()&maxQueryIndex, 1)
}

// Package abroad follows the nodes of other datacenters that sessions of this one are
// bound to, while this server leads, and says what becomes of the sessions: one whose
// node or checks have failed ends, one without a TTL lives on for as long as its node's
// datacenter vouches for it.
//
// It promises that a session is made only for a node that its datacenter knows now, with
// checks that are not critical; that a word counts only while whoever said it hears the
// leader of that datacenter; and that silence ends nothing here: the leader's timers do.
//
// Run is the one owner of what is decided. For each node there is one subscription, in a
// goroutine of its own, that keeps the last word and does no more: maxNodes bounds them,
// and all of them end with the reign. A datacenter that does not answer holds up nobody
// but who wants a session there, for patience at most. A new leader begins anew: it
// knows of no word, and the timers give each session its whole time again.
package abroad

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

const (
	// maxNodes bounds the nodes that are followed.
	maxNodes = 1024
	// patience is how long who wants a session waits for a word on its node.
	patience = 5 * time.Second
	// settled is how long a node must be seen failing: the first word may come from a
	// server that has not caught up yet.
	settled = time.Second
	// spare is how long a node is followed after somebody wanted a session on it: the
	// session is found within that.
	spare = 10 * time.Second
	// tick is how late a failing may be noticed; sessions are looked for each scanEvery.
	tick      = 250 * time.Millisecond
	scanEvery = time.Second
	// stopTimeout is how long the end of a reign waits for the subscriptions.
	stopTimeout = 3 * time.Second
)

// Leader is what following needs of the leader's duties.
type Leader interface {
	// Vouch has sessions live on from a moment on.
	Vouch(list []session.Expiry, at time.Time)
	// EndSessions ends at most session.MaxExpiries.
	EndSessions(ctx context.Context, list []session.Expiry) error
}

// Config says for whom nodes are followed.
type Config struct {
	Datacenter string
	State      *storage.State
	// Leader returns the duties of this server; it is called from Run on.
	Leader     func() Leader
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Nodes are the nodes of other datacenters that are followed. It is safe for concurrent
// use.
type Nodes struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	source  op.Subscriber // nil without a federation

	mu    sync.Mutex
	group *lifecycle.Group // of the subscriptions; nil while this server does not lead
	nodes map[string]*node // by their keys
}

// New returns what follows nobody.
func New(cfg Config) *Nodes {
	return &Nodes{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registerer)}
}

// Connect says where results of other datacenters are followed; before Run.
func (f *Nodes) Connect(source op.Subscriber) { f.source = source }

// Admit refuses a session.CreateRequest of session.Bind unless the node's datacenter says
// that the node is there and none of the checks is critical.
func (f *Nodes) Admit(ctx context.Context, request any) error {
	r, ok := request.(*session.CreateRequest)
	if !ok {
		return op.Errorf(op.CodeInternal, "abroad: %T is no session", request)
	}
	s := &r.Session
	if s.NodeDatacenter == f.cfg.Datacenter {
		return op.Errorf(op.CodeInvalid, "node %q is of the datacenter of the session: leave NodeDatacenter out", s.Node)
	}
	n, err := f.want(s.NodeDatacenter, s.Node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	late := time.NewTimer(settled)
	defer late.Stop()
	over := false
	for {
		w, changed := n.look()
		var why error
		switch {
		case w.current:
			if why = admit(s, w.info); why == nil || over {
				return why
			}
		case w.err != nil:
			return silent(s.NodeDatacenter, w.err)
		}
		select {
		case <-changed:
		case <-late.C:
			over = true
		case <-ctx.Done():
			if why == nil {
				why = silent(s.NodeDatacenter, errors.New("it says nothing that is current"))
			}
			return why
		}
	}
}

// admit asks for the name as the node's datacenter spells it, too: rights are asked by
// that.
func admit(s *session.Session, n *catalog.NodeInfo) error {
	err := s.StandsOn(n)
	if err == nil && n.Node != s.Node {
		err = op.Errorf(op.CodeInvalid, "node %q is spelt %q in datacenter %s: name it so", s.Node, n.Node, s.NodeDatacenter)
	}
	return err
}

// silent says that a datacenter cannot be asked for its nodes: nothing was written.
func silent(dc string, err error) error {
	switch op.CodeOf(err) {
	case op.CodeUnknownDatacenter, op.CodeRemovedDatacenter, op.CodeLeftDatacenter, op.CodeUnsupported, op.CodeBusy:
		return err
	}
	return &op.Error{Code: op.CodeUnreachableDatacenter, Datacenter: dc, Text: "datacenter " + dc + " cannot be asked for the node of the session: " + err.Error()}
}

// want has a node followed, for a while at least.
func (f *Nodes) want(dc, name string) (*node, error) {
	if f.source == nil {
		return nil, &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: dc}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.begin(dc, name)
	if err != nil {
		return nil, err
	}
	n.until = time.Now().Add(spare)
	return n, nil
}

// begin has a node followed; f.mu is held.
func (f *Nodes) begin(dc, name string) (*node, error) {
	if f.group == nil {
		return nil, op.ErrNotLeader
	}
	key := keyOf(dc, name)
	if n := f.nodes[key]; n != nil {
		return n, nil
	}
	if len(f.nodes) >= maxNodes {
		return nil, op.Errorf(op.CodeBusy, "sessions are bound to %d nodes of other datacenters, the limit", maxNodes)
	}
	n := &node{dc: dc, name: name, changed: make(chan struct{}), failing: map[string]time.Time{}}
	var ctx context.Context
	ctx, n.end = context.WithCancel(f.group.Context())
	if err := f.group.Spawn("node", func(context.Context) { n.follow(ctx, f.source) }); err != nil {
		n.end()
		return nil, op.ErrNotLeader
	}
	f.nodes[key] = n
	return n, nil
}

// keyOf finds nodes in any spelling.
func keyOf(dc, name string) string { return dc + "\x00" + strings.ToLower(name) }

// Run follows nodes for as long as ctx lasts: a reign.
func (f *Nodes) Run(ctx context.Context) {
	if f.source == nil {
		return
	}
	f.mu.Lock()
	f.group, f.nodes = lifecycle.New("nodes of other datacenters"), map[string]*node{}
	f.mu.Unlock()
	defer f.quit()
	var watch *storage.Watch
	var scanned time.Time
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			if watch != nil {
				watch.Close()
			}
			return
		case <-t.C:
		}
		now := time.Now()
		if now.Sub(scanned) >= scanEvery {
			scanned = now
			if watch == nil || watch.Stale() {
				var err error
				if watch, err = f.scan(watch); err != nil {
					f.log.Warn("look for sessions of nodes of other datacenters", "error", err)
				}
			}
			f.drop(now)
		}
		f.judge(ctx, now)
	}
}

// quit ends all subscriptions.
func (f *Nodes) quit() {
	f.mu.Lock()
	group := f.group
	f.group, f.nodes = nil, nil
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := group.Stop(ctx); err != nil {
		f.log.Warn("nodes of other datacenters are followed on", "error", err)
	}
	f.metrics.followed.Set(0)
	f.metrics.unvouched.Set(0)
}

// scan gives each node its sessions. It returns a watch that says when to look again.
func (f *Nodes) scan(old *storage.Watch) (*storage.Watch, error) {
	if old != nil {
		old.Close()
	}
	var list session.Sessions
	watch, err := f.cfg.State.Watch(func(v *storage.View) error {
		var err error
		list, err = session.Abroad(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		n.sessions, n.judged = nil, 0
	}
	var refused error
	for i := range list {
		n, err := f.begin(list[i].NodeDatacenter, list[i].Node)
		if err != nil { // a restored state may have more
			refused = err
			continue
		}
		n.sessions = append(n.sessions, list[i])
	}
	if refused != nil {
		f.log.Warn("not all nodes of other datacenters are followed: sessions on the others that have no TTL will end", "error", refused)
	}
	return watch, nil
}

// drop ends following nodes that nobody needs.
func (f *Nodes) drop(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, n := range f.nodes {
		if len(n.sessions) == 0 && now.After(n.until) {
			n.end()
			delete(f.nodes, key)
		}
	}
	f.metrics.followed.Set(float64(len(f.nodes)))
}

// judge says what becomes of all sessions.
func (f *Nodes) judge(ctx context.Context, now time.Time) {
	f.mu.Lock()
	all := make([]*node, 0, len(f.nodes))
	for _, n := range f.nodes {
		if len(n.sessions) > 0 {
			all = append(all, n)
		}
	}
	f.mu.Unlock()
	unvouched := 0
	for _, n := range all {
		w, _ := n.look()
		if !w.current {
			unvouched++
		}
		stand, fallen := n.judge(&w, now)
		if len(stand) > 0 {
			f.cfg.Leader().Vouch(stand, w.at)
		}
		f.end(ctx, n, fallen)
	}
	f.metrics.unvouched.Set(float64(unvouched))
}

// end ends sessions of one node, some with each command. What is not known to have been
// committed is tried again.
func (f *Nodes) end(ctx context.Context, n *node, fallen []session.Expiry) {
	for len(fallen) > 0 && ctx.Err() == nil {
		some := fallen[:min(len(fallen), session.MaxExpiries)]
		fallen = fallen[len(some):]
		f.log.Info("a node of another datacenter or its checks have failed: its sessions end", "peer_datacenter", n.dc, "member", n.name, "sessions", len(some))
		if err := f.cfg.Leader().EndSessions(ctx, some); err != nil {
			if ctx.Err() == nil {
				f.log.Warn("end sessions of a node of another datacenter", "peer_datacenter", n.dc, "member", n.name, "error", err)
			}
			n.again(some)
			return
		}
		n.ended(some)
		f.metrics.ended.Add(float64(len(some)))
	}
}

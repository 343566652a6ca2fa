// Package replicas copies keys of other datacenters into this one, as the rules of
// package replication say, and tells other datacenters of the keys here.
//
// The leader of the datacenter that has a rule follows the other one from the index up to
// which it has everything, deletions included, and writes through its own Raft; how far
// it has got stands in the state, so that the next leader goes on from there. Where the
// other datacenter does not know any more what was deleted, checksums of ranges of keys
// find what differs. Package replicas does not copy sessions and locks.
package replicas

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

const (
	// compareEvery is how often everything is compared, give or take a half.
	compareEvery = time.Hour
	// writers is how many commands of all rules are on their way to the log at once: what
	// is copied must not hold up what clients of the datacenter write.
	writers = 2
	// gravesKept is for how long deletions of rules of mode newest are remembered with their
	// time; forgetEvery is how often it is looked for older ones.
	gravesKept  = 3 * 24 * time.Hour
	forgetEvery = time.Minute
	// stopTimeout is how long the end of a rule waits for its goroutine.
	stopTimeout = 2 * time.Second
)

// Config says for which server.
type Config struct {
	Datacenter string
	Server     string // node.datacenter
	State      *storage.State
	// Self commits while this server leads.
	Self func() op.Caller
	// Leads reports whether it does.
	Leads func() bool
	// LeaderSilence is how long this server has not heard its leader.
	LeaderSilence func() time.Duration
	// CompareEvery is how often everything is compared, give or take a half; an hour if
	// it is 0.
	CompareEvery time.Duration
	// FirstPause is about how long after a failure it is tried again, at first; 100 ms if
	// it is 0.
	FirstPause time.Duration
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Links are the ways to other datacenters; all nil without WAN gossip.
type Links struct {
	// Calls asks other datacenters with the token of who asks, Follow is where their keys
	// are followed.
	Calls  op.Caller
	Follow op.Subscriber
}

// Replicas is what one server does for it. It is safe for concurrent use.
type Replicas struct {
	cfg     Config
	links   Links
	log     *slog.Logger
	metrics *metrics
	writing chan struct{} // has one for each command on its way

	mu    sync.Mutex
	rules map[string]*follower // by target; of the leader alone
}

// New returns the replicas of a server that knows no other datacenter yet.
func New(cfg Config) *Replicas {
	if cfg.CompareEvery == 0 {
		cfg.CompareEvery = compareEvery
	}
	if cfg.FirstPause == 0 {
		cfg.FirstPause = firstPause
	}
	r := &Replicas{cfg: cfg, log: cfg.Log.With("component", "replication"), writing: make(chan struct{}, writers), rules: map[string]*follower{}}
	r.metrics = newMetrics(cfg.Registerer, r)
	return r
}

// Connect says how others are reached, before Run.
func (r *Replicas) Connect(l Links) { r.links = l }

// Run follows what the rules say while this server leads: each rule in a goroutine of its
// own, which ends with the rule, when it is paused, or with ctx.
func (r *Replicas) Run(ctx context.Context) {
	if r.links.Follow == nil {
		return
	}
	defer r.align(nil)
	forget := time.NewTicker(forgetEvery)
	defer forget.Stop()
	for ctx.Err() == nil {
		var rules []replication.Rule
		watch, err := r.cfg.State.Watch(func(v *storage.View) (err error) {
			rules, err = replication.All(v)
			return err
		})
		if err != nil { // the state is closed or has failed: the reign is about to end
			<-ctx.Done()
			return
		}
		r.align(rules)
		select {
		case <-watch.Changed():
		case now := <-forget.C:
			if err := r.forget(ctx, now.Add(-gravesKept)); err != nil && ctx.Err() == nil {
				r.log.Warn("forget old deletions", "error", err)
			}
		case <-ctx.Done():
		}
		watch.Close()
	}
}

// forget forgets deletions that are older than a time.
func (r *Replicas) forget(ctx context.Context, than time.Time) error {
	for ctx.Err() == nil {
		var oldest *kv.Grave
		err := r.look(func(v *storage.View) (err error) {
			oldest, err = kv.OldestGrave(v)
			return err
		})
		if err != nil || oldest == nil || oldest.Time >= than.UnixNano() {
			return err
		}
		if _, _, err := kv.Forget.Call(ctx, r.cfg.Self(), op.Header{}, &kv.ForgetRequest{Before: than.UnixNano()}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// align ends and begins followers so that they are those of the rules.
func (r *Replicas) align(rules []replication.Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := map[string]*replication.Rule{}
	for i := range rules {
		if !rules[i].Paused {
			wanted[rules[i].Target] = &rules[i]
		}
	}
	for target, f := range r.rules {
		if rule := wanted[target]; rule != nil && *rule == f.rule {
			delete(wanted, target)
			continue
		}
		delete(r.rules, target)
		r.end(f)
	}
	for target, rule := range wanted {
		f := newFollower(r, *rule)
		f.group = lifecycle.New("replication")
		if err := f.group.Go("rule", f.run); err != nil {
			r.log.Error("start the replication of a rule", "prefix", target, "error", err)
			continue
		}
		r.rules[target] = f
	}
}

// end stops a follower.
func (r *Replicas) end(f *follower) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := f.group.Stop(ctx); err != nil {
		r.log.Warn("the replication of a rule did not end in time", "prefix", f.rule.Target, "error", err)
	}
}

// followers are those of the rules that are followed.
func (r *Replicas) followers() []*follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*follower, 0, len(r.rules))
	for _, f := range r.rules {
		list = append(list, f)
	}
	return list
}

// look opens a view for f.
func (r *Replicas) look(f func(*storage.View) error) error {
	v := r.cfg.State.View()
	return errors.Join(f(v), v.Close())
}

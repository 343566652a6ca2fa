// Package failover follows the rules by which services of this datacenter fail over, so that
// an agent knows them where it answers.
//
// Rules come a moment after they are written. While no server can be asked, those that were
// heard last count.
package failover

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/legate-project/legate/internal/byname"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/failover"
)

const (
	// maxWait is how long a change is waited for before it is asked with the token that counts
	// then.
	maxWait = 2 * time.Minute
	// firstPause and lastPause bound how long it waits before it asks again where that failed.
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// Config says whose rules are followed.
type Config struct {
	Datacenter string
	Caller     op.Caller
	Token      func() string
	Log        *slog.Logger
}

// Follower knows the rules. It is safe for concurrent use.
type Follower struct {
	cfg Config
	now atomic.Pointer[known]
}

// known are the rules of a moment. The context ends when there are others.
type known struct {
	context.Context
	rules failover.Rules
	table *byname.Table[*rule]
	end   context.CancelFunc
}

// rule is one with what calls are asked with.
type rule struct {
	failover.Rule
	others, ownFirst string
}

// New returns a Follower that knows no rule before Run.
func New(cfg Config) *Follower {
	f := &Follower{cfg: cfg}
	f.now.Store(&known{Context: context.Background(), table: byname.New[*rule](nil), end: func() {}})
	return f
}

// Run follows the rules until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	var index uint64
	pause := firstPause
	for {
		h := op.Header{Token: f.cfg.Token(), Consistency: op.Stale, MinIndex: index, MaxWait: maxWait}
		list, meta, err := failover.List.Call(ctx, f.cfg.Caller, h, &op.Empty{})
		if err == nil && list != nil {
			f.learn(*list)
		}
		if err == nil && meta.Index > 0 {
			if meta.Index < index { // a server whose state is another
				meta.Index = 0
			}
			index, pause = meta.Index, firstPause
			if index > 0 {
				continue
			}
		}
		if ctx.Err() == nil && err != nil {
			f.cfg.Log.Debug("rules of failover cannot be asked for", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		index, pause = 0, min(2*pause, lastPause)
	}
}

// learn takes other rules, and ends the context of those before.
func (f *Follower) learn(list failover.Rules) {
	before := f.now.Load()
	if slices.EqualFunc(list, before.rules, func(a, b failover.Rule) bool {
		return a.Service == b.Service && slices.Equal(a.Datacenters, b.Datacenters)
	}) {
		return
	}
	table := make(map[string]*rule, len(list))
	for _, r := range list {
		if len(r.Datacenters) > 0 {
			table[r.Service] = &rule{r, op.FailoverOrder(r.Datacenters), op.FailoverOrder(append([]string{f.cfg.Datacenter}, r.Datacenters...))}
		}
	}
	now := &known{rules: list, table: byname.New(table)}
	now.Context, now.end = context.WithCancel(context.Background())
	f.now.Store(now)
	before.end()
}

// Rule returns the rule for a service, whose name is in lower case; nil where there is none.
func (f *Follower) Rule(service string) *failover.Rule {
	if r := f.now.Load().table.Of(service); r != nil {
		return &r.Rule
	}
	return nil
}

// Others is which datacenters are asked where this one has no healthy instance, as
// op.Header.Datacenter says it; empty where there is no rule.
func (f *Follower) Others(service string) string {
	if r := f.now.Load().table.Of(service); r != nil {
		return r.others
	}
	return ""
}

// OwnFirst is Others behind the own datacenter, with what ends when the rules are others.
func (f *Follower) OwnFirst(service string) (string, context.Context) {
	now := f.now.Load()
	if r := now.table.Of(service); r != nil {
		return r.ownFirst, now
	}
	return "", now
}

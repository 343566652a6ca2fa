package replicas

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

const (
	// askTimeout is how long the other datacenter is asked for when a rule is made.
	askTimeout = 5 * time.Second
	// maxCounted is up to how many keys are counted that would have to go.
	maxCounted = 1_000_000
)

// Handlers answer what is asked of rules; the leader knows.
func (r *Replicas) Handlers() []op.Handler {
	list, create := replication.List.Handle(r.list), replication.Create.Handle(r.create)
	list.LeaderOnly, create.LeaderOnly = true, true
	return []op.Handler{list, create, replication.MayRead.Handle(func(context.Context, op.Header, *replication.ReadRequest) (*op.Empty, error) { return nil, nil })}
}

// list is how the rules stand.
func (r *Replicas) list(context.Context, op.Header, *op.Empty) (*replication.Listing, error) {
	out := &replication.Listing{Datacenter: r.cfg.Datacenter, Rules: []replication.Status{}}
	r.mu.Lock()
	followed := map[string]*follower{}
	for target, f := range r.rules {
		followed[target] = f
	}
	r.mu.Unlock()
	now := time.Now()
	err := r.look(func(v *storage.View) error {
		rules, err := replication.All(v)
		if err != nil {
			return err
		}
		for _, rule := range rules {
			s := replication.Status{Rule: rule, State: replication.StateFailing, Error: "this leader has not begun yet", Since: now}
			if f := followed[rule.Target]; f != nil && f.rule.CreateIndex == rule.CreateIndex {
				s = f.show(now)
				s.Rule = rule
			}
			if rule.Paused {
				s.State, s.Error, s.LagSeconds = replication.StatePaused, "", 0
			}
			if s.Index == 0 {
				p, err := replication.FindProgress(v, &rule)
				if err != nil {
					return err
				}
				s.Index = p.Index
			}
			out.Rules = append(out.Rules, s)
		}
		return nil
	})
	return out, err
}

// create makes a rule after all that can be wrong with it was looked at.
func (r *Replicas) create(ctx context.Context, h op.Header, req *replication.CreateRequest) (*replication.Rule, error) {
	rule := replication.Rule{Datacenter: req.Datacenter, Prefix: req.Prefix, Target: req.Target, Mode: req.Mode}
	if rule.Mode == "" {
		rule.Mode = replication.Mirror
	}
	if err := rule.Check(r.cfg.Datacenter); err != nil {
		return nil, err
	}
	if r.links.Follow == nil {
		return nil, &op.Error{Code: op.CodeUnknownDatacenter, Text: "No path to datacenter", Datacenter: rule.Datacenter}
	}
	count := 0
	err := r.look(func(v *storage.View) error {
		all, err := replication.All(v)
		if err == nil {
			err = replication.Fits(all, &rule)
		}
		if err == nil {
			count, err = kv.Count(v, rule.Target, maxCounted)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if count > 0 && !req.Force && rule.Mode == replication.Mirror {
		return nil, op.Errorf(op.CodeConflict, "below %q is something (%s): a mirror deletes what %s does not have, and writes the rest over. Say so with -force (Force), or choose another prefix",
			rule.Target, keysOf(count), rule.Datacenter)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, _, err := replication.MayRead.Call(ctx, r.links.Calls, op.Header{Datacenter: rule.Datacenter, Token: h.Token}, &replication.ReadRequest{Prefix: rule.Prefix}); err != nil {
		return nil, named(err, "datacenter %s was asked whether you may read what is to be copied", rule.Datacenter)
	}
	probe := &follower{r: r, rule: rule}
	if _, err := probe.ask(ctx, []replication.Range{{From: "", To: ""}}, 0); err != nil {
		return nil, named(err, "datacenter %s does not tell its keys", rule.Datacenter)
	}
	if err := probe.trace(ctx); err != nil {
		return nil, err
	}
	made, _, err := replication.Set.Call(ctx, r.cfg.Self(), op.Header{}, &replication.SetRequest{Rule: rule})
	return made, err
}

func keysOf(n int) string {
	switch n {
	case 1:
		return "1 key"
	case maxCounted:
		return fmt.Sprintf("%d keys or more", n)
	}
	return fmt.Sprintf("%d keys", n)
}

// named puts in front of an error what failed. Its code stays.
func named(err error, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	var e *op.Error
	if errors.As(err, &e) {
		return &op.Error{Code: e.Code, Text: text + ": " + e.Text, Datacenter: e.Datacenter}
	}
	return fmt.Errorf("%s: %w", text, err)
}

package replicas

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

// Bounds of finding out where keys come from.
const (
	// maxChain is how many datacenters copy from each other, one after the other; maxAsks how
	// many are asked for one rule.
	maxChain = 16
	maxAsks  = 64
	// behindBy is by how much a server that hears its leader is behind it, at most: in a group
	// where nothing happens it hears of a commit 50 to 100 ms late.
	behindBy = 500 * time.Millisecond
)

// outOfRings refuses to follow where the rule is a part of a ring.
//
// It is asked after the rule was committed, and each datacenter answers with the rules that it
// has committed. So of rules that make a ring together the one that was committed last finds
// it, whoever else does. That one never begins, and what is below it counts as its datacenter's
// own. After a rule has begun it is not asked again: a rule that would make a ring of it since
// has found that itself, and this one has nothing to stop for.
func (f *follower) outOfRings(ctx context.Context) error {
	var progress replication.Progress
	err := f.r.look(func(v *storage.View) (err error) {
		progress, err = replication.FindProgress(v, &f.rule)
		return err
	})
	if err != nil {
		return err
	}
	if progress.Begun || progress.Index > 0 {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := f.trace(asking); err != nil {
		return err
	}
	_, _, err = kv.Copy.Call(ctx, f.r.cfg.Self(), op.Header{}, &kv.CopyRequest{Target: f.rule.Target, Rule: f.rule.CreateIndex, Begun: true})
	return err
}

// trace asks where the keys come from, and returns an error if that is from here, or not known.
func (f *follower) trace(ctx context.Context) error {
	chain := []replication.Place{{Datacenter: f.r.cfg.Datacenter, Prefix: f.rule.Target, Mode: f.rule.Mode}}
	told, err := f.r.askBehind(ctx, &f.rule, f.rule.Prefix, chain, maxAsks)
	if err != nil {
		return err
	}
	return replication.RingError(told.Ring)
}

// askBehind asks the datacenter of a rule where what is below a prefix there comes from.
func (r *Replicas) askBehind(ctx context.Context, rule *replication.Rule, prefix string, chain []replication.Place, asks uint64) (told *replication.Told, err error) {
	if asks == 0 || len(chain) > maxChain {
		return nil, op.Errorf(op.CodeTooLarge, "too many datacenters copy keys from each other to tell whether they go in a ring: %d one after the other, or %d in all", maxChain, maxAsks)
	}
	req := &replication.FollowRequest{Prefix: prefix, Target: rule.Target, Newest: rule.Mode == replication.Newest, Chain: chain, Asks: asks - 1,
		Sums: true, Ranges: []replication.Range{{From: "", To: ""}}}
	err = r.subscribe(ctx, rule.Datacenter, req, func(t *replication.Told) error {
		told = t
		return errAnswered
	})
	switch {
	case !errors.Is(err, errAnswered):
		return nil, named(err, "datacenter %s was asked where it has %q from", rule.Datacenter, prefix)
	case !told.Traced: // an earlier build, which does not know
		return &replication.Told{Asks: asks - 1}, nil
	}
	told.Asks = min(told.Asks, asks-1)
	return told, nil
}

// trace answers for a chain: with the ring that it becomes with the rules here, and with those
// of the datacenters that they copy from. Rules that are paused count: they may go on.
func (s *source) trace(ctx context.Context) error {
	told := &replication.Told{Index: s.r.cfg.State.Index(), Traced: true, Asks: s.req.Asks}
	if !s.r.cfg.Leads() {
		select {
		case <-time.After(behindBy):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var rules []replication.Rule
	err := s.r.look(func(v *storage.View) (err error) {
		rules, err = replication.All(v)
		return err
	})
	for i := 0; err == nil && i < len(rules) && told.Ring == nil; i++ {
		told.Ring, told.Asks, err = s.behind(ctx, &rules[i], told.Asks)
	}
	if err == nil {
		err = s.tell(told)
	}
	if err != nil {
		return err
	}
	return op.Errorf(op.CodeLost, "it was told where keys come from")
}

// behind looks where a rule has the keys from that the chain copies; a ring that does not go
// through its beginning is somebody else's.
func (s *source) behind(ctx context.Context, rule *replication.Rule, asks uint64) (ring []replication.Place, left uint64, err error) {
	prefix, ok := rule.Behind(s.req.Prefix)
	if !ok {
		return nil, asks, nil
	}
	chain := append(slices.Clone(s.req.Chain), replication.Place{Datacenter: s.r.cfg.Datacenter, Prefix: s.req.Prefix, Mode: rule.Mode})
	switch replication.Meets(chain, rule.Datacenter, prefix) {
	case 0:
		if ring = append(chain, replication.Place{Datacenter: rule.Datacenter, Prefix: prefix}); replication.RingError(ring) != nil {
			return ring, asks, nil
		}
	case -1:
		told, err := s.r.askBehind(ctx, rule, prefix, chain, asks)
		if err != nil {
			return nil, 0, err
		}
		return told.Ring, told.Asks, nil
	}
	return nil, asks, nil
}

package copies

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/legate-project/legate/federation/removal"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
)

const (
	// firstPause and lastPause bound the pause between attempts to follow the home.
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
	// settledAfter is how long a stream must have lasted for the next attempt to come
	// soon again.
	settledAfter = 10 * time.Second
)

// fewRecords is up to how many records a change counts as one that another does not
// follow at once. Where nothing follows, an idle group hears of a commit 50 to 100 ms late.
const fewRecords = 8

// errDiverged ends a stream: what differs comes with the next one.
var errDiverged = errors.New("the copies are not what the home has")

// follower is what the leader knows of the copies.
type follower struct {
	mu      sync.Mutex
	home    removal.Record // who is followed, if somebody is
	running bool
	upTo    uint64    // index of the home up to which there is everything
	told    uint64    // index of the home that was heard of last
	current time.Time // when the copies were last known to be current
	since   time.Time // since when this leader has had a home to follow; zero for none
	failed  time.Time
	why     string
	news    chan struct{} // closed when upTo changes or following begins or ends
}

// wake tells who waits; f.mu is held.
func (f *follower) wake() {
	close(f.news)
	f.news = make(chan struct{})
}

// reached waits until the copies of the home with this version have everything up to an
// index.
func (f *follower) reached(ctx context.Context, home removal.Record, index uint64) error {
	for {
		f.mu.Lock()
		done, news, why := f.running && f.home.Version == home.Version && f.home.Datacenter == home.Datacenter && f.upTo >= index, f.news, f.why
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			if why != "" {
				return fmt.Errorf("not everything was copied in time: %s", why)
			}
			return errors.New("not everything was copied in time")
		}
	}
}

// Follow keeps the copies while this server leads and another datacenter is the home.
func (c *Copies) Follow(ctx context.Context) {
	defer c.follower.end(nil)
	if !c.cfg.Enabled || c.links.Follow == nil {
		return
	}
	pause := firstPause
	for ctx.Err() == nil {
		changed := c.Changed()
		home := c.noted()
		row, err := c.row()
		if err == nil && (home.Datacenter == c.cfg.Datacenter || !row.Away || row.Version != home.Version) {
			// Nothing to follow, or the state does not know yet: see Keep.
			c.follower.end(nil)
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		c.follower.wants(began)
		if err == nil {
			err = c.followHome(ctx, home, row.Index)
		}
		if ctx.Err() != nil {
			return
		}
		if pause = min(2*pause, lastPause); time.Since(began) > settledAfter || errors.Is(err, errDiverged) {
			pause = firstPause
		}
		c.follower.end(err)
		c.log.Debug("the home is not followed", "peer_datacenter", home.Datacenter, "error", err)
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-t.C:
		case <-changed:
			pause = firstPause
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// wants says that there is a home to be followed.
func (f *follower) wants(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		f.since = now
	}
}

// age is how long the copies are not known to be what the home has: a leader that has
// never reached the home knows since when it tries.
func (f *follower) age(now time.Time) time.Duration {
	switch {
	case !f.current.IsZero():
		return now.Sub(f.current)
	case !f.since.IsZero():
		return now.Sub(f.since)
	}
	return 0
}

// end says that nobody is followed at this time, and why.
func (f *follower) end(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = false
	if why == nil {
		f.upTo, f.told, f.why, f.failed, f.current, f.since = 0, 0, "", time.Time{}, time.Time{}, time.Time{}
	} else if !errors.Is(why, errDiverged) {
		f.why, f.failed = why.Error(), time.Now()
	}
	f.wake()
}

// stream is one subscription to the home.
type stream struct {
	c       *Copies
	home    removal.Record
	held    *acl.Inventory // when it began; nil once that is made good
	first   bool           // the state does not know yet that it has had everything
	dropped [5]int         // records by kind that the home has not
	changed int            // records that were another at the home
}

// followHome follows the home until something is wrong with that, or somebody else is it.
func (c *Copies) followHome(ctx context.Context, home removal.Record, index uint64) error {
	inv, err := c.inventory()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stream{c: c, home: home, held: inv, first: index == 0}
	h := op.Header{Datacenter: home.Datacenter, Consistency: op.Cached, MinIndex: 1} // a server that gossip has lost is worth a try
	err = c.links.Follow.Subscribe(ctx, op.NewCall(&acl.Follow, h, &acl.FollowRequest{Version: home.Version, Index: index, Sums: inv.Sums()}), func(r *op.Reply) error {
		result, err := r.Result(&acl.Follow)
		if err != nil {
			return err
		}
		news, _ := result.(*acl.Changes)
		if news == nil {
			return nil
		}
		return s.take(ctx, news)
	})
	return err
}

// take writes what the home tells.
func (s *stream) take(ctx context.Context, news *acl.Changes) error {
	c := s.c
	if now := c.noted(); now.Version != s.home.Version || now.Datacenter != s.home.Datacenter {
		return errors.New("another datacenter is the home now")
	}
	c.follower.begin(s.home, news)
	if err := s.write(ctx, news); err != nil {
		return err
	}
	if news.More {
		return nil
	}
	if s.held != nil {
		s.report()
		s.held = nil
	}
	if news.Summed {
		own, known, err := c.sums.now()
		if err != nil {
			return err
		}
		if known && own != news.Sum {
			c.metrics.divergences.Inc()
			c.log.Warn("the copies of policies, roles and tokens are not what the home has: what differs is copied again", "peer_datacenter", s.home.Datacenter)
			return errDiverged
		}
	}
	c.follower.reachedNow(news.Index)
	return nil
}

func (f *follower) begin(home removal.Record, news *acl.Changes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.running || f.home != home {
		f.running, f.home, f.upTo = true, home, 0
		f.wake()
	}
	f.told = max(f.told, news.Index)
}

func (f *follower) reachedNow(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upTo, f.told, f.current, f.why = index, index, time.Now(), ""
	f.wake()
}

// write commits what is not here yet.
func (s *stream) write(ctx context.Context, news *acl.Changes) error {
	c := s.c
	gone := slices.Clone(news.Deletes)
	for i := range news.Buckets {
		if s.held == nil {
			return op.Errorf(op.CodeInternal, "whole buckets come after what has changed")
		}
		gone = append(gone, s.held.Missing(&news.Buckets[i])...)
	}
	v := c.cfg.State.View()
	req, err := acl.News(v, gone, &news.Records)
	if err == nil && news.Begun {
		var known bool
		known, err = acl.Bootstrapped(v)
		req.Begun = !known
	}
	if err = errors.Join(err, v.Close()); err != nil {
		return err
	}
	if s.held != nil {
		for _, n := range req.Deletes {
			s.dropped[n.Kind]++
		}
		s.changed += req.Records.Len()
	}
	n := len(req.Deletes) + req.Records.Len()
	if n == 0 && !req.Begun && (news.More || !s.first) {
		return nil
	}
	req.Version = s.home.Version
	if !news.More {
		req.Index = news.Index
	}
	res, _, err := acl.Copy.Call(ctx, c.cfg.Self(), op.Header{}, req)
	if err != nil {
		return fmt.Errorf("write what was copied from %s: %w", s.home.Datacenter, err)
	}
	s.first = s.first && news.More
	c.metrics.records.Add(float64(n))
	if n <= fewRecords && !news.More {
		// The others of this datacenter hear that it is committed with the next entry.
		if _, _, err := acl.Copy.Call(ctx, c.cfg.Self(), op.Header{}, &acl.CopyRequest{Version: req.Version}); err != nil {
			return fmt.Errorf("tell the datacenter what was copied from %s: %w", s.home.Datacenter, err)
		}
	}
	if res != nil {
		for _, accessor := range res.Lost {
			c.log.Warn("a local token had the accessor or the secret of a global one and gave way: a global token means the same everywhere", "accessor", accessor)
		}
	}
	return nil
}

// report says what was made good when following began.
func (s *stream) report() {
	if s.changed == 0 && s.dropped == [5]int{} {
		return
	}
	attrs := []any{"peer_datacenter", s.home.Datacenter, "copied", s.changed}
	dropped := 0
	for kind, n := range s.dropped {
		if n > 0 {
			attrs = append(attrs, "dropped "+acl.Kind(kind).String(), n)
			dropped += n
		}
	}
	if dropped > 0 {
		s.c.log.Warn("the copies are what the home has again: records that it does not have were dropped", attrs...)
		return
	}
	s.c.log.Info("the copies are what the home has", attrs...)
}

// Status says how the copies stand, on the leader.
func (c *Copies) Status(home string) *acl.Replication {
	if !c.cfg.Enabled {
		return &acl.Replication{}
	}
	two := c.fault(home)
	if home == c.cfg.Datacenter {
		r := &acl.Replication{Home: home}
		if two != nil {
			r.LastError, r.LastErrorMessage = time.Now().Round(0).UTC(), two.Error()
		}
		return r
	}
	f := &c.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	if two != nil && f.why == "" {
		return f.status(home, time.Now(), two.Error())
	}
	return f.status(home, f.failed, f.why)
}

// status is what is known of the copies; f.mu is held.
func (f *follower) status(home string, failed time.Time, why string) *acl.Replication {
	return &acl.Replication{Home: home, Enabled: true, Running: f.running, SourceDatacenter: home, ReplicationType: acl.ReplicationTokens,
		ReplicatedIndex: f.upTo, ReplicatedRoleIndex: f.upTo, ReplicatedTokenIndex: f.upTo,
		LastSuccess: f.current.Round(0).UTC(), LastError: failed.Round(0).UTC(), LastErrorMessage: why}
}

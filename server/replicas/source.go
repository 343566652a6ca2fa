package replicas

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

// Bounds of what a follower is told.
const (
	// partOf is how many bytes of keys and values one message has, about: the follower
	// writes it as one command. One entry alone can be longer.
	partOf = 256 << 10
	// itemBytes is what an item takes beside its key and value, about.
	itemBytes = 48
	// maxItems is how many items a message has.
	maxItems = 4096
	// maxTouched is how many changed keys are remembered for a follower that takes its
	// time; beyond, it is looked for what is newer than what it has.
	maxTouched = 1 << 15
	// patience is how long this server waits to get as far as the follower is.
	patience = 500 * time.Millisecond
	// deaf is how long this server may not have heard its leader.
	deaf = 2 * op.LeaderSilence
)

// Rights says whether the follower may go on. The channel is closed when that may have
// changed.
type Rights func() (changed <-chan struct{}, err error)

// source is one follower as the datacenter sees it that has the keys.
type source struct {
	r        *Replicas
	req      *replication.FollowRequest
	follower string // its datacenter
	best     bool   // it would rather follow the leader
	may      Rights
	push     func(*op.Reply) error
	told     uint64 // up to where everything was told
	summed   bool   // the checksum of everything was told
}

// Serve tells a server of another datacenter what is below a prefix here. What changes
// goes out when it is committed. While push takes its time no view is open, and what
// changes is remembered by its name.
func (r *Replicas) Serve(ctx context.Context, call *op.Call, may Rights, push func(*op.Reply) error) error {
	request, err := call.Request()
	if err != nil {
		return err
	}
	s := source{r: r, req: request.(*replication.FollowRequest), follower: op.FollowerOf(ctx), best: call.Header.MustCurrent, may: may, push: push}
	s.told, s.summed = s.req.Index, s.req.Newest // who writes there too has another checksum
	feed := r.cfg.State.Changes(maxTouched, kv.Below(s.req.Prefix))
	defer feed.Close()
	if err := s.ready(ctx); err != nil {
		return stopping(err)
	}
	if len(s.req.Chain) > 0 {
		return stopping(s.trace(ctx))
	}
	if s.req.Sums {
		return stopping(s.sums())
	}
	r.metrics.followers.Inc()
	defer r.metrics.followers.Dec()
	if err := s.begin(feed); err != nil {
		return stopping(err)
	}
	beat := time.NewTicker(op.Heartbeat - op.Heartbeat/10 + rand.N(op.Heartbeat/5))
	defer beat.Stop()
	for {
		if err := s.next(ctx, feed, beat.C); err != nil {
			return stopping(err)
		}
	}
}

// own reports whether a key came from the follower: it is not handed back. What is there
// from a rule that has gone, or below one that has not begun, belongs to this datacenter.
func (s *source) own(v storage.Reader, key, origin string) (bool, error) {
	if origin == "" || origin != s.follower {
		return false, nil
	}
	return replication.Copies(v, s.req.Prefix+key)
}

// current refuses to tell what may be old.
func (s *source) current() error {
	if _, err := s.may(); err != nil {
		return err
	}
	if s.r.cfg.LeaderSilence() > deaf || s.best && !s.r.cfg.Leads() {
		return op.ErrNoLeader
	}
	return nil
}

// errForgotten ends a stream whose follower was told that it has to compare.
var errForgotten = op.Errorf(op.CodeLost, "what was deleted since is not known any more: compare")

// ready waits until this server is as far as the follower is: it must not take it back.
// If the leader is not that far the datacenter has lost data, and the follower is to
// compare.
func (s *source) ready(ctx context.Context) error {
	if err := s.current(); err != nil {
		return err
	}
	if len(s.req.Chain) < 2 { // who is farther away follows nothing here
		if err := s.r.look(func(v *storage.View) error { return replication.Opposes(v, s.follower, s.req) }); err != nil {
			return err
		}
	}
	over := time.After(patience)
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		has := s.r.cfg.State.Index()
		if has >= s.req.Index {
			return nil
		}
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
		}
		if s.r.cfg.Leads() {
			return s.forgotten()
		}
		return op.Errorf(op.CodeNoLeader, "server %s is at index %d and what was copied is of %d: it is behind", s.r.cfg.Server, has, s.req.Index)
	}
}

func (s *source) forgotten() error {
	return errors.Join(s.tell(&replication.Told{Forgotten: true}), errForgotten)
}

// tell pushes a message.
func (s *source) tell(t *replication.Told) error {
	return s.push(op.NewReply(op.Meta{Index: max(t.Index, 1), KnownLeader: true, Datacenter: s.r.cfg.Datacenter, Consistency: op.Cached, LastContact: s.r.cfg.LeaderSilence()}, t))
}

// sums answers for checksums of ranges.
func (s *source) sums() error {
	if len(s.req.Ranges) == 0 || len(s.req.Ranges) > maxRanges {
		return op.Errorf(op.CodeInvalid, "checksums of %d ranges were asked for: want 1 to %d", len(s.req.Ranges), maxRanges)
	}
	told := &replication.Told{Index: s.r.cfg.State.Index()}
	each := max(minPieces, maxPieces/len(s.req.Ranges))
	err := s.r.look(func(v *storage.View) error {
		own := s.stock(v)
		for _, rg := range s.req.Ranges {
			pieces, err := own.cut(rg, each)
			if err != nil {
				return err
			}
			told.Pieces = append(told.Pieces, pieces...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.tell(told); err != nil {
		return err
	}
	return op.Errorf(op.CodeLost, "all checksums were told")
}

// stock is what is compared: in mode newest the follower counts what it has written, too.
func (s *source) stock(v *storage.View) *stock {
	own := &stock{v: v, prefix: s.req.Prefix, newest: s.req.Newest}
	if !s.req.Newest {
		own.skip = func(m *kv.Mark) (bool, error) { return s.own(v, m.Key, m.Origin()) }
	}
	return own
}

// part gathers items up to a message.
type part struct {
	told  replication.Told
	bytes int
}

// full reports whether another item goes into the next message.
func (p *part) full(it *replication.Item) bool {
	return len(p.told.Items) > 0 && (p.bytes+sizeOf(it) > partOf || len(p.told.Items) >= maxItems)
}

func (p *part) add(it replication.Item) {
	p.bytes += sizeOf(&it)
	p.told.Items = append(p.told.Items, it)
}

func sizeOf(it *replication.Item) int { return len(it.Key) + len(it.Value) + itemBytes }

// begin tells what is in the ranges and what changed since the follower's index.
func (s *source) begin(feed *storage.Changes) error {
	_, _, upTo := feed.TakeUpTo() // views show it, and what comes after is told of again
	if s.req.Index > 0 || len(s.req.Ranges) == 0 {
		if err := s.remembers(); err != nil {
			return err
		}
	}
	for i := range s.req.Ranges {
		for rg, more := s.req.Ranges[i], true; more; {
			p := part{told: replication.Told{More: true}}
			err := s.r.look(func(v *storage.View) (err error) {
				more, err = s.inRange(v, &p, &rg)
				return err
			})
			if err == nil {
				err = s.tell(&p.told)
			}
			if err != nil {
				return err
			}
		}
	}
	return s.since(upTo)
}

func (s *source) remembers() error {
	return s.r.look(func(v *storage.View) error {
		ok, err := kv.Remembers(v, s.req.Prefix, s.told)
		if err == nil && !ok {
			err = s.forgotten()
		}
		return err
	})
}

// inRange fills a part with what is in a range, which it makes what is left of it.
func (s *source) inRange(v *storage.View, p *part, rg *replication.Range) (more bool, err error) {
	covers := *rg
	p.told.Covers = &covers
	for it, err := range s.items(v, rg) {
		if err != nil {
			return false, err
		}
		if p.full(&it) {
			covers.To, covers.End, rg.From = it.Key, false, it.Key
			return true, nil
		}
		p.add(it)
	}
	return false, nil
}

// items yields what is in a range, in order of the keys: in mode newest with what was
// deleted, and with the names of what the follower has written itself.
func (s *source) items(v *storage.View, rg *replication.Range) iter.Seq2[replication.Item, error] {
	return func(yield func(replication.Item, error) bool) {
		for m, err := range kv.Marks(v, s.req.Prefix, rg.From, s.req.Newest) {
			if err != nil {
				yield(replication.Item{}, err)
				return
			}
			if !before(rg, m.Key) {
				return
			}
			it := replication.Item{Key: m.Key, Own: true}
			switch own, err := s.own(v, m.Key, m.Origin()); {
			case err != nil:
				yield(replication.Item{}, err)
				return
			case own && !s.req.Newest:
				continue
			case own:
			case m.Grave != nil:
				it = kv.GraveItem(m.Grave, s.req.Prefix, s.r.cfg.Datacenter)
			default:
				it = kv.ItemOf(m.Entry, s.req.Prefix, s.r.cfg.Datacenter)
			}
			if !yield(it, nil) {
				return
			}
		}
	}
}

// since tells what was written or deleted after what was told; then everything up to an
// index was.
func (s *source) since(upTo uint64) error {
	left := 0
	if s.told > 0 {
		err := s.r.look(func(v *storage.View) (err error) {
			left, err = kv.CountNewer(v, s.req.Prefix, s.told)
			return err
		})
		if err != nil {
			return err
		}
	}
	for from, more := "", left > 0; more; {
		p := part{told: replication.Told{More: true, Left: uint64(left)}}
		err := s.r.look(func(v *storage.View) error {
			ok, err := kv.Remembers(v, s.req.Prefix, s.told)
			if err == nil && !ok {
				err = s.forgotten()
			}
			if err == nil {
				from, more, err = s.newer(v, &p, from)
			}
			return err
		})
		if err == nil {
			err = s.tell(&p.told)
		}
		if err != nil {
			return err
		}
		left = max(0, left-len(p.told.Items))
	}
	s.told = upTo
	return s.tell(&replication.Told{Index: upTo})
}

// newer fills a part with what is newer than what was told, from a key on; it returns
// where the next part begins.
func (s *source) newer(v *storage.View, p *part, from string) (next string, more bool, err error) {
	for n, err := range kv.Newer(v, s.req.Prefix, from, s.told) {
		if err != nil {
			return "", false, err
		}
		key := string(n.Key[len(s.req.Prefix):])
		it, tell, err := s.item(v, key, n.Record)
		if err != nil {
			return "", false, err
		}
		if !tell {
			continue
		}
		if p.full(&it) {
			return key, true, nil
		}
		p.add(it)
	}
	return "", false, nil
}

// item is what a follower is told of a key, if it is told: what came from it is not there
// for a mirror, and not told of in mode newest.
func (s *source) item(v *storage.View, key string, e *kv.Entry) (it replication.Item, tell bool, err error) {
	gone := replication.Item{Key: key, Gone: true}
	switch {
	case e != nil:
		if own, err := s.own(v, key, e.Origin); err != nil || own {
			return gone, !s.req.Newest, err
		}
		return kv.ItemOf(e, s.req.Prefix, s.r.cfg.Datacenter), true, nil
	case !s.req.Newest:
		return gone, true, nil
	}
	g, err := kv.FindGrave(v, s.req.Prefix+key)
	if err != nil || g == nil {
		return gone, true, err
	}
	own, err := s.own(v, key, g.Origin)
	return kv.GraveItem(g, s.req.Prefix, s.r.cfg.Datacenter), !own, err
}

// next waits for something to tell, and tells it.
func (s *source) next(ctx context.Context, feed *storage.Changes, beat <-chan time.Time) error {
	changed, err := s.may()
	if err != nil {
		return err
	}
	sum := false
	select {
	case <-feed.Ready():
	case <-beat:
		if !s.best && !s.r.cfg.Leads() {
			return op.Errorf(op.CodeNoLeader, "server %s does not lead: its leader tells sooner, and is worth another try", s.r.cfg.Server)
		}
		sum = !s.summed
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.current(); err != nil {
		return err
	}
	touched, any, upTo := feed.TakeUpTo()
	switch {
	case any: // more than is remembered, or another state
		return s.since(upTo)
	case len(touched) > 0:
		return s.changes(touched, upTo)
	case sum:
		return s.sum(feed, upTo)
	}
	s.told = upTo
	return s.tell(&replication.Told{Index: upTo})
}

// sum tells the checksum of everything, once, when nothing changes.
func (s *source) sum(feed *storage.Changes, upTo uint64) error {
	told := &replication.Told{Index: upTo, Summed: true}
	err := s.r.look(func(v *storage.View) (err error) {
		told.Sum, err = s.stock(v).total()
		return err
	})
	if err != nil {
		return err
	}
	select {
	case <-feed.Ready(): // it may be of what was not told yet; Ready is empty now, what it was for is told at the next beat or change
		touched, any, upTo := feed.TakeUpTo()
		if any {
			return s.since(upTo)
		}
		return s.changes(touched, upTo)
	default:
	}
	s.summed, s.told = true, upTo
	return s.tell(told)
}

// changes tells of keys that have changed.
func (s *source) changes(touched map[storage.Changed]struct{}, upTo uint64) error {
	left := len(touched)
	keys := make([]string, 0, left)
	for ch := range touched {
		keys = append(keys, ch.Key)
	}
	for len(keys) > 0 {
		p := part{told: replication.Told{More: true, Left: uint64(len(keys))}}
		err := s.r.look(func(v *storage.View) error {
			for ; len(keys) > 0; keys = keys[1:] {
				e, err := kv.Lookup(v, s.req.Prefix+keys[0])
				if err != nil {
					return err
				}
				it, tell, err := s.item(v, keys[0], e)
				if err != nil {
					return err
				}
				if tell && p.full(&it) {
					return nil
				}
				if tell {
					p.add(it)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(keys) == 0 { // the last part
			p.told.More, p.told.Index, s.told = false, upTo, upTo
		}
		if err := s.tell(&p.told); err != nil {
			return err
		}
	}
	return nil
}

// stopping is what a closed state means to who follows.
func stopping(err error) error {
	if errors.Is(err, storage.ErrClosed) {
		return op.ErrStopping
	}
	return err
}

package directory

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/storage"
)

// Bounds of the digest of one's own datacenter.
const (
	// gather is how long changes are gathered before instances are looked at.
	gather = 100 * time.Millisecond
	// maxTouched is how many changed keys are gathered; beyond, all are looked at.
	maxTouched = 1 << 15
	// remember is how many changes are kept for followers; one that is further
	// behind gets the whole again.
	remember = 1 << 13
	// partOf is how many services are told in one message.
	partOf = 1 << 14
	// retryAfter is how long after a failed look at the state the next one is.
	retryAfter = time.Second
)

// Own keeps the digest of this server's datacenter as the server's own state has
// it. It is safe for concurrent use.
type Own struct {
	state *storage.State
	log   *slog.Logger

	at map[catalog.InstanceAt]catalog.Shown // of Run alone

	mu      sync.Mutex
	names   map[string]*catalog.ServiceHealth
	history []string      // names that changed, oldest first
	forgot  uint64        // how many changes came before the history
	built   bool          // the state was read once
	changed chan struct{} // closed at the next change
}

// NewOwn returns a digest that is empty until Run has read the state.
func NewOwn(s *storage.State, log *slog.Logger) *Own {
	return &Own{state: s, log: log, names: map[string]*catalog.ServiceHealth{}, changed: make(chan struct{}), forgot: 1}
}

// Run keeps the digest until ctx ends or the state is closed.
func (o *Own) Run(ctx context.Context) {
	feed := catalog.FollowShown(o.state, maxTouched)
	defer feed.Close()
	touched, whole := map[storage.Changed]struct{}{}, true
	for {
		err := o.look(touched, whole)
		if errors.Is(err, storage.ErrClosed) {
			return
		}
		pause := gather
		if err != nil {
			o.log.Error("read the health of services", "error", err)
			pause = retryAfter
		} else {
			select {
			case <-feed.Ready():
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		touched, whole = feed.Take()
		whole = whole || err != nil
	}
}

// look brings the digest up to date with the state.
func (o *Own) look(touched map[storage.Changed]struct{}, whole bool) error {
	v := o.state.View()
	var now map[catalog.InstanceAt]catalog.Shown
	var err error
	if whole {
		now = map[catalog.InstanceAt]catalog.Shown{}
		err = catalog.EachShown(v, func(at catalog.InstanceAt, shown catalog.Shown) { now[at] = shown })
		for at := range o.at {
			if _, still := now[at]; !still {
				now[at] = catalog.Shown{}
			}
		}
	} else {
		now, err = reread(v, touched)
	}
	if err = errors.Join(err, v.Close()); err != nil {
		return err
	}
	o.take(now, whole)
	return nil
}

// reread returns what is known now of the nodes and instances that were touched.
func reread(v *storage.View, touched map[storage.Changed]struct{}) (map[catalog.InstanceAt]catalog.Shown, error) {
	now := map[catalog.InstanceAt]catalog.Shown{}
	for c := range touched {
		at, ok := catalog.Touched(c)
		if !ok {
			continue
		}
		ats := []catalog.InstanceAt{at}
		if at.ID == "" {
			var err error
			if ats, err = catalog.InstancesOn(v, at.Node); err != nil {
				return nil, err
			}
			ats = append(ats, at)
		}
		for _, at := range ats {
			if _, done := now[at]; done {
				continue
			}
			shown, err := catalog.ShownOf(v, at)
			if err != nil {
				return nil, err
			}
			now[at] = shown
		}
	}
	return now, nil
}

// take counts nodes and instances anew; one that shows nothing is there no more.
func (o *Own) take(now map[catalog.InstanceAt]catalog.Shown, whole bool) {
	if whole && o.at == nil {
		o.at = make(map[catalog.InstanceAt]catalog.Shown, len(now))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	before := map[string]catalog.ServiceHealth{}
	count := func(shown catalog.Shown, by int) {
		for name, status := range shown.Counted() {
			h := o.names[name]
			if h == nil {
				h = &catalog.ServiceHealth{Name: name}
				o.names[name] = h
			}
			if _, noted := before[name]; !noted {
				before[name] = *h
			}
			h.Count(status, by)
		}
	}
	for at, in := range now {
		old := o.at[at]
		if old == in {
			continue
		}
		count(old, -1)
		count(in, 1)
		if in == (catalog.Shown{}) {
			delete(o.at, at)
		} else {
			o.at[at] = in
		}
	}
	o.note(before)
}

// note remembers which names are another than before; o.mu is held.
func (o *Own) note(before map[string]catalog.ServiceHealth) {
	news := !o.built
	o.built = true
	for name, was := range before {
		h := o.names[name]
		if *h != was {
			news = true
			o.history = append(o.history, name)
		}
		if h.Total() == 0 {
			delete(o.names, name)
		}
	}
	if excess := len(o.history) - remember; excess > 0 {
		excess += remember / 2 // not at each change
		excess = min(excess, len(o.history))
		o.history = append([]string(nil), o.history[excess:]...)
		o.forgot += uint64(excess)
	}
	if news {
		close(o.changed)
		o.changed = make(chan struct{})
	}
}

// Since returns what has changed since a version, the whole for 0 or one that is
// too old, and the version that it leads to; nothing before the state was read.
// The channel is closed at the next change.
func (o *Own) Since(version uint64) (news []catalog.Digest, now uint64, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.built {
		return nil, version, o.changed
	}
	now = o.forgot + uint64(len(o.history))
	if version == now {
		return nil, now, o.changed
	}
	var list []catalog.ServiceHealth
	whole := version < o.forgot || version > now
	if whole {
		for _, h := range o.names {
			list = append(list, *h)
		}
	} else {
		told := map[string]bool{}
		for _, name := range o.history[version-o.forgot:] {
			if told[name] {
				continue
			}
			told[name] = true
			if h := o.names[name]; h != nil {
				list = append(list, *h)
			} else {
				list = append(list, catalog.ServiceHealth{Name: name})
			}
		}
	}
	return parts(list, whole), now, o.changed
}

// parts cuts a list into messages.
func parts(list []catalog.ServiceHealth, whole bool) []catalog.Digest {
	var out []catalog.Digest
	for first := true; first || len(list) > 0; first = false {
		n := min(len(list), partOf)
		out = append(out, catalog.Digest{Whole: whole && first, More: n < len(list), Services: list[:n]})
		list = list[n:]
	}
	return out
}

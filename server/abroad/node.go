package abroad

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/session"
)

// pause is how long, and up to a half more, nobody is asked after a subscription broke.
const pause = 500 * time.Millisecond

// node is one node of another datacenter.
type node struct {
	dc, name string
	end      context.CancelFunc
	until    time.Time // it is followed at least so long; guarded by Nodes.mu

	// What follows belongs to Run.
	sessions session.Sessions
	failing  map[string]time.Time // sessions by ID, and since when they are seen to fail
	judged   uint64               // the word that was looked at last

	mu      sync.Mutex
	word    word
	changed chan struct{} // closed at the next word
}

// word is what is known of a node, as its datacenter said it last.
type word struct {
	seq     uint64
	at      time.Time
	current bool              // whoever says it hears the leader of that datacenter
	known   bool              // it has said something
	info    *catalog.NodeInfo // nil for a node that is not there
	err     error             // why nobody says anything
}

// look returns the last word, and what is closed when there is another.
func (n *node) look() (word, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.word, n.changed
}

// say replaces the word.
func (n *node) say(change func(*word)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.word.seq++
	n.word.at = time.Now()
	change(&n.word)
	close(n.changed)
	n.changed = make(chan struct{})
}

// follow keeps the last word until ctx ends.
func (n *node) follow(ctx context.Context, source op.Subscriber) {
	for ctx.Err() == nil {
		call := op.NewCall(&catalog.DumpNode, op.Header{Datacenter: n.dc, Consistency: op.Cached}, &catalog.NodeRequest{Node: n.name})
		err := source.Subscribe(ctx, call, n.take)
		if err == nil {
			err = op.Errorf(op.CodeLost, "the subscription has ended")
		}
		n.say(func(w *word) { w.current, w.known, w.info, w.err = false, false, nil, err })
		t := time.NewTimer(pause + rand.N(pause/2))
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// take is told of each change, and with each heartbeat how old that is.
func (n *node) take(r *op.Reply) error {
	var info *catalog.NodeInfo
	if r.Meta.Index > 0 {
		result, err := r.Result(&catalog.DumpNode)
		if err != nil {
			return err
		}
		info, _ = result.(*catalog.NodeInfo)
	}
	n.say(func(w *word) {
		if r.Meta.Index > 0 {
			w.known, w.info = true, info
		}
		w.current, w.err = w.known && r.Meta.Age == 0, nil
	})
	return nil
}

// judge says which sessions the word lets live on, of those that have no TTL, and which
// are to end.
func (n *node) judge(w *word, now time.Time) (stand, fallen []session.Expiry) {
	if w.seq == n.judged && len(n.failing) == 0 {
		return nil, nil
	}
	n.judged = w.seq
	if !w.current {
		clear(n.failing)
		return nil, nil
	}
	was := n.failing
	n.failing = map[string]time.Time{}
	for i := range n.sessions {
		s := &n.sessions[i]
		e := session.Expiry{ID: s.ID, CreateIndex: s.CreateIndex}
		if s.StandsOn(w.info) == nil {
			if s.TTL == "" {
				stand = append(stand, e)
			}
			continue
		}
		since, known := was[s.ID]
		if !known {
			since = now
		}
		n.failing[s.ID] = since
		if now.Sub(since) >= settled {
			fallen = append(fallen, e)
		}
	}
	return stand, fallen
}

// ended forgets sessions that have ended.
func (n *node) ended(list []session.Expiry) {
	for _, e := range list {
		delete(n.failing, e.ID)
	}
	n.sessions = slices.DeleteFunc(n.sessions, func(s session.Session) bool {
		return slices.ContainsFunc(list, func(e session.Expiry) bool { return e.ID == s.ID })
	})
}

// again has sessions end later whose end failed.
func (n *node) again(list []session.Expiry) {
	for _, e := range list {
		n.failing[e.ID] = time.Now()
	}
}

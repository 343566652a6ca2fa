package judge

import (
	"fmt"
	"strings"
	"time"
)

// Restored is that a prefix, or a key, became what a snapshot says.
const Restored Kind = "restored"

// keeper is the client that saves and restores.
const keeper = 999

// Moment is when a snapshot was saved or restored.
type Moment struct {
	Call, Return time.Duration
	Outcome      Outcome
}

// restoration is one attempt to restore a snapshot.
type restoration struct {
	saved, restored Moment
	values          map[string]string
}

// Restore notes that a snapshot was saved and that one attempt to restore it
// was made; values are all keys in it.
func (h *History) Restore(saved, restored Moment, values map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restorations = append(h.restorations, restoration{saved, restored, values})
}

// events are what a restoration does to one key or shelf: a read, and a write
// of everything.
func (r *restoration) events(key string) []*Event {
	seen := &Event{Client: keeper, Kind: Consistent, Key: key, Value: r.values[key], Call: r.saved.Call, Return: r.saved.Return, Outcome: Done}
	if strings.HasPrefix(key, ShelfPrefix) {
		seen.Kind = SeenTxn
		for i := range Width {
			seen.Shelf[i] = r.values[fmt.Sprintf("%s/%d", key, i)]
		}
	}
	back := *seen
	back.Kind, back.Call, back.Return, back.Outcome = Restored, r.restored.Call, r.restored.Return, r.restored.Outcome
	return []*Event{seen, &back}
}

// restoredBetween reports whether a version may be older in b than in a,
// because what was saved came back. A server that answers stale reads may have
// restored it later than the group.
func restoredBetween(events []*Event, a, b *Event) bool {
	for _, e := range events {
		if e.Kind == Restored && e.Call < b.Return && (e.Return > a.Call || e.Outcome == Unknown || b.Kind == Stale) {
			return true
		}
	}
	return false
}

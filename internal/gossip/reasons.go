package gossip

import (
	"strings"
	"sync"
)

// reasonsKept bounds of how many members it is known why they are suspected.
const reasonsKept = 1024

// reasons is why this node itself holds members for failed. It is safe for
// concurrent use.
type reasons struct {
	mu sync.Mutex
	by map[string]string
}

// note takes the member's name out of a line of memberlist.
func (r *reasons) note(line []byte, before, after, why string) {
	rest, ok := strings.CutPrefix(string(line), before)
	name, detail, found := strings.Cut(rest, after)
	if !ok || !found {
		return
	}
	if _, confirmed, ok := strings.Cut(strings.TrimSpace(detail), "("); ok { // by how many peers
		why += " (" + confirmed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil || len(r.by) >= reasonsKept {
		r.by = map[string]string{}
	}
	r.by[name] = why
}

// take returns why members have failed, as far as it is known, and forgets it.
func (r *reasons) take(members []Member) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found map[string]string
	for _, m := range members {
		if why, ok := r.by[m.Name]; ok {
			if found == nil {
				found = map[string]string{}
			}
			found[m.Name] = why
			delete(r.by, m.Name)
		}
	}
	return found
}

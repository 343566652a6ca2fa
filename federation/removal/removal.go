// Package removal keeps which datacenters were removed from the federation, on
// each server, and spreads it to the others.
//
// A record says of one datacenter whether it is removed; of two records about the
// same datacenter the one with the higher version holds, so that servers that
// exchange their records in any order come to hold the same. A change is told to
// every server that can be reached. Each server shows a digest of its records in
// gossip; two of which the digests differ exchange them, so one that was away
// learns what it missed from the first that it meets. Records are kept across
// restarts. Package removal refuses nobody itself.
package removal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxRecords bounds how many datacenters have a record; more are refused.
	maxRecords = 1024
	// maxName bounds the names in a record, in bytes.
	maxName = 256
	// maxAhead is how far a version may be ahead of this clock: one from a broken
	// clock could not be outdone for as long as it is ahead.
	maxAhead = 24 * time.Hour
)

// ErrRemoved is why the servers of a datacenter are refused.
var ErrRemoved = errors.New("the datacenter was removed from the federation")

// Record says whether a datacenter is removed.
type Record struct {
	Datacenter string
	// Version orders the records of a datacenter: milliseconds of Unix time, or
	// one more than the last.
	Version int64
	Removed bool
	By      string // server that was told so, node.datacenter
	At      time.Time
}

func (r Record) valid(now time.Time) bool {
	return r.Datacenter != "" && len(r.Datacenter) <= maxName && len(r.By) <= maxName && r.Version > 0 && r.Version <= now.Add(maxAhead).UnixMilli()
}

// newer reports whether r holds and not other.
func (r Record) newer(other Record) bool {
	if r.Version != other.Version {
		return r.Version > other.Version
	}
	if r.Removed != other.Removed {
		return r.Removed
	}
	return strings.Compare(r.By, other.By) > 0
}

// Records are the records of one server. They are safe for concurrent use.
type Records struct {
	save func([]byte) error

	mu     sync.RWMutex
	by     map[string]Record // by datacenter
	digest string
}

// Open reads what save was given last, nil if nothing was. save keeps the
// records across restarts; nil for nowhere.
func Open(kept []byte, save func([]byte) error) (*Records, error) {
	r := &Records{save: save, by: map[string]Record{}}
	if len(kept) == 0 {
		return r, nil
	}
	var list []Record
	if err := json.Unmarshal(kept, &list); err != nil {
		return nil, fmt.Errorf("read which datacenters are removed: %w", err)
	}
	for _, rec := range list {
		r.by[rec.Datacenter] = rec
	}
	r.digest = digest(r.list())
	return r, nil
}

// list returns the records in order; r.mu is held.
func (r *Records) list() []Record {
	out := make([]Record, 0, len(r.by))
	for _, rec := range r.by {
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.Datacenter, b.Datacenter) })
	return out
}

// List returns the records, those of datacenters that were allowed again included,
// in order of their names.
func (r *Records) List() []Record {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.list()
}

// digest is short: it is part of each member's tags.
func digest(list []Record) string {
	if len(list) == 0 {
		return ""
	}
	h := sha256.New()
	for _, rec := range list {
		fmt.Fprintf(h, "%q %d %t %q\n", rec.Datacenter, rec.Version, rec.Removed, rec.By)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// Digest stands for all records; it is empty while there are none.
func (r *Records) Digest() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.digest
}

// Find returns the record of a datacenter.
func (r *Records) Find(datacenter string) (Record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec, ok := r.by[datacenter]
	return rec, ok
}

// Removed reports whether a datacenter is removed.
func (r *Records) Removed(datacenter string) bool {
	rec, _ := r.Find(datacenter)
	return rec.Removed
}

// Refuse returns nil, or ErrRemoved with what can be done, for a datacenter that is
// removed.
func (r *Records) Refuse(datacenter string) error {
	rec, _ := r.Find(datacenter)
	if !rec.Removed {
		return nil
	}
	return fmt.Errorf("%w: %s, by %s at %s (take it back there: legate federation allow %s)",
		ErrRemoved, datacenter, rec.By, rec.At.UTC().Format(time.RFC3339), datacenter)
}

// Set removes a datacenter or allows it again, newer than what is known of it.
func (r *Records) Set(datacenter string, removed bool, by string, now time.Time) error {
	old, _ := r.Find(datacenter)
	rec := Record{Datacenter: datacenter, Removed: removed, By: by, At: now, Version: max(now.UnixMilli(), old.Version+1)}
	if !rec.valid(now) {
		return fmt.Errorf("note that datacenter %.64q is removed: the name is too long, or this clock is more than a day behind another's", datacenter)
	}
	_, err := r.Merge([]Record{rec}, now)
	return err
}

// Merge takes over those records that are newer than its own, and returns them.
// When they cannot be saved they hold until the restart.
func (r *Records) Merge(list []Record, now time.Time) ([]Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var changed []Record
	full := false
	for _, rec := range list {
		old, known := r.by[rec.Datacenter]
		if !rec.valid(now) || known && !rec.newer(old) {
			continue
		}
		if !known && len(r.by) >= maxRecords {
			full = true
			continue
		}
		r.by[rec.Datacenter] = rec
		changed = append(changed, rec)
	}
	var err error
	if full {
		err = fmt.Errorf("keep which datacenters are removed: there are %d already", maxRecords)
	}
	if len(changed) == 0 {
		return nil, err
	}
	all := r.list()
	r.digest = digest(all)
	if r.save == nil {
		return changed, err
	}
	b, bad := json.Marshal(all)
	if bad == nil {
		bad = r.save(b)
	}
	if bad != nil {
		err = errors.Join(err, fmt.Errorf("keep which datacenters are removed: %w", bad))
	}
	return changed, err
}

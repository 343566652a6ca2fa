// Package removal keeps which datacenters were removed from the federation, and which
// one is the home of what is global, on each server, and spreads it to the others.
//
// A record says of one datacenter whether it is removed, one record who is home; of two
// records about the same thing the one with the higher version holds, so that servers that
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

// Record says whether a datacenter is removed or, with Home, that it is the home.
type Record struct {
	Datacenter string
	// Version orders the records of a datacenter: milliseconds of Unix time, or
	// one more than the last.
	Version int64
	Removed bool
	// Home says that the datacenter is where what is global is written. There is one such
	// record, for whichever datacenter.
	Home bool `json:",omitempty"`
	// Since with Home is the version of what was known of the membership of Datacenter when
	// it became the home, 1 if nothing was; 0 from earlier versions.
	Since int64  `json:",omitempty"`
	By    string // server that was told so, node.datacenter
	At    time.Time
}

func (r Record) valid(now time.Time) bool {
	return !(r.Home && r.Removed) && r.Datacenter != "" && len(r.Datacenter) <= maxName && len(r.By) <= maxName && r.Version > 0 && r.Version <= now.Add(maxAhead).UnixMilli()
}

// homeKey is under which the record of the home is kept: no datacenter is called so.
const homeKey = "\x00home"

// key is what the record is about.
func (r Record) key() string {
	if r.Home {
		return homeKey
	}
	return r.Datacenter
}

// newer reports whether r holds and not other.
func (r Record) newer(other Record) bool {
	if r.Version != other.Version {
		return r.Version > other.Version
	}
	if r.Removed != other.Removed {
		return r.Removed
	}
	if r.By != other.By {
		return r.By > other.By
	}
	if r.Datacenter != other.Datacenter {
		return r.Datacenter > other.Datacenter
	}
	return r.Since > other.Since // no part of the digest: earlier versions drop it
}

// Records are the records of one server. They are safe for concurrent use.
type Records struct {
	own  string // datacenter of the server
	save func([]byte) error

	mu     sync.RWMutex
	by     map[string]Record // by what they are about
	before Record            // of the home, before the one that holds; zero if unknown
	digest string
}

// Open reads what save was given last, nil if nothing was, for a server of the datacenter
// own. save keeps the records across restarts; nil for nowhere.
func Open(own string, kept []byte, save func([]byte) error) (*Records, error) {
	r := &Records{own: own, save: save, by: map[string]Record{}}
	if len(kept) == 0 {
		return r, nil
	}
	var list []Record
	if err := json.Unmarshal(kept, &list); err != nil {
		return nil, fmt.Errorf("read which datacenters are removed: %w", err)
	}
	for _, rec := range list {
		r.by[rec.key()] = rec
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
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.key(), b.key()) })
	return out
}

// List returns the records, those of datacenters that were allowed again included,
// in order of their names, that of the home first.
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
		fmt.Fprintf(h, "%q %d %t %q", rec.Datacenter, rec.Version, rec.Removed, rec.By)
		if rec.Home {
			fmt.Fprint(h, " home")
		}
		fmt.Fprintln(h)
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

// Home returns the record that says who is home; false while there is none.
func (r *Records) Home() (Record, bool) { return r.Find(homeKey) }

// Since is what a record is to say that makes a datacenter the home now.
func (r *Records) Since(datacenter string) int64 {
	rec, _ := r.Find(datacenter)
	return max(rec.Version, 1)
}

// Counts reports whether a record of the home counts: one of a datacenter that became it
// while it was removed does not, also when it is allowed again. The federation that stayed
// has a home. Inside the datacenter it counts for as long as that is removed.
func (r *Records) Counts(rec Record) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.counts(rec)
}

// counts is Counts; r.mu is held.
func (r *Records) counts(rec Record) bool {
	about, known := r.by[rec.Datacenter]
	if !known || about.Removed && rec.Datacenter == r.own {
		return true
	}
	if rec.Since == 0 { // it does not say what was known, so clocks are compared
		return rec.Version > about.Version
	}
	return rec.Since >= about.Version
}

// Removed reports whether a datacenter is removed.
func (r *Records) Removed(datacenter string) bool {
	rec, _ := r.Find(datacenter)
	return rec.Removed
}

// RemovedOthers returns the datacenters that are removed, those that were removed last first, without the own
// one: its servers do not refuse each other.
func (r *Records) RemovedOthers() []string {
	list := slices.DeleteFunc(r.List(), func(rec Record) bool { return !rec.Removed || rec.Home || rec.Datacenter == r.own })
	slices.SortStableFunc(list, func(a, b Record) int { return cmp.Compare(b.Version, a.Version) })
	names := make([]string, 0, len(list))
	for _, rec := range list {
		names = append(names, rec.Datacenter)
	}
	return names
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

// Set removes a datacenter or allows it again, newer than what is known of it. It returns
// what changed, also if that could not be saved.
func (r *Records) Set(datacenter string, removed bool, by string, now time.Time) ([]Record, error) {
	old, _ := r.Find(datacenter)
	rec := Record{Datacenter: datacenter, Removed: removed, By: by, At: now, Version: max(now.UnixMilli(), old.Version+1)}
	if !rec.valid(now) {
		return nil, fmt.Errorf("note that datacenter %.64q is removed: the name is too long, or this clock is more than a day behind another's", datacenter)
	}
	return r.Merge([]Record{rec}, now)
}

// Merge takes over those records that are newer than its own, and returns them. A record
// of the home that does not count any more gives way to the one before it; where that is
// not known what is returned names no datacenter.
// When they cannot be saved they hold until the restart.
func (r *Records) Merge(list []Record, now time.Time) ([]Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var changed []Record
	full := false
	take := func(home bool) {
		for _, rec := range list {
			old, known := r.by[rec.key()]
			if rec.Home != home || !rec.valid(now) || known && !rec.newer(old) || home && !r.counts(rec) {
				continue
			}
			if !known && len(r.by) >= maxRecords {
				full = true
				continue
			}
			if home {
				r.before = old
			}
			r.by[rec.key()] = rec
			changed = append(changed, rec)
		}
	}
	take(false) // which decide what counts
	back := r.homeBefore()
	take(true)
	if back && !slices.ContainsFunc(changed, func(rec Record) bool { return rec.Home }) {
		rec := r.by[homeKey]
		rec.Home = true
		changed = append(changed, rec)
	}
	var err error
	if full {
		err = fmt.Errorf("keep which datacenters are removed: there are %d already", maxRecords)
	}
	if len(changed) == 0 {
		return nil, err
	}
	return changed, errors.Join(err, r.keep())
}

// homeBefore has a record of the home that does not count give way; it reports whether
// there was one. r.mu is held.
func (r *Records) homeBefore() bool {
	rec, known := r.by[homeKey]
	if !known || r.counts(rec) {
		return false
	}
	delete(r.by, homeKey)
	if r.before.Home && r.counts(r.before) {
		r.by[homeKey] = r.before
	}
	r.before = Record{}
	return true
}

// keep saves all records; r.mu is held.
func (r *Records) keep() error {
	all := r.list()
	r.digest = digest(all)
	if r.save == nil {
		return nil
	}
	b, err := json.Marshal(all)
	if err == nil {
		err = r.save(b)
	}
	if err != nil {
		err = fmt.Errorf("keep which datacenters are removed: %w", err)
	}
	return err
}

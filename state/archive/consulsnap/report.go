// Package consulsnap reads snapshots that Consul wrote: it says what is in one,
// and makes an archive of this program out of it.
//
// It promises that what it accepts is whole and unaltered; that records keep
// their indexes; that whatever is not taken over is counted and named; and that
// no length in the file allocates more than has come of it. It does not know how
// a state is restored, and writes no snapshots of Consul's kind.
//
// The format is known from files, not from Consul's code: state.bin begins with a
// MessagePack map that has LastIndex; then come records until the end, each a
// byte with its type and one MessagePack value.
package consulsnap

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/legate-project/legate/state/archive/inspect"
)

// Report says what is in a snapshot and what becomes of it.
type Report struct {
	// Program that wrote it, and its version if a server is in the catalog.
	Program string
	Version string `json:",omitempty"`
	// Datacenter of the nodes.
	Datacenter string `json:",omitempty"`
	// ID, Raft's index and term, and when it was made by them.
	ID    string
	Index uint64
	Term  uint64
	Time  time.Time
	// LastIndex is the newest index in the state.
	LastIndex uint64
	// Size of the state in bytes.
	Size int64
	// Taken is taken over, Left is left out, Needless is left out and not missed.
	Taken, Left, Needless []Kind
	// Fields of what is taken over that are left out, with how often they say
	// something.
	Fields []Kind `json:",omitempty"`
	// Unlocked counts keys whose lock is given up, because its session is not in
	// the snapshot. Inspect does not know.
	Unlocked uint64 `json:",omitempty"`
}

// Kind is a kind of records.
type Kind struct {
	Name  string
	Count uint64
	Bytes uint64 `json:",omitempty"`
	// Names are those of the first ones, of what is left out.
	Names []string `json:",omitempty"`
	// Why it is left out.
	Why string `json:",omitempty"`
}

// Bounds of what is said about records that are left out.
const (
	maxNames  = 20
	maxName   = 128 // bytes
	maxFields = 256
)

// Others is how many are not among the names.
func (k *Kind) Others() uint64 { return k.Count - uint64(len(k.Names)) }

// LeftOut is one line for each kind that is left out and for each field, and one
// for locks.
func (r *Report) LeftOut() []string {
	var lines []string
	for _, k := range r.Left {
		lines = append(lines, k.line())
	}
	for _, k := range r.Fields {
		lines = append(lines, "the field "+k.line())
	}
	if r.Unlocked > 0 {
		lines = append(lines, "locks of keys whose session is not in the snapshot: "+count(r.Unlocked))
	}
	return lines
}

func (k *Kind) line() string {
	return strings.TrimSpace(k.Name + ": " + count(k.Count) + k.named())
}

// Write writes the report in columns.
func (r *Report) Write(to io.Writer) error {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Program\t%s\nVersion\t%s\nDatacenter\t%s\nID\t%s\nTime\t%s\nIndex\t%d\nRaft Index\t%d\nTerm\t%d\nSize\t%s\n",
		r.Program, r.Version, r.Datacenter, r.ID, r.Time.Format("2006-01-02 15:04:05 MST"), r.LastIndex, r.Index, r.Term, inspect.Size(uint64(r.Size)))
	for _, part := range []struct {
		title string
		kinds []Kind
	}{{"Taken over", r.Taken}, {"Left out", r.Left}, {"Fields left out", r.Fields}, {"Not needed", r.Needless}} {
		if len(part.kinds) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\tCount\tSize\n", part.title)
		for _, k := range part.kinds {
			fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("%s\t%d\t%s\t%s%s", k.Name, k.Count, inspect.Size(k.Bytes), k.Why, k.named())))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := to.Write(buf.Bytes())
	return err
}

// named lists the names in brackets.
func (k *Kind) named() string {
	if len(k.Names) == 0 {
		return ""
	}
	text := strings.Join(k.Names, ", ")
	if n := k.Others(); n > 0 {
		text += " and " + count(n) + " more"
	}
	return " (" + text + ")"
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// fate is what becomes of a kind.
type fate int

const (
	left fate = iota
	taken
	needless
)

// tally gathers kinds while records come.
type tally struct {
	kinds  map[string]*Kind
	fates  map[string]fate
	fields map[string]uint64
}

func newTally() *tally {
	return &tally{kinds: map[string]*Kind{}, fates: map[string]fate{}, fields: map[string]uint64{}}
}

// add counts a record; the name is asked for as long as names are listed.
func (t *tally) add(what kind, size int64, name func() string) {
	k := t.kinds[what.name]
	if k == nil {
		k = &Kind{Name: what.name, Why: what.why}
		t.kinds[what.name], t.fates[what.name] = k, what.fate
	}
	k.Count++
	k.Bytes += uint64(size)
	if what.fate == left && name != nil && len(k.Names) < maxNames {
		if n := name(); n != "" {
			k.Names = append(k.Names, n[:min(len(n), maxName)])
		}
	}
}

// field counts a field that is left out.
func (t *tally) field(path string) {
	if _, known := t.fields[path]; known || len(t.fields) < maxFields {
		t.fields[path]++
	}
}

// report sorts what was gathered by size.
func (t *tally) report(r *Report) {
	r.Taken, r.Left, r.Needless, r.Fields = []Kind{}, []Kind{}, []Kind{}, nil
	for _, k := range slices.SortedFunc(maps.Values(t.kinds), func(a, b *Kind) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	}) {
		switch t.fates[k.Name] {
		case taken:
			r.Taken = append(r.Taken, *k)
		case needless:
			r.Needless = append(r.Needless, *k)
		default:
			r.Left = append(r.Left, *k)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(t.fields)) {
		r.Fields = append(r.Fields, Kind{Name: path, Count: t.fields[path]})
	}
}

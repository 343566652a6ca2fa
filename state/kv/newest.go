package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o newest_gen.go -file newest.go
//msgp:limit arrays:64 maps:64

// Grave remembers that a key below the prefix of a rule of mode newest was deleted, and
// when: what was written before must not come back.
type Grave struct {
	Key string `msg:"k"`
	// Time, Origin and OriginIndex are as those of an Entry.
	Time        int64  `msg:"t"`
	Origin      string `msg:"o,omitempty"`
	OriginIndex uint64 `msg:"oi"`
}

// ForgetRequest forgets deletions.
type ForgetRequest struct {
	Before int64 `msg:"b"` // their Time
}

// Forget forgets deletions of rules of mode newest that are old, maxForgotten of them.
var Forget = op.Internal[ForgetRequest, op.Empty]{Name: "kv.forget"}

// maxForgotten is how many deletions one command forgets.
const maxForgotten = 1024

// maxDeleted is how many keys a DeleteTree deletes one by one: each costs some 5 µs, and is
// told by its name to who follows. More are cut off at once.
const maxDeleted = 1024

var (
	byTime = storage.NewIndex(1, "grave-time", func(g *Grave) [][]byte {
		return [][]byte{binary.BigEndian.AppendUint64(nil, uint64(g.Time))}
	})
	graves = storage.NewTable(23, "kv-graves", byTime)
)

// stamp orders what was written and deleted the same everywhere: by time, then by the
// name of the datacenter, then by its index.
type stamp struct {
	time   int64
	origin string
	index  uint64
}

func (s stamp) compare(o stamp) int {
	return cmp.Or(cmp.Compare(s.time, o.time), strings.Compare(s.origin, o.origin), cmp.Compare(s.index, o.index))
}

func stampOfEntry(e *Entry, here string) stamp {
	if e.Origin == "" {
		return stamp{e.Time, here, e.ModifyIndex}
	}
	return stamp{e.Time, e.Origin, e.OriginIndex}
}

func stampOfGrave(g *Grave, here string) stamp {
	return stamp{g.Time, cmp.Or(g.Origin, here), g.OriginIndex}
}

// stampOf is the time of a write: the leader's, or later than what it takes the place of.
func stampOf(tx *storage.Txn, rule *replication.Rule, old *Entry, r *ApplyRequest) (int64, error) {
	if r.Now == 0 {
		return 0, nil
	}
	seen := int64(0)
	if old != nil {
		seen = old.Time
	}
	if rule != nil {
		g, err := graves.Get(tx, []byte(r.Entry.Key))
		if err != nil {
			return 0, err
		}
		if g != nil {
			seen = max(seen, g.Time)
		}
	}
	return max(r.Now, seen+1), nil
}

// remove deletes an entry, which is remembered below the prefix of a rule of mode newest.
// Without a time the deletion is right after what is deleted was written.
func remove(tx *storage.Txn, rule *replication.Rule, e *Entry, now int64) error {
	if rule != nil && rule.Mode == replication.Newest {
		if err := bury(tx, e, now); err != nil {
			return err
		}
	}
	_, err := entries.Delete(tx, []byte(e.Key))
	return err
}

func bury(tx *storage.Txn, e *Entry, now int64) error {
	return graves.Put(tx, []byte(e.Key), &Grave{Key: e.Key, Time: max(now, e.Time+1), OriginIndex: tx.Index()})
}

// deleteTree carries out DeleteTree.
func deleteTree(tx *storage.Txn, r *ApplyRequest) error {
	prefix := r.Entry.Key
	hit, err := replication.GuardTree(tx, prefix)
	if err != nil {
		return err
	}
	for i := range hit {
		below := prefix // the longer of the two
		if len(hit[i].Target) > len(below) {
			below = hit[i].Target
		}
		for e, err := range entries.Scan(tx, []byte(below)) {
			if err == nil {
				err = bury(tx, e, r.Now)
			}
			if err != nil {
				return err
			}
		}
	}
	many, err := entries.More(tx, []byte(prefix), maxDeleted)
	switch {
	case err != nil:
		return err
	case many && r.Now != 0: // see ApplyUnstamped
		return entries.Cut(tx, []byte(prefix))
	}
	_, err = entries.DeleteAll(tx, []byte(prefix))
	return err
}

// Judge says whether an item that came for a rule of mode newest takes the place of what
// is here, and if not, whether it is older than that rather than the same.
func Judge(r storage.Reader, rule *replication.Rule, here string, it *replication.Item) (wins, older bool, err error) {
	if it.Own {
		return false, false, nil
	}
	key := []byte(rule.Target + it.Key)
	old, err := entries.Get(r, key)
	if err != nil {
		return false, false, err
	}
	if it.Gone && it.Time == 0 { // nobody knows when: what was written here meanwhile stays
		return old != nil && old.Via == rule.Datacenter, old != nil && old.Via != rule.Datacenter, nil
	}
	came := stamp{it.Time, it.Origin, it.OriginIndex}
	if old != nil {
		order := came.compare(stampOfEntry(old, here))
		same := !it.Gone && old.Flags == it.Flags && bytes.Equal(old.Value, it.Value)
		return order > 0, order < 0 && !same, nil
	}
	g, err := graves.Get(r, key)
	if err != nil || g == nil {
		return g == nil, false, err
	}
	order := came.compare(stampOfGrave(g, here))
	return order > 0, order < 0 && !it.Gone, nil
}

// copyNewest writes an item of a rule of mode newest if it is newer than what is here.
func copyNewest(tx *storage.Txn, rule *replication.Rule, here string, it *replication.Item, res *CopyResult) error {
	wins, _, err := Judge(tx, rule, here, it)
	if err != nil || !wins {
		return err
	}
	key := []byte(rule.Target + it.Key)
	old, err := entries.Get(tx, key)
	if err != nil {
		return err
	}
	if !it.Gone {
		row := renewed(tx, old, &Entry{Key: string(key), Flags: it.Flags, Value: it.Value})
		row.Origin, row.OriginIndex, row.Time, row.Via = it.Origin, it.OriginIndex, it.Time, rule.Datacenter
		res.Written++
		if _, err := graves.Delete(tx, key); err != nil {
			return err
		}
		return entries.Replace(tx, key, old, row)
	}
	g := &Grave{Key: string(key), Time: it.Time, Origin: it.Origin, OriginIndex: it.OriginIndex}
	if it.Time == 0 { // old is not nil then
		g.Time, g.Origin, g.OriginIndex = old.Time+1, rule.Datacenter, 0
	}
	if old != nil {
		res.Deleted++
	}
	if _, err := entries.Bury(tx, key); err != nil { // who follows this datacenter is told, too
		return err
	}
	return graves.Put(tx, key, g)
}

// GraveItem is a remembered deletion as it is told of below a prefix.
func GraveItem(g *Grave, prefix, datacenter string) replication.Item {
	return replication.Item{Key: g.Key[len(prefix):], Gone: true, Time: g.Time, Origin: cmp.Or(g.Origin, datacenter), OriginIndex: g.OriginIndex}
}

// FindGrave returns what is remembered of the deletion of a key; nil for nothing.
func FindGrave(r storage.Reader, key string) (*Grave, error) { return graves.Get(r, []byte(key)) }

// OldestGrave returns the remembered deletion that is the oldest; nil if there is none.
func OldestGrave(r storage.Reader) (*Grave, error) {
	for g, err := range byTime.Scan(r, nil) {
		return g, err
	}
	return nil, nil
}

// ApplyForget carries out Forget.
func ApplyForget(tx *storage.Txn, r *ForgetRequest) (*op.Empty, error) {
	n := 0
	for g, err := range byTime.Scan(tx, nil) {
		if err != nil {
			return nil, err
		}
		if g.Time >= r.Before || n == maxForgotten {
			break
		}
		if _, err := graves.Delete(tx, []byte(g.Key)); err != nil {
			return nil, err
		}
		n++
	}
	return nil, nil
}

package kv

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/session"
	"github.com/legate-project/legate/storage"
)

//go:generate go tool msgp -tests=false -io=false -o locks_gen.go -file locks.go
//msgp:limit arrays:64 maps:64

// Delay keeps a key from being locked until the axis of time (session.Axis) is
// past it: who held the key when its session was invalidated may not know yet.
type Delay struct {
	Key   string        `msg:"k"`
	Until time.Duration `msg:"u"`
}

// PassRequest moves the axis of time on and forgets delays that are over.
type PassRequest struct {
	Clock time.Duration `msg:"clk"` // the leader's, see op.Leader
}

// Pass forgets delays that are over. As long as there are others a leader
// commits it every few seconds, so that what a new leader adds to a delay is
// that much at most.
var Pass = op.Internal[PassRequest, op.Empty]{Name: "kv.pass"}

// Settle goes on with letting go what sessions held that have ended: what reads as let go
// already is written so, maxSettled keys with each command. A leader commits it as long as Unsettled says so.
var Settle = op.Internal[op.Empty, op.Empty]{Name: "kv.settle"}

const (
	maxPassed = 1024 // how many delays one command forgets
	// maxReleased is how many keys the end of a session lets go one by one: each costs some
	// 10 µs. More are let go at once, by one row.
	maxReleased = 128
	maxSettled  = 128
)

// Ending is what became of the keys that a session held.
type Ending struct {
	Until  time.Duration `msg:"u,omitempty"` // that of the delay of each key; 0 for none
	Delete bool          `msg:"x,omitempty"`
}

var (
	bySession = storage.NewRetiringIndex(1, "kv-session", func(e *Entry) [][]byte {
		if e.Session == "" {
			return nil
		}
		return [][]byte{storage.Key(e.Session)}
	}, letGo)
	byUntil = storage.NewIndex(1, "delay-until", func(d *Delay) [][]byte {
		return [][]byte{binary.BigEndian.AppendUint64(nil, uint64(d.Until))}
	})
	delays = storage.NewTable(10, "lock-delays", byUntil)
)

// lock gives the key to the session unless another has it, or a delay keeps it.
// The row is what it becomes.
func lock(tx *storage.Txn, r *ApplyRequest, old, row *Entry) (bool, error) {
	s, err := session.Find(tx, r.Entry.Session)
	if err != nil {
		return false, err
	}
	if s == nil {
		return false, op.Errorf(op.CodeConflict, "invalid session %q", r.Entry.Session)
	}
	row.Session = s.ID
	if old != nil && old.Session != "" {
		return old.Session == s.ID, nil
	}
	until, delayed, err := delayOf(tx, []byte(r.Entry.Key))
	if err != nil {
		return false, err
	}
	if delayed {
		now, err := session.Advance(tx, r.Clock)
		if err != nil || now < until {
			return false, err
		}
	}
	row.LockIndex++
	return true, nil
}

// holds reports whether the session has the lock of the entry. IDs are found in
// any spelling.
func holds(e *Entry, session string) bool {
	return e.Session != "" && strings.EqualFold(e.Session, session)
}

// delayOf is until when a delay keeps a key from being locked.
func delayOf(tx *storage.Txn, key []byte) (until time.Duration, delayed bool, err error) {
	d, err := delays.Get(tx, key)
	if err != nil {
		return 0, false, err
	}
	if d != nil {
		until, delayed = d.Until, true
	}
	notes, err := bySession.Unsettled(tx, key)
	if err != nil {
		return 0, false, err
	}
	for _, note := range notes {
		e, err := decodeEnding(note)
		if err != nil {
			return 0, false, err
		}
		until, delayed = max(until, e.Until), delayed || e.Until > 0
	}
	return until, delayed, nil
}

// ReleaseAll unlocks or deletes what a session holds that has just ended, and
// lets nobody lock it for the session's lock-delay from now on. Up to maxReleased keys it writes
// one by one. Above, it notes that they are let go, so that the command does not hold up
// those behind it; Settle writes the keys.
func ReleaseAll(tx *storage.Txn, s *session.Session, now time.Duration) error {
	rules, err := replication.All(tx)
	if err != nil {
		return err
	}
	end := Ending{Delete: s.Behavior == session.Delete}
	if s.LockDelay != 0 {
		end.Until = after(now, s.LockDelay)
	}
	held := storage.Key(s.ID)
	many, err := bySession.More(tx, held, maxReleased)
	if err != nil {
		return err
	}
	// Builds of level 1 know keys one by one. What rules say of a key that is deleted
	// depends on the key.
	if many && tx.Reached() >= settleLevel && (len(rules) == 0 || !end.Delete) {
		note, err := end.MarshalMsg(nil)
		if err != nil {
			return err
		}
		return bySession.Retire(tx, held, note)
	}
	for e, err := range bySession.Scan(tx, held) {
		if err == nil {
			err = release(tx, e, end, replication.CoveringOf(rules, e.Key))
		}
		if err == nil {
			err = delay(tx, []byte(e.Key), end)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settleLevel is the feature level of Settle.
const settleLevel = 2

// release unlocks or deletes a key.
func release(tx *storage.Txn, e *Entry, end Ending, rule *replication.Rule) error {
	// A mirror has a lock if it was made where the same key was locked already.
	if end.Delete && (rule == nil || rule.Mode != replication.Mirror) {
		return remove(tx, rule, e, 0)
	}
	return entries.Replace(tx, []byte(e.Key), e, free(e, tx.Index()))
}

// free is a key that is unlocked at an index.
func free(e *Entry, index uint64) *Entry {
	f := *e
	f.Session, f.ModifyIndex = "", index
	return &f
}

// letGo is what a key becomes whose session has ended.
func letGo(e *Entry, index uint64, note []byte) (*Entry, error) {
	end, err := decodeEnding(note)
	if err != nil || end.Delete {
		return nil, err
	}
	return free(e, index), nil
}

// delay keeps a key from being locked.
func delay(tx *storage.Txn, key []byte, end Ending) error {
	if end.Until == 0 {
		return nil
	}
	return delays.Put(tx, key, &Delay{Key: string(key), Until: end.Until})
}

// settleDelay is delay for later: if another session had the key meanwhile, its delay is
// longer, because it got the key when this one was over.
func settleDelay(tx *storage.Txn, key, note []byte) error {
	end, err := decodeEnding(note)
	if err != nil || end.Until == 0 {
		return err
	}
	old, err := delays.Get(tx, key)
	if err != nil || old != nil && old.Until >= end.Until {
		return err
	}
	return delays.Replace(tx, key, old, &Delay{Key: string(key), Until: end.Until})
}

func decodeEnding(note []byte) (e Ending, err error) {
	if _, err := e.UnmarshalMsg(note); err != nil {
		return e, fmt.Errorf("%w: what became of the keys of a session: %w", storage.ErrCorrupt, err)
	}
	return e, nil
}

// ApplySettle carries out Settle on the state.
func ApplySettle(tx *storage.Txn, _ *op.Empty) (*op.Empty, error) {
	list, err := bySession.Retired(tx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	_, err = bySession.Settle(tx, list[0].Key, maxSettled, func(key, note []byte) error { return settleDelay(tx, key, note) })
	return nil, err
}

// Unsettled says whether there is anything for Settle to do.
func Unsettled(r storage.Reader) (bool, error) {
	list, err := bySession.Retired(r)
	return len(list) > 0, err
}

// after is the end of a delay, at most that of the axis of time.
func after(now, delay time.Duration) time.Duration {
	if delay > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + delay
}

// NextDelay returns the delay that is over first, nil if none is remembered.
func NextDelay(r storage.Reader) (*Delay, error) {
	var next *Delay
	for d, err := range byUntil.Scan(r, nil) {
		if err != nil {
			return nil, err
		}
		next = d
		break
	}
	list, err := bySession.Retired(r)
	if err != nil {
		return nil, err
	}
	for _, of := range list {
		end, err := decodeEnding(of.Note)
		if err != nil {
			return nil, err
		}
		if end.Until > 0 && (next == nil || end.Until < next.Until) {
			next = &Delay{Until: end.Until}
		}
	}
	return next, nil
}

// ApplyPass carries out Pass on the state.
func ApplyPass(tx *storage.Txn, r *PassRequest) (*op.Empty, error) {
	now, err := session.Advance(tx, r.Clock)
	if err != nil {
		return nil, err
	}
	if err := passEndings(tx, now); err != nil {
		return nil, err
	}
	passed := 0
	for d, err := range byUntil.Scan(tx, nil) {
		if err != nil {
			return nil, err
		}
		if d.Until > now || passed == maxPassed {
			break
		}
		if _, err := delays.Delete(tx, []byte(d.Key)); err != nil {
			return nil, err
		}
		passed++
	}
	return nil, nil
}

// passEndings forgets delays that are over of keys that are not settled.
func passEndings(tx *storage.Txn, now time.Duration) error {
	list, err := bySession.Retired(tx)
	if err != nil {
		return err
	}
	for _, of := range list {
		end, err := decodeEnding(of.Note)
		if err != nil {
			return err
		}
		if end.Until == 0 || end.Until > now {
			continue
		}
		end.Until = 0
		note, err := end.MarshalMsg(nil)
		if err != nil {
			return err
		}
		bySession.Renote(tx, of.Key, note)
	}
	return nil
}

// Rows returns the rows of an entry with the indexes that it has: what a state
// holds that was made elsewhere.
func Rows(e *Entry) ([]storage.Row, error) { return entries.Rows([]byte(e.Key), e.ModifyIndex, e) }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{entries, delays, graves} }

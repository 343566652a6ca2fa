package kv

import (
	"encoding/binary"
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

// maxPassed is how many delays one command forgets.
const maxPassed = 1024

var (
	bySession = storage.NewIndex(1, "kv-session", func(e *Entry) [][]byte {
		if e.Session == "" {
			return nil
		}
		return [][]byte{storage.Key(e.Session)}
	})
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
	d, err := delays.Get(tx, []byte(r.Entry.Key))
	if err != nil {
		return false, err
	}
	if d != nil {
		now, err := session.Advance(tx, r.Clock)
		if err != nil || now < d.Until {
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

// ReleaseAll unlocks or deletes what a session holds that has just ended, and
// lets nobody lock it for the session's lock-delay from now on. Its work is
// proportional to the keys that the session holds.
func ReleaseAll(tx *storage.Txn, s *session.Session, now time.Duration) error {
	for e, err := range bySession.Scan(tx, storage.Key(s.ID)) {
		if err != nil {
			return err
		}
		key := []byte(e.Key)
		rule, err := replication.Covering(tx, e.Key)
		if err != nil {
			return err
		}
		// A mirror has a lock if it was made where the same key was locked already.
		if s.Behavior == session.Delete && (rule == nil || rule.Mode != replication.Mirror) {
			if err := remove(tx, rule, e, 0); err != nil {
				return err
			}
		} else {
			free := *e
			free.Session, free.ModifyIndex = "", tx.Index()
			if err := entries.Replace(tx, key, e, &free); err != nil {
				return err
			}
		}
		if s.LockDelay == 0 {
			continue
		}
		if err := delays.Put(tx, key, &Delay{Key: e.Key, Until: after(now, s.LockDelay)}); err != nil {
			return err
		}
	}
	return nil
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
	for d, err := range byUntil.Scan(r, nil) {
		return d, err
	}
	return nil, nil
}

// ApplyPass carries out Pass on the state.
func ApplyPass(tx *storage.Txn, r *PassRequest) (*op.Empty, error) {
	now, err := session.Advance(tx, r.Clock)
	if err != nil {
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

// Rows returns the rows of an entry with the indexes that it has: what a state
// holds that was made elsewhere.
func Rows(e *Entry) ([]storage.Row, error) { return entries.Rows([]byte(e.Key), e.ModifyIndex, e) }

// Tables lists the tables of the domain.
func Tables() []storage.AnyTable { return []storage.AnyTable{entries, delays, graves} }

package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/legate-project/legate/state/catalog"
	"github.com/legate-project/legate/state/session"
)

// LockDelay is a delay as clients write it: text with a unit, or a number, of
// seconds below secondsBelow and else of nanoseconds.
type LockDelay time.Duration

const secondsBelow = 1000

// UnmarshalJSON implements json.Unmarshaler.
func (d *LockDelay) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case float64:
		if v < 0 || v >= math.MaxInt64 {
			return fmt.Errorf("LockDelay: invalid duration %v: want a number from 0", v)
		}
		if v < secondsBelow {
			v *= float64(time.Second)
		}
		*d = LockDelay(v)
	case string:
		t, err := time.ParseDuration(v)
		if err != nil {
			return fmt.Errorf("LockDelay: invalid duration %.64q: use a number with a unit, such as 15s", v)
		}
		*d = LockDelay(t)
	default:
		return errors.New("LockDelay: invalid duration: use text such as \"15s\"")
	}
	return nil
}

// Session is what a client sends to make a session. Nil is what it left out.
type Session struct {
	Name string
	Node string
	// NodeDatacenter is where the node is; "" where the session is.
	NodeDatacenter string
	LockDelay      *LockDelay
	Behavior       string
	TTL            string
	NodeChecks     []string
	Checks         []string // the old name of NodeChecks
	ServiceChecks  []session.ServiceCheck
}

// Session fills in what the client left out of a session of the datacenter dc: the node
// is this one, its check what gossip says of it.
func (b *Session) Session(a *API, dc string) session.Session {
	s := session.Session{Name: b.Name, Node: b.Node, NodeDatacenter: b.NodeDatacenter, LockDelay: session.DefaultLockDelay, Behavior: b.Behavior, TTL: b.TTL,
		NodeChecks: b.NodeChecks, ServiceChecks: b.ServiceChecks}
	if s.Node == "" && (s.NodeDatacenter == "" || s.NodeDatacenter == a.Datacenter) {
		s.Node, s.NodeDatacenter = a.NodeName, a.Datacenter
	}
	if s.NodeDatacenter == dc {
		s.NodeDatacenter = ""
	}
	if b.LockDelay != nil {
		s.LockDelay = time.Duration(*b.LockDelay)
	}
	switch {
	case s.NodeChecks != nil:
	case b.Checks != nil:
		s.NodeChecks = b.Checks
	default:
		s.NodeChecks = []string{catalog.SerfHealth}
	}
	return s
}

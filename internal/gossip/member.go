package gossip

import (
	"time"

	"github.com/hashicorp/serf/serf"
)

// Status of a member. The numbers are those of Consul's HTTP API.
type Status int

// The statuses.
const (
	None Status = iota
	Alive
	Leaving
	Left
	Failed
)

// String is the word that operators know.
func (s Status) String() string {
	switch s {
	case Alive:
		return "alive"
	case Leaving:
		return "leaving"
	case Left:
		return "left"
	case Failed:
		return "failed"
	}
	return "none"
}

// Member is one node of a pool.
type Member struct {
	Name   string
	Addr   string // IP address
	Port   uint16
	Tags   map[string]string // must not be changed
	Status Status

	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

func memberOf(m serf.Member) Member {
	return Member{
		Name: m.Name, Addr: m.Addr.String(), Port: m.Port, Tags: m.Tags, Status: Status(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur,
	}
}

// Kind of an event.
type Kind int

// The kinds. Resync says that events were dropped: look at Members again.
const (
	Join Kind = iota
	Leave
	Fail
	Update
	Reap
	User
	Resync
)

// String is the value of the metric's label.
func (k Kind) String() string {
	return [...]string{"join", "leave", "fail", "update", "reap", "user", "resync"}[k]
}

func kinds() []Kind { return []Kind{Join, Leave, Fail, Update, Reap, User, Resync} }

// Event says that something changed.
type Event struct {
	Kind    Kind
	At      time.Time         // when this node learned of it
	Members []Member          // for Join, Leave, Fail, Update and Reap
	Reasons map[string]string // for Fail: why, by member, of those that this node itself found silent
	User    *UserEvent        // for User
}

// UserEvent is a broadcast of a member.
type UserEvent struct {
	Name     string
	Payload  []byte
	LTime    uint64 // Lamport time
	Coalesce bool
}

// eventOf translates Serf's events; queries are not handed on.
func eventOf(e serf.Event) (Event, bool) {
	at := time.Now()
	switch e := e.(type) {
	case serf.UserEvent:
		return Event{Kind: User, At: at, User: &UserEvent{
			Name: e.Name, Payload: e.Payload, LTime: uint64(e.LTime), Coalesce: e.Coalesce}}, true
	case serf.MemberEvent:
		kind := map[serf.EventType]Kind{
			serf.EventMemberJoin: Join, serf.EventMemberLeave: Leave, serf.EventMemberFailed: Fail,
			serf.EventMemberUpdate: Update, serf.EventMemberReap: Reap,
		}
		out := Event{Kind: kind[e.Type], At: at}
		for _, m := range e.Members {
			out.Members = append(out.Members, memberOf(m))
		}
		return out, true
	}
	return Event{}, false
}

// Package events keeps the user events that this agent has heard of: small
// messages to all agents of a datacenter, by gossip.
//
// It promises that an event reaches only the agents that its filters mean, and
// that the last ones are kept in the order in which they came. Events are not
// certain to arrive, and those of two agents may come in another order at a
// third. It sends nothing itself.
package events

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

//go:generate go tool msgp -tests=false -io=false -unexported -o event_gen.go -file event.go
//msgp:limit arrays:4096 maps:64

const (
	// GossipName is the name under which the events of this package travel
	// among those of the pool.
	GossipName = "legate:event"
	// Kept is how many events an agent keeps.
	Kept = 256
	// MaxGossip bounds an event on its way, in bytes, names and filters included.
	MaxGossip = 512
	// gossipHeader is what the pool needs of that for itself.
	gossipHeader = 64
	// version of the shape of an event, which clients know.
	version = 1
	// internal is what the names of events between agents begin with.
	internal = "_"
)

// Event is one user event, in the shape that clients know.
type Event struct {
	// ID is a UUID, given where the event is fired first. An agent keeps one event of an ID.
	ID      string `msg:"i"`
	Name    string `msg:"n"`
	Payload []byte `msg:"p"`
	// The filters are regular expressions: which nodes keep the event, which of
	// those with a matching service, and with a matching tag of that service.
	NodeFilter    string `msg:"nf"`
	ServiceFilter string `msg:"sf"`
	TagFilter     string `msg:"tf"`
	Version       int    `msg:"v"`
	// LTime is the pool's logical time of the event; 0 where it was fired.
	LTime uint64 `msg:"-"`
}

// Announcement is an event for agents of several datacenters.
type Announcement struct {
	Event Event `msg:"e"`
	// Datacenters are all or a list, as Header.Datacenter names several.
	Datacenters string `msg:"d"`
}

// Announced says what became of an Announcement. All of the datacenters had the event with
// one ID.
type Announced struct {
	Event Event  `msg:"e"`
	Told  []Told `msg:"t"`
}

// Told is whether the agents of a datacenter were told.
type Told struct {
	Datacenter string
	Error      string `json:",omitempty"` // why not; empty if they were
}

// packed is an event as it travels.
type packed struct {
	ID      []byte `msg:"i"`
	Name    string `msg:"n"`
	Payload []byte `msg:"p,omitempty"`
	Node    string `msg:"f,omitempty"`
	Service string `msg:"s,omitempty"`
	Tag     string `msg:"t,omitempty"`
}

// Fire tells all agents of the datacenter of an event. It is answered with the
// event as it was sent.
var Fire = op.Direct[Event, Event]{Name: "event.fire", Authorize: func(a rules.Authorizer, e *Event) error {
	return rules.Require(a, rules.Event, rules.Write, e.Name)
}}

// Announce fires an event in several datacenters, each of which decides on its own whether
// the caller may. An error means that none was told.
var Announce = op.Direct[Announcement, Announced]{Name: "event.announce", Authorize: func(a rules.Authorizer, r *Announcement) error {
	return rules.Require(a, rules.Event, rules.Write, r.Event.Name)
}}

// Operations lists what this package declares.
func Operations() []op.Operation { return []op.Operation{&Fire, &Announce} }

// RemoteExec is the event that announces a job of remote execution.
const RemoteExec = "_rexec"

// Internal lists the events between agents, which people may fire but which no
// agent keeps.
func Internal() []string { return []string{RemoteExec} }

// Validate returns an error of code op.CodeInvalid or op.CodeTooLarge that says
// what is wrong with an event to fire.
func (e *Event) Validate() error {
	switch {
	case e.Name == "":
		return op.Errorf(op.CodeInvalid, "Missing name")
	case strings.HasPrefix(e.Name, internal) && !slices.Contains(Internal(), e.Name):
		return op.Errorf(op.CodeInvalid, "Invalid event name %q: names that begin with %q are for events between agents", e.Name, internal)
	case e.TagFilter != "" && e.ServiceFilter == "":
		return op.Errorf(op.CodeInvalid, "Cannot provide tag filter without service filter")
	}
	// Before they are compiled: what is too long is refused unseen.
	if n := len(e.Name) + len(e.Payload) + len(e.NodeFilter) + len(e.ServiceFilter) + len(e.TagFilter); n > MaxGossip {
		return tooLarge(n)
	}
	for _, f := range []struct{ what, text string }{{"node", e.NodeFilter}, {"service", e.ServiceFilter}, {"tag", e.TagFilter}} {
		if _, err := regexp.Compile(f.text); err != nil {
			return op.Errorf(op.CodeInvalid, "Invalid %s filter: %v", f.what, err)
		}
	}
	return nil
}

func tooLarge(n int) error {
	return op.Errorf(op.CodeTooLarge, "the event takes %d bytes with its name, payload and filters; events travel by gossip and may take %d: put the content into a key and name it in the event", n, MaxGossip-gossipHeader)
}

// Identify gives the event an ID, unless it has one, and says of which version it is.
func (e *Event) Identify() error {
	if e.ID == "" {
		e.ID = uuid.NewString()
	}
	id, err := uuid.Parse(e.ID)
	if err != nil {
		return op.Errorf(op.CodeInvalid, "the ID of an event is a UUID, not %.64q", e.ID)
	}
	e.ID, e.Version, e.LTime = id.String(), version, 0
	return nil
}

// Pack gives the event an ID, unless it has one, and returns it with the form in which it
// travels.
func Pack(e Event) (Event, []byte, error) {
	if err := errors.Join(e.Validate(), e.Identify()); err != nil {
		return e, nil, err
	}
	id := uuid.MustParse(e.ID)
	p := packed{ID: id[:], Name: e.Name, Payload: e.Payload, Node: e.NodeFilter, Service: e.ServiceFilter, Tag: e.TagFilter}
	b, err := p.MarshalMsg(nil)
	if err != nil {
		return e, nil, fmt.Errorf("encode an event: %w", err)
	}
	if len(b) > MaxGossip-gossipHeader {
		return e, nil, tooLarge(len(b))
	}
	return e, b, nil
}

func unpack(b []byte, ltime uint64) (*Event, error) {
	if len(b) > MaxGossip {
		return nil, fmt.Errorf("an event of %d bytes", len(b))
	}
	var p packed
	rest, err := p.UnmarshalMsg(b)
	if err != nil {
		return nil, err
	}
	id, err := uuid.FromBytes(p.ID)
	if err == nil && len(rest) > 0 {
		err = errors.New("bytes follow the event")
	}
	if err != nil {
		return nil, err
	}
	return &Event{ID: id.String(), Name: p.Name, Payload: p.Payload, NodeFilter: p.Node, ServiceFilter: p.Service, TagFilter: p.Tag,
		Version: version, LTime: ltime}, nil
}

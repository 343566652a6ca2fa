// Package event is user events over HTTP: it fires them and lists those that this
// agent has heard of.
package event

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/httpapi/rest"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// API is what the area depends on.
type API struct {
	Caller op.Caller
	// Events answers /v1/event/list; nil answers 404.
	Events     Events
	Datacenter string
}

// Routes returns the rows of the area.
func (a *API) Routes() []rest.Route {
	return []rest.Route{
		{Path: "/v1/event/fire/", Put: a.fire},
		{Path: "/v1/event/list", Get: a.list},
	}
}

// Events are the user events that this agent has heard of; *events.Ring is one.
type Events interface {
	// List returns those of the name, or all for "", oldest first, and a channel
	// that is closed when another one comes.
	List(name string) ([]events.Event, <-chan struct{})
}

// fire tells all agents of a datacenter of an event.
func (a *API) fire(x *rest.Exchange) error {
	name, err := x.Argument("Missing name")
	if err != nil {
		return err
	}
	h, err := x.Current()
	if err != nil {
		return err
	}
	payload, err := x.Body(rest.MaxBody)
	if err != nil {
		return err
	}
	e := events.Event{Name: name, Payload: payload, NodeFilter: x.Get("node"), ServiceFilter: x.Get("service"), TagFilter: x.Get("tag")}
	if err := e.Validate(); err != nil {
		return err
	}
	if op.IsFanOut(h.Datacenter) {
		return a.announce(x, h, e)
	}
	sent, _, err := events.Fire.Call(x.Ctx, a.Caller, h, &e)
	if err != nil {
		return err
	}
	return x.JSON(shown(sent))
}

// shown is an event as clients know it, without a payload null.
func shown(e *events.Event) *events.Event {
	if len(e.Payload) == 0 {
		e.Payload = nil
	}
	return e
}

// announced is an event that was fired in several datacenters: one with a member more.
type announced struct {
	*events.Event
	Datacenters []events.Told
}

// announce tells all agents of several datacenters of an event.
func (a *API) announce(x *rest.Exchange, h op.Header, e events.Event) error {
	r := events.Announcement{Event: e, Datacenters: h.Datacenter}
	h.Datacenter = ""
	got, _, err := events.Announce.Call(x.Ctx, a.Caller, h, &r)
	if op.CodeOf(err) == op.CodeUnsupported {
		return op.Errorf(op.CodeUnsupported, "the servers of this datacenter are of an earlier version, which fires an event in one datacenter at a time")
	}
	if err != nil {
		return err
	}
	return x.JSON(announced{shown(&got.Event), got.Told})
}

// list answers with the events that this agent keeps. Its index says which
// event is the last; it blocks while that is the one that the client knows.
func (a *API) list(x *rest.Exchange) error {
	h, err := x.Header()
	if err != nil {
		return err
	}
	if a.Events == nil {
		return rest.Refuse(http.StatusNotFound, "This agent keeps no events")
	}
	var end <-chan time.Time
	if h.MinIndex > 0 {
		t := time.NewTimer(h.MaxWait)
		defer t.Stop()
		end = t.C
	}
	for {
		may, err := x.Authorizer() // while one waits, rights may change
		if err != nil {
			return err
		}
		all, changed := a.Events.List(x.Get("name"))
		list, hidden := a.meantFor(x, may, all)
		index := eventIndex(list)
		if h.MinIndex == index {
			select {
			case <-changed:
				continue
			case <-end:
			case <-x.Ctx.Done():
				return x.Ctx.Err()
			}
		}
		x.Meta(&op.Meta{Index: index, KnownLeader: true, Datacenter: a.Datacenter, Filtered: hidden})
		return x.JSON(list)
	}
}

// meantFor keeps the events whose filters mean the node, service and tag that
// are asked for, and says whether some were left out that the caller may not see.
func (a *API) meantFor(x *rest.Exchange, may rules.Authorizer, all []events.Event) (list []events.Event, hidden bool) {
	means := func(filter, name string) bool {
		if filter == "" || name == "" {
			return true
		}
		ok, err := regexp.MatchString(filter, name)
		return err == nil && ok
	}
	out := make([]events.Event, 0, len(all))
	for _, e := range all {
		if !may.Allow(rules.Event, rules.Read, e.Name) {
			hidden = true
			continue
		}
		if means(e.NodeFilter, x.Get("node")) && means(e.ServiceFilter, x.Get("service")) && means(e.TagFilter, x.Get("tag")) {
			if len(e.Payload) == 0 {
				e.Payload = nil
			}
			out = append(out, e)
		}
	}
	return out, hidden
}

// eventIndex is the number that clients make of the last event's UUID to find
// it again: its two halves, combined by exclusive or. 1 where there is none.
func eventIndex(list []events.Event) uint64 {
	if len(list) == 0 {
		return 1
	}
	id := strings.ReplaceAll(list[len(list)-1].ID, "-", "")
	half := len(id) / 2
	lower, errLower := strconv.ParseUint(id[:half], 16, 64)
	upper, errUpper := strconv.ParseUint(id[half:], 16, 64)
	if errLower != nil || errUpper != nil {
		return 1 // no UUID: Pack makes only such
	}
	return lower ^ upper
}

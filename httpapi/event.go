package httpapi

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/op"
)

// Events are the user events that this agent has heard of; *events.Ring is one.
type Events interface {
	// List returns those of the name, or all for "", oldest first, and a channel
	// that is closed when another one comes.
	List(name string) ([]events.Event, <-chan struct{})
}

// eventFire tells all agents of a datacenter of an event.
func eventFire(x *exchange) error {
	name, err := x.argument("Missing name")
	if err != nil {
		return err
	}
	h, err := x.current()
	if err != nil {
		return err
	}
	payload, err := x.body(maxBody)
	if err != nil {
		return err
	}
	e := events.Event{Name: name, Payload: payload, NodeFilter: x.get("node"), ServiceFilter: x.get("service"), TagFilter: x.get("tag")}
	if err := e.Validate(); err != nil {
		return err
	}
	sent, _, err := events.Fire.Call(x.ctx, x.s.cfg.Caller, h, &e)
	if err != nil {
		return err
	}
	if len(sent.Payload) == 0 {
		sent.Payload = nil // clients know null
	}
	return x.json(sent)
}

// eventList answers with the events that this agent keeps. Its index says which
// event is the last; it blocks while that is the one that the client knows.
func eventList(x *exchange) error {
	h, err := x.header()
	if err != nil {
		return err
	}
	if x.s.cfg.Events == nil {
		return refuse(http.StatusNotFound, "This agent keeps no events")
	}
	var end <-chan time.Time
	if h.MinIndex > 0 {
		t := time.NewTimer(h.MaxWait)
		defer t.Stop()
		end = t.C
	}
	for {
		all, changed := x.s.cfg.Events.List(x.get("name"))
		list := x.meantFor(all)
		index := eventIndex(list)
		if h.MinIndex == index {
			select {
			case <-changed:
				continue
			case <-end:
			case <-x.ctx.Done():
				return x.ctx.Err()
			}
		}
		x.meta(&op.Meta{Index: index, KnownLeader: true, Datacenter: x.s.cfg.Datacenter})
		return x.json(list)
	}
}

// meantFor keeps the events whose filters mean the node, service and tag that
// are asked for.
func (x *exchange) meantFor(all []events.Event) []events.Event {
	means := func(filter, name string) bool {
		if filter == "" || name == "" {
			return true
		}
		ok, err := regexp.MatchString(filter, name)
		return err == nil && ok
	}
	out := make([]events.Event, 0, len(all))
	for _, e := range all {
		if means(e.NodeFilter, x.get("node")) && means(e.ServiceFilter, x.get("service")) && means(e.TagFilter, x.get("tag")) {
			if len(e.Payload) == 0 {
				e.Payload = nil
			}
			out = append(out, e)
		}
	}
	return out
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

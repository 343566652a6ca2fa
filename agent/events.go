package agent

import (
	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/lan"
)

// newEvents makes the ring of user events, before gossip brings some.
func (a *Agent) newEvents() *events.Ring {
	return events.New(events.Config{NodeName: a.cfg.NodeName, Services: a.eventServices, Registerer: a.reg})
}

// eventServices are the services that the filters of events ask for.
func (a *Agent) eventServices() []events.Service {
	s := a.localState.Load()
	if s == nil {
		return nil
	}
	var out []events.Service
	for _, service := range s.Services() {
		out = append(out, events.Service{Name: service.Service, Tags: service.Tags})
	}
	return out
}

// takeEvent keeps a user event of the pool.
func (a *Agent) takeEvent(e lan.Event) {
	if e.User.Name != events.GossipName {
		return
	}
	if err := a.events.Receive(e.User.Payload, e.User.LTime); err != nil {
		a.log.Warn("a user event was dropped", "error", err)
	}
}

// FireEvent implements server.LAN.
func (m members) FireEvent(name string, payload []byte) error {
	return m.pool.UserEvent(name, payload, false)
}

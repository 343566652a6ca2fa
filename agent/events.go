package agent

import (
	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/agent/exec"
	"github.com/legate-project/legate/lan"
)

// newEvents makes the ring of user events, before gossip brings some.
func (a *Agent) newEvents() *events.Ring {
	return events.New(events.Config{NodeName: a.cfg.NodeName, Services: a.eventServices, Internal: a.takeInternal, Registerer: a.reg})
}

// startExec has this agent run what others ask it to, if the configuration
// allows that.
func (a *Agent) startExec() error {
	if a.cfg.DisableRemoteExec {
		return nil
	}
	a.log.Warn("REMOTE EXECUTION IS ENABLED: who may fire events and write keys in this datacenter may run commands as this agent's user (disable_remote_exec = false)")
	e := exec.New(exec.Config{Caller: a.caller, NodeName: a.cfg.NodeName, Token: a.tokens.forAgent, Log: a.log, Registerer: a.reg})
	a.exec.Store(e)
	return a.group.OnStop("remote execution", e.Stop)
}

// takeInternal takes an event between agents that is meant for this one.
func (a *Agent) takeInternal(e events.Event) {
	if e.Name != events.RemoteExec {
		return
	}
	run := a.exec.Load()
	if run == nil { // also while the agent starts
		a.log.Debug("remote execution was asked for and is not enabled here")
		return
	}
	run.Take(e.Payload)
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

package local

import (
	"context"

	"github.com/legate-project/legate/config"
)

// Answering is a State whose changes return when AwaitSync does, for those who
// change something and then ask the catalog. Its methods are otherwise those of
// State.
type Answering struct {
	*State
	ctx context.Context // ends all waits
}

// Answering returns the state with changes that wait, until ctx ends.
func (s *State) Answering(ctx context.Context) *Answering { return &Answering{State: s, ctx: ctx} }

// wait waits for the catalog after a change that was made.
func (a *Answering) wait(err error, service, checkID string) error {
	if err == nil {
		a.AwaitSync(a.ctx, service, checkID)
	}
	return err
}

// AddService is State's.
func (a *Answering) AddService(def config.ServiceDefinition) error {
	return a.wait(a.State.AddService(def), orElse(def.ID, def.Name), "")
}

// ReplaceService is State's.
func (a *Answering) ReplaceService(def config.ServiceDefinition) error {
	return a.wait(a.State.ReplaceService(def), orElse(def.ID, def.Name), "")
}

// RemoveService is State's.
func (a *Answering) RemoveService(id string) error {
	return a.wait(a.State.RemoveService(id), id, "")
}

// AddCheck is State's.
func (a *Answering) AddCheck(def config.CheckDefinition) error {
	return a.wait(a.State.AddCheck(def), "", orElse(def.ID, def.Name))
}

// RemoveCheck is State's.
func (a *Answering) RemoveCheck(id string) error {
	return a.wait(a.State.RemoveCheck(id), "", id)
}

// UpdateTTL is State's.
func (a *Answering) UpdateTTL(id, status, output string) error {
	return a.wait(a.State.UpdateTTL(id, status, output), "", id)
}

// Maintain is State's.
func (a *Answering) Maintain(serviceID string, on bool, reason string) error {
	return a.wait(a.State.Maintain(serviceID, on, reason), serviceID, "")
}

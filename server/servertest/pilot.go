package servertest

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// LastIndex and LastTerm are where the logs of a Group end.
const (
	LastIndex = 100
	LastTerm  = 2
)

// LastLog is the same for all.
func (g *Group) LastLog() (index, term uint64, err error) { return LastIndex, LastTerm, nil }

// Heard has every other server silent since Silent.
func (g *Group) Heard(string) (ago, heartbeat time.Duration, lastIndex uint64) {
	return time.Duration(g.Silent.Load()), time.Second, LastIndex
}

// Pilot is the group as autopilot wants it.
func (g *Group) Pilot(context.Context) autopilot.Raft { return pilot{g} }

type pilot struct{ g *Group }

// done is a future that has come.
type done struct {
	err   error
	group raft.Configuration
}

// Error implements raft.Future.
func (d done) Error() error { return d.err }

// Index implements raft.IndexFuture.
func (d done) Index() uint64 { return LastIndex }

// Configuration implements raft.ConfigurationFuture.
func (d done) Configuration() raft.Configuration { return d.group }

// AddNonvoter implements autopilot.Raft.
func (p pilot) AddNonvoter(id raft.ServerID, address raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return done{err: p.g.add(string(id), string(address), false)}
}

// AddVoter implements autopilot.Raft.
func (p pilot) AddVoter(id raft.ServerID, address raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return done{err: p.g.add(string(id), string(address), true)}
}

// DemoteVoter implements autopilot.Raft.
func (p pilot) DemoteVoter(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return done{err: p.g.add(string(id), p.g.Addresses()[string(id)], false)}
}

// RemoveServer implements autopilot.Raft.
func (p pilot) RemoveServer(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return done{err: p.g.RemoveServer(context.Background(), string(id))}
}

// LastIndex implements autopilot.Raft.
func (pilot) LastIndex() uint64 { return LastIndex }

// Leader implements autopilot.Raft.
func (p pilot) Leader() raft.ServerAddress {
	_, address := p.g.Leader()
	return raft.ServerAddress(address)
}

// GetConfiguration implements autopilot.Raft.
func (p pilot) GetConfiguration() raft.ConfigurationFuture {
	servers, _, err := p.g.Configuration()
	d := done{err: err}
	for _, s := range servers {
		suffrage := raft.Nonvoter
		if s.Voter {
			suffrage = raft.Voter
		}
		d.group.Servers = append(d.group.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address)})
	}
	return d
}

// Stats implements autopilot.Raft.
func (pilot) Stats() map[string]string { return map[string]string{"last_log_term": "2"} }

// LeadershipTransferToServer implements autopilot.Raft.
func (p pilot) LeadershipTransferToServer(id raft.ServerID, _ raft.ServerAddress) raft.Future {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.g.HandedTo = string(id)
	return done{}
}

// State implements autopilot.Raft.
func (pilot) State() raft.RaftState { return raft.Leader }

package main

import (
	"slices"

	"github.com/legate-project/legate/agent"
	"github.com/legate-project/legate/cmd/legate/aclcmd"
	"github.com/legate-project/legate/cmd/legate/agentcmd"
	"github.com/legate-project/legate/cmd/legate/catalogcmd"
	"github.com/legate-project/legate/cmd/legate/clustercmd"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/debugcmd"
	"github.com/legate-project/legate/cmd/legate/dnscmd"
	"github.com/legate-project/legate/cmd/legate/doctorcmd"
	"github.com/legate-project/legate/cmd/legate/failovercmd"
	"github.com/legate-project/legate/cmd/legate/kvcmd"
	"github.com/legate-project/legate/cmd/legate/labcmd"
	"github.com/legate-project/legate/cmd/legate/operatorcmd"
	"github.com/legate-project/legate/cmd/legate/runcmd"
	"github.com/legate-project/legate/cmd/legate/snapshotcmd"
	"github.com/legate-project/legate/cmd/legate/tlscmd"
	"github.com/legate-project/legate/cmd/legate/toolcmd"
)

// commands is the table of all commands, family by family.
func commands() []command.Command {
	return slices.Concat(operatorcmd.Commands(), []command.Command{
		// Agents that run here.
		agentcmd.Agent(newAgent),
		labcmd.Lab(),
		labcmd.Set(),
		labcmd.Cut(),
		labcmd.Heal(),
		labcmd.Stop(),
		labcmd.Start(),

		// Members of datacenters and the federation.
		clustercmd.Members(),
		clustercmd.Join(),
		clustercmd.Leave(),
		clustercmd.ForceLeave(),
		clustercmd.Reload(),
		clustercmd.Ready(),
		clustercmd.RTT(),
		clustercmd.Keyring(),
		command.Group("federation", "Look at the datacenters of the federation, remove and allow them"),
		clustercmd.FederationStatus(),
		clustercmd.FederationList(),
		clustercmd.FederationRemove(),
		clustercmd.FederationAllow(),
		clustercmd.FederationPrimary(),

		// Nodes and services.
		command.Group("catalog", "Look at the catalog of datacenters, nodes and services"),
		catalogcmd.Datacenters(),
		catalogcmd.Nodes(),
		catalogcmd.Services(),
		command.Group("services", "Register services with the local agent"),
		catalogcmd.Register(),
		catalogcmd.Deregister(),
		catalogcmd.Maint(),

		// Keys and values.
		command.Group("kv", "Read and write the key/value store"),
		kvcmd.Get(),
		kvcmd.Put(),
		kvcmd.Delete(),
		kvcmd.Export(),
		kvcmd.Import(),
		kvcmd.Replicate(),

		// What has other programs run.
		runcmd.Lock(),
		runcmd.Watch(),
		runcmd.Exec(),
		runcmd.Event(),

		// State to keep and to bring back.
		command.Group("snapshot", "Save, restore and look at snapshots of the state"),
		snapshotcmd.Save(),
		snapshotcmd.Restore(),
		snapshotcmd.Inspect(),
		snapshotcmd.Decode(),

		// A running agent from inside, and what will hurt it.
		doctorcmd.Doctor(),
		debugcmd.Info(),
		debugcmd.Monitor(),
		debugcmd.Debug(),
		debugcmd.Show(),
	}, failovercmd.Commands(), dnscmd.Commands(), aclcmd.Commands(), withoutAgent())
}

// withoutAgent is the rest of the table: what needs no agent.
func withoutAgent() []command.Command {
	return []command.Command{
		toolcmd.Keygen(),
		command.Group("tls", "Make an authority and certificates for TLS"),
		command.Group("tls ca", "Make an authority of one's own"),
		tlscmd.CACreate(),
		command.Group("tls cert", "Make certificates under an authority of one's own"),
		tlscmd.CertCreate(),
		toolcmd.Validate(),
		toolcmd.Configtest(),
		toolcmd.Completion(),
		toolcmd.Man(),
		toolcmd.Version(),
	}
}

func newAgent(o agentcmd.Options) (agentcmd.Process, error) {
	a, err := agent.New(agent.Options{Config: o.Config, Log: o.Log, Level: o.Level, Load: o.Load, Version: o.Version})
	if err != nil {
		return nil, err
	}
	return a, nil
}

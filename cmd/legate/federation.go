package main

import (
	"flag"
	"fmt"

	"github.com/legate-project/legate/cmd/legate/federated"
	"github.com/legate-project/legate/state/status"
)

// federationCommands are the commands about the datacenters of the federation.
func federationCommands() []row {
	return []row{
		{name: "federation status", synopsis: "Show how the datacenters reach each other", remote: toDC,
			about:   "Shows each other datacenter as a server sees it: the state (up, degraded, unreachable, removed, left) and why, round trip,\nloss, connections, who leads there. With -all every datacenter is asked for its view.",
			example: "legate federation status\nlegate federation status -all\nlegate federation status -datacenter=dc2 -json",
			action:  func(*app) action { return &federationAction{} }},
		{name: "federation list", synopsis: "List the datacenters and their states", remote: toDC,
			about:   "Lists the datacenters of the federation and those that were removed from it.",
			example: "legate federation list",
			action:  func(*app) action { return &federationAction{list: true} }},
		{name: "federation remove", synopsis: "Remove a datacenter from the federation", args: "DATACENTER", min: 1, max: 1, remote: toAgent,
			about:   "Removes a datacenter that is gone for good: its servers are no longer asked, and refused if they come back, until\nlegate federation allow. One that still answers is removed with -force only.",
			example: "legate federation remove dc3",
			action:  func(*app) action { return &membershipAction{status.Membership{Removed: true}} }},
		{name: "federation allow", synopsis: "Allow a datacenter that was removed to come back", args: "DATACENTER", min: 1, max: 1, remote: toAgent,
			about:   "Takes back legate federation remove. The servers of the datacenter join again by themselves, or with legate join -wan.",
			example: "legate federation allow dc3",
			action:  func(*app) action { return &membershipAction{} }},
	}
}

type federationAction struct {
	list, all, json bool
}

func (a *federationAction) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.json, "json", false, "write JSON.")
	if !a.list {
		fs.BoolVar(&a.all, "all", false, "show the view of each datacenter.")
	}
}

func (a *federationAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	if a.list {
		return federated.Datacenters(c.stdout, client, a.json, c.client.query())
	}
	return federated.Status(c.stdout, client, federated.Show{All: a.all, JSON: a.json}, c.client.query())
}

type membershipAction struct{ status.Membership }

func (a *membershipAction) flags(fs *flag.FlagSet) {
	if a.Removed {
		fs.BoolVar(&a.Force, "force", false, "remove it although it answers.")
	}
}

func (a *membershipAction) run(c *call, args []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	a.Datacenter = args[0]
	if err := federated.Change(c.stdout, client, &a.Membership); err != nil {
		return fmt.Errorf("change the membership of %s: %w", args[0], err)
	}
	return nil
}

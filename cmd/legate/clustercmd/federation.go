package clustercmd

import (
	"flag"
	"fmt"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/state/status"
)

// FederationStatus is the command federation status.
func FederationStatus() command.Command {
	return command.Command{
		Name: "federation status", Synopsis: "Show how the datacenters reach each other", Access: command.ToDatacenter,
		About:   "Shows each other datacenter as a server sees it: the state (up, degraded, unreachable, removed, left) and why, round trip,\nloss, connections, who leads there. With -all every datacenter is asked for its view.",
		Example: "legate federation status\nlegate federation status -all\nlegate federation status -datacenter=dc2 -json",
		New:     func() command.Action { return &federationAction{} },
	}
}

// FederationList is the command federation list.
func FederationList() command.Command {
	return command.Command{
		Name: "federation list", Synopsis: "List the datacenters and their states", Access: command.ToDatacenter,
		About:   "Lists the datacenters of the federation and those that were removed from it.",
		Example: "legate federation list",
		New:     func() command.Action { return &federationAction{list: true} },
	}
}

type federationAction struct {
	list, all, json bool
}

func (a *federationAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.json, "json", false, "write JSON.")
	if !a.list {
		fs.BoolVar(&a.all, "all", false, "show the view of each datacenter.")
	}
}

func (a *federationAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if a.list {
		return listDatacenters(c.Stdout, client, a.json, c.Client.Query())
	}
	return showFederation(c.Stdout, client, show{All: a.all, JSON: a.json}, c.Client.Query())
}

// FederationRemove is the command federation remove.
func FederationRemove() command.Command {
	return command.Command{
		Name: "federation remove", Synopsis: "Remove a datacenter from the federation", Args: "DATACENTER", Min: 1, Max: 1, Access: command.ToAgent,
		About:   "Removes a datacenter that is gone for good: its servers are no longer asked, and refused if they come back, until\nlegate federation allow. One that still answers is removed with -force only.",
		Example: "legate federation remove dc3",
		New:     func() command.Action { return &membershipAction{status.Membership{Removed: true}} },
	}
}

// FederationAllow is the command federation allow.
func FederationAllow() command.Command {
	return command.Command{
		Name: "federation allow", Synopsis: "Allow a datacenter that was removed to come back", Args: "DATACENTER", Min: 1, Max: 1, Access: command.ToAgent,
		About:   "Takes back legate federation remove. The servers of the datacenter join again by themselves, or with legate join -wan.",
		Example: "legate federation allow dc3",
		New:     func() command.Action { return &membershipAction{} },
	}
}

type membershipAction struct{ status.Membership }

func (a *membershipAction) Flags(fs *flag.FlagSet) {
	if a.Removed {
		fs.BoolVar(&a.Force, "force", false, "remove it although it answers.")
	}
}

func (a *membershipAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	a.Datacenter = args[0]
	if err := changeMembership(c.Stdout, client, &a.Membership); err != nil {
		return fmt.Errorf("change the membership of %s: %w", args[0], err)
	}
	return nil
}

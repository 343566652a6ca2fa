package main

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/federated"
	"github.com/legate-project/legate/cmd/legate/membertable"
)

// clusterCommands are the commands about the members and the agent itself.
func clusterCommands() []row {
	return []row{
		{name: "join", synopsis: "Join other agents", args: "ADDRESS...", min: 1, max: -1, remote: toAgent,
			about:   "Tells the local agent to join the datacenter of the agents at the addresses or, with -wan, the federation of\nthe servers there. One address that answers is enough.",
			example: "legate join 10.0.0.7\nlegate join -wan 192.0.2.10:8302",
			action:  func(*app) action { return &joinAction{} }},
		{name: "members", synopsis: "List the members of the datacenter or federation", remote: toAgent,
			about:   "Lists the members that the local agent knows by gossip. The exit code is 2 if none matches.",
			example: "legate members\nlegate members -wan\nlegate members -status='alive|failed' -detailed",
			action:  func(*app) action { return &membersAction{} }},
		{name: "info", synopsis: "Show numbers about the running agent", remote: toAgent,
			about:   "Shows what the local agent reports about itself, by section.",
			example: "legate info",
			action:  func(*app) action { return infoAction{} }},
		{name: "leave", synopsis: "Leave the datacenter gracefully and stop the agent", remote: toAgent,
			about:   "Tells the local agent to leave and to stop, so that others do not take it for failed. With -wan a server leaves\nthe federation only, until it is joined again (legate join -wan) or restarted; with -all as well, all servers of its datacenter do.",
			example: "legate leave\nlegate leave -wan -all",
			action:  func(*app) action { return &leaveAction{} }},
		{name: "force-leave", synopsis: "Mark a failed member as left", args: "NODE", min: 1, max: 1, remote: toAgent,
			about:   "Marks a failed member as left; a member that is alive comes back by itself. With -wan the name is node.datacenter.",
			example: "legate force-leave web-3\nlegate force-leave -prune web-3",
			action:  func(*app) action { return &forceLeaveAction{} }},
		{name: "reload", synopsis: "Tell the agent to read its configuration again", remote: toAgent,
			about:   "Tells the local agent to read its configuration files again. Errors are in its log.",
			example: "legate reload",
			action:  func(*app) action { return reloadAction{} }},
		monitorRow(),
	}
}

type joinAction struct{ wan bool }

func (a *joinAction) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "join the servers of another datacenter.")
}

func (a *joinAction) run(c *call, args []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	joined := 0
	for _, addr := range args {
		if err := client.Agent().Join(addr, a.wan); err != nil {
			fmt.Fprintf(c.stderr, "Error joining address '%s': %s\n", addr, c.client.explain(err))
			continue
		}
		joined++
	}
	if joined == 0 {
		return &exit{code: exitError, text: "failed to join any nodes"}
	}
	fmt.Fprintf(c.stdout, "Successfully joined cluster by contacting %d nodes.\n", joined)
	return nil
}

type membersAction struct {
	wan, detailed           bool
	status, segment, filter string
}

func (a *membersAction) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "list the servers of all datacenters.")
	fs.BoolVar(&a.detailed, "detailed", false, "show the tags.")
	fs.StringVar(&a.status, "status", ".*", "only members whose status matches this `regexp`.")
	fs.StringVar(&a.segment, "segment", "_all", "network `segment` of Consul's enterprise edition, passed on.")
	fs.StringVar(&a.filter, "filter", "", "filter `expression`, evaluated by the agent.")
}

func (a *membersAction) run(c *call, _ []string) error {
	status, err := regexp.Compile(a.status)
	if err != nil {
		return fmt.Errorf("read -status: %w", err)
	}
	client, err := c.client.open()
	if err != nil {
		return err
	}
	opts := api.MembersOpts{WAN: a.wan, Filter: a.filter, Segment: a.segment}
	members, err := client.Agent().MembersOpts(opts)
	if err != nil {
		return fmt.Errorf("list members: %w", err)
	}
	sort.Slice(members, func(i, j int) bool { return members[i].Name < members[j].Name })
	rows := [][]string{strings.Fields("Node Address Status Type Build Protocol DC Partition Segment")}
	if a.detailed {
		rows = [][]string{strings.Fields("Node Address Status Tags")}
	}
	for _, m := range members {
		if !status.MatchString(membertable.Status(m.Status)) {
			continue
		}
		if a.detailed {
			rows = append(rows, []string{m.Name, membertable.Addr(m), membertable.Status(m.Status), membertable.Tags(m.Tags)})
			continue
		}
		rows = append(rows, membertable.Row(m))
	}
	if len(rows) == 1 {
		return &exit{code: exitNoneFound}
	}
	return table(c.stdout, rows)
}

// noFlags is for commands without flags of their own.
type noFlags struct{}

func (noFlags) flags(*flag.FlagSet) {}

type infoAction struct{ noFlags }

func (infoAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	self, err := client.Agent().Self()
	if err != nil {
		return fmt.Errorf("ask the agent about itself: %w", err)
	}
	stats := self["Stats"]
	if len(stats) == 0 {
		return fmt.Errorf("the agent reports nothing about itself")
	}
	for _, name := range sortedKeys(stats) {
		section, ok := stats[name].(map[string]any)
		if !ok {
			return fmt.Errorf("the agent's report about %q has an unknown shape", name)
		}
		fmt.Fprintf(c.stdout, "%s:\n", name)
		for _, key := range sortedKeys(section) {
			fmt.Fprintf(c.stdout, "\t%s = %v\n", key, section[key])
		}
	}
	return nil
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

type leaveAction struct{ wan, all bool }

func (a *leaveAction) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "leave the federation, not the datacenter, and go on.")
	fs.BoolVar(&a.all, "all", false, "with -wan: all servers of the datacenter.")
}

func (a *leaveAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	switch {
	case err != nil:
		return err
	case a.wan:
		return federated.Leave(c.stdout, client, a.all)
	case a.all:
		return errors.New("-all goes with -wan only")
	}
	if err := client.Agent().Leave(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	fmt.Fprintln(c.stdout, "Graceful leave complete")
	return nil
}

type forceLeaveAction struct{ prune, wan bool }

func (a *forceLeaveAction) flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.prune, "prune", false, "forget the member at once.")
	fs.BoolVar(&a.wan, "wan", false, "only in the federation, by the name node.datacenter.")
}

func (a *forceLeaveAction) run(c *call, args []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	if err := client.Agent().ForceLeaveOpts(args[0], api.ForceLeaveOpts{Prune: a.prune, WAN: a.wan}); err != nil {
		return fmt.Errorf("force %s to leave: %w", args[0], err)
	}
	return nil
}

type reloadAction struct{ noFlags }

func (reloadAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	if err := client.Agent().Reload(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	fmt.Fprintln(c.stdout, "Configuration reload triggered")
	return nil
}

// Package clustercmd is about the members of a datacenter and of the federation: who
// they are, how far they are from each other, who joins and who leaves.
package clustercmd

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Join is the command join.
func Join() command.Command {
	return command.Command{
		Name: "join", Synopsis: "Join other agents", Args: "ADDRESS...", Min: 1, Max: -1, Access: command.ToAgent,
		About:   "Tells the local agent to join the datacenter of the agents at the addresses or, with -wan, the federation of\nthe servers there. One address that answers is enough.",
		Example: "legate join 10.0.0.7\nlegate join -wan 192.0.2.10:8302",
		New:     func() command.Action { return &joinAction{} },
	}
}

type joinAction struct{ wan bool }

func (a *joinAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "join the servers of another datacenter.")
}

func (a *joinAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	joined := 0
	for _, addr := range args {
		if err := client.Agent().Join(addr, a.wan); err != nil {
			fmt.Fprintf(c.Stderr, "Error joining address '%s': %s\n", addr, c.Client.Explain(err))
			continue
		}
		joined++
	}
	if joined == 0 {
		return &command.Exit{Code: command.ExitError, Text: "failed to join any nodes"}
	}
	fmt.Fprintf(c.Stdout, "Successfully joined cluster by contacting %d nodes.\n", joined)
	return nil
}

// Members is the command members.
func Members() command.Command {
	return command.Command{
		Name: "members", Synopsis: "List the members of the datacenter or federation", Access: command.ToAgent,
		About:   "Lists the members that the local agent knows by gossip. The exit code is 2 if none matches.",
		Example: "legate members\nlegate members -wan\nlegate members -status='alive|failed' -detailed",
		New:     func() command.Action { return &membersAction{} },
	}
}

type membersAction struct {
	wan, detailed           bool
	status, segment, filter string
}

func (a *membersAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "list the servers of all datacenters.")
	fs.BoolVar(&a.detailed, "detailed", false, "show the tags.")
	fs.StringVar(&a.status, "status", ".*", "only members whose status matches this `regexp`.")
	fs.StringVar(&a.segment, "segment", "_all", "network `segment` of Consul's enterprise edition, passed on.")
	fs.StringVar(&a.filter, "filter", "", "filter `expression`, evaluated by the agent.")
}

func (a *membersAction) Run(c *command.Call, _ []string) error {
	status, err := regexp.Compile(a.status)
	if err != nil {
		return fmt.Errorf("read -status: %w", err)
	}
	client, err := c.Client.Open()
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
		if !status.MatchString(memberStatus(m.Status)) {
			continue
		}
		if a.detailed {
			rows = append(rows, []string{m.Name, memberAddr(m), memberStatus(m.Status), memberTags(m.Tags)})
			continue
		}
		rows = append(rows, memberRow(m))
	}
	if len(rows) == 1 {
		return &command.Exit{Code: command.ExitNoMatch}
	}
	return command.Table(c.Stdout, rows)
}

// Leave is the command leave.
func Leave() command.Command {
	return command.Command{
		Name: "leave", Synopsis: "Leave the datacenter gracefully and stop the agent", Access: command.ToAgent,
		About:   "Tells the local agent to leave and to stop, so that others do not take it for failed. With -wan a server leaves\nthe federation only, until it is joined again (legate join -wan) or restarted; with -all as well, all servers of its datacenter do.",
		Example: "legate leave\nlegate leave -wan -all",
		New:     func() command.Action { return &leaveAction{} },
	}
}

type leaveAction struct{ wan, all bool }

func (a *leaveAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.wan, "wan", false, "leave the federation, not the datacenter, and go on.")
	fs.BoolVar(&a.all, "all", false, "with -wan: all servers of the datacenter.")
}

func (a *leaveAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	switch {
	case err != nil:
		return err
	case a.wan:
		return leaveFederation(c.Stdout, client, a.all)
	case a.all:
		return errors.New("-all goes with -wan only")
	}
	if err := client.Agent().Leave(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	fmt.Fprintln(c.Stdout, "Graceful leave complete")
	return nil
}

// ForceLeave is the command force-leave.
func ForceLeave() command.Command {
	return command.Command{
		Name: "force-leave", Synopsis: "Mark a failed member as left", Args: "NODE", Min: 1, Max: 1, Access: command.ToAgent,
		About:   "Marks a failed member as left; a member that is alive comes back by itself. With -wan the name is node.datacenter.",
		Example: "legate force-leave web-3\nlegate force-leave -prune web-3",
		New:     func() command.Action { return &forceLeaveAction{} },
	}
}

type forceLeaveAction struct{ prune, wan bool }

func (a *forceLeaveAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.prune, "prune", false, "forget the member at once.")
	fs.BoolVar(&a.wan, "wan", false, "only in the federation, by the name node.datacenter.")
}

func (a *forceLeaveAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if err := client.Agent().ForceLeaveOpts(args[0], api.ForceLeaveOpts{Prune: a.prune, WAN: a.wan}); err != nil {
		return fmt.Errorf("force %s to leave: %w", args[0], err)
	}
	return nil
}

// Reload is the command reload.
func Reload() command.Command {
	return command.Command{
		Name: "reload", Synopsis: "Tell the agent to read its configuration again", Access: command.ToAgent,
		About:   "Tells the local agent to read its configuration files again. Errors are in its log.",
		Example: "legate reload",
		New:     func() command.Action { return reloadAction{} },
	}
}

type reloadAction struct{ command.NoFlags }

func (reloadAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if err := client.Agent().Reload(); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	fmt.Fprintln(c.Stdout, "Configuration reload triggered")
	return nil
}

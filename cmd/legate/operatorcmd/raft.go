// Package operatorcmd has the commands for those who operate servers.
package operatorcmd

import (
	"errors"
	"flag"
	"fmt"
	"strconv"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Commands lists them all.
func Commands() []command.Command {
	return []command.Command{
		command.Group("operator", "Look at the servers of a datacenter and change who they are"),
		command.Group("operator raft", "Look at the consensus group, remove servers, have another one lead"),
		ListPeers(), RemovePeer(), TransferLeader(), Recover(),
		command.Group("operator autopilot", "See how the servers are, and say how they are looked after"),
		GetConfig(), SetConfig(), ShowState(),
		command.Group("operator usage", "Count what is in the catalog"),
		UsageInstances(),
	}
}

// ListPeers is the command operator raft list-peers.
func ListPeers() command.Command {
	return command.Command{
		Name: "operator raft list-peers", Synopsis: "List the servers of the consensus group", Access: command.ToDatacenter,
		About: "Lists the servers of the consensus group with where the log of each ends and how many entries it lacks of the leader's.\n" +
			"With -stale any server answers, also without a leader; it knows of its own log alone.",
		Example: "legate operator raft list-peers",
		New:     func() command.Action { return listPeers{} },
	}
}

type listPeers struct{}

func (listPeers) Flags(*flag.FlagSet) {}

func (listPeers) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	group, err := servers(client, c.Client.Query())
	if err != nil {
		return err
	}
	rows := [][]string{{"Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index", "Trails Leader By"}}
	var leads uint64
	for _, s := range group {
		if s.Leader {
			leads = s.LastIndex
		}
	}
	for _, s := range group {
		state, index, trails := "follower", "-", "-"
		if s.LastIndex > 0 {
			index = strconv.FormatUint(s.LastIndex, 10)
		}
		switch {
		case s.Leader:
			state = "leader"
		case s.LastIndex > 0 && leads > 0:
			trails = commits(leads - min(leads, s.LastIndex))
		}
		rows = append(rows, []string{command.Printable(s.Node), s.ID, s.Address, state, strconv.FormatBool(s.Voter), s.ProtocolVersion, index, trails})
	}
	return command.Table(c.Stdout, rows)
}

// servers are those of the consensus group.
func servers(client *api.Client, q *api.QueryOptions) ([]*api.RaftServer, error) {
	group, err := client.Operator().RaftGetConfiguration(q)
	if err != nil {
		return nil, fmt.Errorf("ask for the consensus group: %w", err)
	}
	return group.Servers, nil
}

func commits(n uint64) string {
	if n == 1 {
		return "1 commit"
	}
	return strconv.FormatUint(n, 10) + " commits"
}

// RemovePeer is the command operator raft remove-peer.
func RemovePeer() command.Command {
	return command.Command{
		Name: "operator raft remove-peer", Synopsis: "Take a server that is gone for good out of the consensus group", Access: command.ToAgent,
		About: "Takes a server that died or was lost out of the consensus group, so that it counts for no majority any more. A server that\n" +
			"lives leaves by itself (legate leave): removed like this it would be added again.",
		Example: "legate operator raft remove-peer -id=d7fc2fed-db6f-45f3-a0f4-19232a1d2864\nlegate operator raft remove-peer -address=10.0.0.7:8300",
		New:     func() command.Action { return &removePeer{} },
	}
}

type removePeer struct{ id, address string }

func (a *removePeer) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.id, "id", "", "the `ID` of the server, as list-peers shows it.")
	fs.StringVar(&a.address, "address", "", "its `address`, host:port, as list-peers shows it.")
}

func (a *removePeer) Run(c *command.Call, _ []string) error {
	if (a.id == "") == (a.address == "") {
		return errors.New("say which server: either -id or -address, as list-peers shows them")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	id, what := a.id, fmt.Sprintf("id %q", a.id)
	if a.address != "" {
		group, err := servers(client, nil)
		if err != nil {
			return err
		}
		for _, s := range group {
			if s.Address == a.address {
				id = s.ID
			}
		}
		what = fmt.Sprintf("address %q", a.address)
		if err := client.Operator().RaftRemovePeerByAddress(a.address, nil); err != nil {
			return fmt.Errorf("remove the server: %w", err)
		}
	} else if err := client.Operator().RaftRemovePeerByID(a.id, nil); err != nil {
		return fmt.Errorf("remove the server: %w", err)
	}
	fmt.Fprintln(c.Stdout, "Removed peer with", what)
	if alive(client, id) {
		fmt.Fprintln(c.Stderr, "It is alive, so it will be added again: have it leave (legate leave, on that machine) or stop it.")
	}
	return nil
}

// alive reports whether gossip has a live server with the ID, as far as the agent tells.
func alive(client *api.Client, id string) bool {
	members, err := client.Agent().Members(false)
	if err != nil {
		return false
	}
	const aliveStatus = 1
	for _, m := range members {
		if m.Tags["id"] == id && m.Status == aliveStatus {
			return true
		}
	}
	return false
}

// TransferLeader is the command operator raft transfer-leader.
func TransferLeader() command.Command {
	return command.Command{
		Name: "operator raft transfer-leader", Synopsis: "Have another server lead", Access: command.ToAgent,
		About: "Hands leadership of the datacenter over to the server with -id, or to the one that has the most of the log. Writes wait for\n" +
			"less than a fifth of a second meanwhile.",
		Example: "legate operator raft transfer-leader",
		New:     func() command.Action { return &transferLeader{} },
	}
}

type transferLeader struct{ id string }

func (a *transferLeader) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.id, "id", "", "the `ID` of the server that is to lead, as list-peers shows it.")
}

func (a *transferLeader) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	done, err := client.Operator().RaftLeaderTransfer(a.id, nil)
	if err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	if !done.Success {
		return errors.New("leadership was not transferred")
	}
	fmt.Fprintln(c.Stdout, "Success")
	return nil
}

package clustercmd

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/state/acl"
)

// FederationPrimary is the command federation primary.
func FederationPrimary() command.Command {
	return command.Command{
		Name: "federation primary", Synopsis: "Show or move the home of access control", Args: "[DATACENTER]", Max: 1, Access: command.ToAgent,
		About: "Policies, roles, auth methods, binding rules and global tokens are written in one datacenter, the home, and copied to all.\n" +
			"Without DATACENTER shows which one it is and how the copies of each datacenter stand. With it, has the home hand its role\n" +
			"over to DATACENTER: nothing that was written is lost, and writes wait for less than a second. With -force DATACENTER\n" +
			"takes the role over from a home that is gone for good; what was written there and not copied is lost.",
		Example: "legate federation primary dc2",
		New:     func() command.Action { return &primaryAction{} },
	}
}

type primaryAction struct {
	force, json bool
}

func (a *primaryAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.force, "force", false, "take the role over from a home that does not answer any more.")
	fs.BoolVar(&a.json, "json", false, "write JSON.")
}

func (a *primaryAction) Run(c *command.Call, args []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return a.move(c.Stdout, client, args[0])
	}
	if a.force {
		return fmt.Errorf("-force needs the datacenter that is to be the home")
	}
	var all acl.Standings
	if _, err := client.Raw().Query("/v1/federation/primary", &all, nil); err != nil {
		return err
	}
	if a.json {
		return command.JSON(c.Stdout, all)
	}
	return writeStandings(c.Stdout, &all, time.Now())
}

func (a *primaryAction) move(w io.Writer, client *api.Client, to string) error {
	var done acl.Moving
	if _, err := client.Raw().Write("/v1/federation/primary/"+url.PathEscape(to), acl.MoveRequest{Force: a.force}, &done, nil); err != nil {
		return fmt.Errorf("make %s the home of access control: %w", to, err)
	}
	if a.json {
		return command.JSON(w, done)
	}
	fmt.Fprintf(w, "Datacenter %s is the home of access control", command.Printable(done.Home))
	if done.From != done.Home {
		fmt.Fprintf(w, " now, after %s", command.Printable(done.From))
	}
	fmt.Fprintf(w, ".\n%d %s it now.\n", done.Told, oneOr(done.Told, "server knows", "servers know"))
	if len(done.Missed) > 0 {
		fmt.Fprintf(w, "These did not answer and will learn it by gossip: %s\n", command.Printable(strings.Join(done.Missed, ", ")))
	}
	return nil
}

// writeStandings writes who is home and how the copies stand.
func writeStandings(w io.Writer, all *acl.Standings, now time.Time) error {
	fmt.Fprintf(w, "The home of access control is %s", command.Printable(all.Home))
	if all.Version == 0 {
		fmt.Fprint(w, ", as configured (primary_datacenter).\n")
	} else {
		fmt.Fprintf(w, ", since %s, by %s.\n", time.UnixMilli(all.Version).UTC().Format(time.RFC3339), command.Printable(cmp.Or(all.By, none)))
	}
	if all.Moving != "" {
		fmt.Fprintf(w, "Its role is being given to %s.\n", command.Printable(all.Moving))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "Datacenter\tCopies\tIndex of the home\tKnown to be current\tLast error")
	for i := range all.Datacenters {
		fmt.Fprintln(t, strings.Join(standingCells(all.Home, &all.Datacenters[i], now), "\t"))
	}
	return t.Flush()
}

func standingCells(home string, s *acl.Standing, now time.Time) []string {
	cells := []string{s.Datacenter, "followed", strconv.FormatUint(s.ReplicatedIndex, 10), none, cmp.Or(s.LastErrorMessage, none)}
	switch {
	case s.Error != "":
		cells = []string{s.Datacenter, "unknown", none, none, s.Error}
	case s.Datacenter == home:
		cells = []string{s.Datacenter, "home", none, none, cmp.Or(s.LastErrorMessage, none)}
	case s.Home == s.Datacenter:
		cells = []string{s.Datacenter, "takes itself for the home", none, none, cmp.Or(s.LastErrorMessage, none)}
	case !s.Enabled:
		cells = []string{s.Datacenter, "off", none, none, none}
	case s.Home != "" && s.Home != home:
		cells[1] = "takes " + s.Home + " for the home"
	case !s.Running:
		cells[1] = "not followed"
	}
	if s.Enabled && !s.LastSuccess.IsZero() {
		cells[3] = age(now.Sub(s.LastSuccess)) + " ago"
	}
	for i := range cells {
		cells[i] = command.Printable(cells[i])
	}
	return cells
}

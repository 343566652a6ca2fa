package clustercmd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/replication"
	"github.com/legate-project/legate/state/status"
)

// show says what to show of the federation.
type show struct {
	All  bool // the view of each datacenter, not only of the one asked
	JSON bool
}

// showFederation writes how the federation is seen.
func showFederation(w io.Writer, client *api.Client, what show, q *api.QueryOptions) error {
	var views []status.View
	if _, err := client.Raw().Query("/v1/federation/status", &views, q); err != nil {
		return err
	}
	if !what.All && len(views) > 1 {
		views = views[:1]
	}
	if what.JSON {
		return command.JSON(w, views)
	}
	for i, v := range views {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := writeView(w, &v, time.Now()); err != nil {
			return err
		}
	}
	return writeKeys(w, client, q)
}

// writeKeys says of each rule by which keys of other datacenters are copied here how far behind
// they are. An agent of an earlier version has none.
func writeKeys(w io.Writer, client *api.Client, q *api.QueryOptions) error {
	var list replication.Listing
	_, err := client.Raw().Query("/v1/operator/kv-replication", &list, q)
	if answer, ok := errors.AsType[api.StatusError](err); ok && answer.Code == http.StatusNotFound {
		return nil
	}
	if err != nil {
		fmt.Fprintf(w, "Which keys of other datacenters are copied is not known: %v\n", err)
		return nil
	}
	for i := range list.Rules {
		r := &list.Rules[i]
		fmt.Fprintf(w, "Keys %q of %s at %q: %s, %s and %d behind, %s came, %d conflicts%s\n", r.Prefix, command.Printable(r.Datacenter), r.Target, r.State,
			age(time.Duration(r.LagSeconds*float64(time.Second))), r.LagEntries, bytes(r.Bytes), r.Conflicts, because(r.Error))
	}
	return nil
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + command.Printable(why)
}

func writeView(w io.Writer, v *status.View, now time.Time) error {
	if v.Error != "" {
		_, err := fmt.Fprintf(w, "%s has not said how it sees the others: %s\n", command.Printable(v.Datacenter), command.Printable(v.Error))
		return err
	}
	leader := "led by " + v.Leader
	if v.Leader == "" {
		leader = "which has no leader"
	}
	fmt.Fprintf(w, "Datacenter %s, %s, as %s sees the others:\n", command.Printable(v.Datacenter), command.Printable(leader), command.Printable(v.Server))
	if v.Home != "" {
		fmt.Fprintf(w, "The home of access control is %s (legate federation primary shows more).\n", command.Printable(v.Home))
	}
	writeReach(w, v.Datacenter, v.Gateways, v.Carries)
	writeFailing(w, v)
	if len(v.Links) == 0 {
		_, err := fmt.Fprintln(w, "no other datacenter is known: legate join -wan joins one; of those in retry_join_wan the log says why they do not answer")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "Datacenter\tState\tPath\tRound trip\tLoss\tServers\tLeader\tConns\tStreams\tSent\tRead\tBreaker\tLast contact\tViews\tOldest\tVersions")
	for i := range v.Links {
		fmt.Fprintln(t, strings.Join(linkCells(&v.Links[i], len(v.Gateways) > 0, now), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range v.Links {
		writeReach(w, l.Datacenter, l.Gateways, l.Carries)
		if l.Reason != "" {
			fmt.Fprintf(w, "%s is %s: %s\n", command.Printable(l.Datacenter), command.Printable(l.State), command.Printable(l.Reason))
		}
		if l.OtherHome != "" {
			fmt.Fprintf(w, "%s takes %s for the home of access control, not %s: have primary_datacenter name the same one on all servers.\n",
				command.Printable(l.Datacenter), command.Printable(l.OtherHome), command.Printable(v.Home))
		}
		if l.LastError != "" && l.State == status.Unreachable {
			fmt.Fprintf(w, "%s: the last error was: %s\n", command.Printable(l.Datacenter), command.Printable(l.LastError))
		}
	}
	return nil
}

// none stands for what is unknown.
const none = "-"

// writeReach says how a datacenter is reached, if that is not at its servers, and whether it
// carries for others.
func writeReach(w io.Writer, datacenter string, gateways []string, carries bool) {
	if len(gateways) > 0 {
		fmt.Fprintf(w, "%s is reached through its gateways: %s\n", command.Printable(datacenter), command.Printable(strings.Join(gateways, ", ")))
	}
	if carries {
		fmt.Fprintf(w, "%s carries what others say to each other.\n", command.Printable(datacenter))
	}
}

// writeFailing says which gateways do not carry for the server that shows a view, and which do
// so over TCP alone.
func writeFailing(w io.Writer, v *status.View) {
	failing := 0
	for _, g := range v.Registrations {
		switch {
		case g.Error != "":
			failing++
			fmt.Fprintf(w, "%s is not reached through the gateway %s: %s\n", command.Printable(v.Server), command.Printable(g.Gateway), command.Printable(g.Error))
		case g.TCP:
			fmt.Fprintf(w, "%s reaches the gateway %s by TCP: UDP does not get through\n", command.Printable(v.Server), command.Printable(g.Gateway))
		}
	}
	if failing > 0 && failing == len(v.Registrations) {
		fmt.Fprintf(w, "Other datacenters do not reach %s: none of its gateways carries for it\n", command.Printable(v.Server))
	}
}

// linkCells are the cells of a datacenter, as one sees it that is behind gateways itself or not.
func linkCells(l *status.Link, behind bool, now time.Time) []string {
	cells := []string{l.Datacenter, l.State}
	if l.State == status.Removed || l.State == status.Left {
		for range 14 {
			cells = append(cells, none)
		}
	} else {
		trip, loss, oldest, contact, path := none, none, none, "never", "direct"
		switch {
		case len(l.Through) > 0:
			path = "through " + strings.Join(l.Through, ", ")
		case l.State == status.Unreachable:
			path = none
		case behind || len(l.Gateways) > 0:
			path = "by gateways"
		}
		if l.RoundTripMS > 0 {
			trip, loss = fmt.Sprintf("%.1f ms", l.RoundTripMS), fmt.Sprintf("%.1f %%", 100*l.Loss)
		}
		if d := time.Duration(l.OldestAgeMS * float64(time.Millisecond)); l.Views > 0 && d < op.Longest { // else nobody knows
			oldest = age(d)
		}
		if !l.LastContact.IsZero() {
			contact = age(now.Sub(l.LastContact)) + " ago"
		}
		cells = append(cells, path, trip, loss, fmt.Sprintf("%d of %d", l.Answering, l.Servers), cmp.Or(l.Leader, none), strconv.Itoa(l.Connections),
			strconv.Itoa(l.Streams), bytes(l.BytesSent), bytes(l.BytesRead), l.Breaker, contact, strconv.Itoa(l.Views), oldest,
			cmp.Or(strings.Join(l.Versions, ","), none))
	}
	for i := range cells {
		cells[i] = command.Printable(cells[i])
	}
	return cells
}

// age is a time in the unit that shows it best.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// bytes is a count of bytes in the unit that shows it best.
func bytes(n uint64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// listDatacenters writes the names and states of the datacenters.
func listDatacenters(w io.Writer, client *api.Client, asJSON bool, q *api.QueryOptions) error {
	var list []status.Named
	if _, err := client.Raw().Query("/v1/federation/datacenters", &list, q); err != nil {
		return err
	}
	if asJSON {
		return command.JSON(w, list)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "Datacenter\tState\tReason")
	for _, d := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", command.Printable(d.Datacenter), command.Printable(d.State), cmp.Or(command.Printable(d.Reason), none))
	}
	return t.Flush()
}

// changeMembership removes a datacenter or allows it again, and says who knows.
func changeMembership(w io.Writer, client *api.Client, req *status.Membership) error {
	var done status.Changed
	if _, err := client.Raw().Write("/v1/federation/datacenters/"+req.Datacenter, req, &done, nil); err != nil {
		return err
	}
	if req.Removed {
		fmt.Fprintf(w, "Datacenter %s is removed from the federation: its servers are refused until it is allowed again\n(legate federation allow %s).\n", req.Datacenter, req.Datacenter)
	} else {
		fmt.Fprintf(w, "Datacenter %s is allowed in the federation. Its servers come back by themselves within a minute if they run;\nlegate join -wan brings them back at once.\n", req.Datacenter)
	}
	fmt.Fprintf(w, "%d %s it now.\n", done.Told, oneOr(done.Told, "server knows", "servers know"))
	if len(done.Missed) > 0 {
		fmt.Fprintf(w, "These did not answer and will learn it by gossip: %s\n", command.Printable(strings.Join(done.Missed, ", ")))
	}
	return nil
}

// leaveFederation has the server that is asked leave the federation and stay in its
// datacenter, or all servers of the datacenter.
func leaveFederation(w io.Writer, client *api.Client, all bool) error {
	var done status.Changed
	if _, err := client.Raw().Write("/v1/federation/leave", status.QuitRequest{All: all}, &done, nil); err != nil {
		return fmt.Errorf("leave the federation: %w", err)
	}
	fmt.Fprintf(w, "%d %s datacenter. legate join -wan takes %s back.\n", done.Told,
		oneOr(done.Told, "server left the federation and stays in its", "servers left the federation and stay in their"), oneOr(done.Told, "it", "them"))
	if len(done.Missed) > 0 {
		return fmt.Errorf("these did not leave: %s", command.Printable(strings.Join(done.Missed, ", ")))
	}
	return nil
}

// measured is a line about what the server that answers has measured between two;
// it is an error if it is neither of them.
func measured(client *api.Client, names []string) (string, error) {
	var views []status.View
	if _, err := client.Raw().Query("/v1/federation/status", &views, nil); err != nil {
		return "", fmt.Errorf("ask what was measured: %w", err)
	}
	self := ""
	for _, v := range views[:min(len(views), 1)] {
		self = v.Server + "." + v.Datacenter
		for i, name := range names {
			other := names[len(names)-1-i]
			for _, p := range v.Probes {
				if name == self && p.Server == other && other != self {
					return fmt.Sprintf("Measured %s -> %s rtt: %.3f ms (median of the last gossip probes)\n", command.Printable(self), command.Printable(other), p.RoundTripMS), nil
				}
			}
		}
	}
	return "", fmt.Errorf("the server that answers (%s) has measured no round trip between them: ask the agent of one of the two", command.Printable(self))
}

// oneOr is the words that go with a number.
func oneOr(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

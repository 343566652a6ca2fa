// Package failovercmd says which datacenters stand in for services of this one, and why a
// name is answered from where it is.
package failovercmd

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/httpapi/failover"
	"github.com/legate-project/legate/op"
	state "github.com/legate-project/legate/state/failover"
)

const path = "/v1/failover"

// Commands lists the commands of this package.
func Commands() []command.Command {
	return []command.Command{command.Group("failover", "Say which datacenters stand in for services"), list(), set(), remove(), explain()}
}

func list() command.Command {
	return command.Command{
		Name: "failover list", Synopsis: "List the services that other datacenters stand in for", Access: command.ToDatacenter,
		About:   "Lists the rules by which services of a datacenter fail over: the longest that matches the name of a service counts.",
		Example: "legate failover list\nlegate failover list -format=json",
		New:     func() command.Action { return &listAction{} },
	}
}

type listAction struct{ format string }

func (a *listAction) Flags(fs *flag.FlagSet) { formatFlag(fs, &a.format) }

func (a *listAction) Run(c *command.Call, _ []string) error {
	client, err := open(c, a.format)
	if err != nil {
		return err
	}
	var rules state.Rules
	if _, err := client.Raw().Query(path, &rules, c.Client.Query()); err != nil {
		return fmt.Errorf("list the rules: %w", err)
	}
	if a.format == "json" {
		return command.JSON(c.Stdout, rules)
	}
	if len(rules) == 0 {
		fmt.Fprintln(c.Stderr, "No service fails over.")
		return nil
	}
	rows := [][]string{{"Service", "Datacenters"}}
	for _, r := range rules {
		rows = append(rows, []string{r.Service, strings.Join(r.Datacenters, ", ")})
	}
	return command.Table(c.Stdout, rows)
}

func set() command.Command {
	return command.Command{
		Name: "failover set", Synopsis: "Have datacenters stand in for a service", Access: command.ToDatacenter,
		About: "Has other datacenters answer for a service while this one has no healthy instance of it: names without a datacenter, as\n" +
			"web.service.consul, and HTTP questions for passing instances that name none. A service that ends in * is all that begin so;\n" +
			"the longest that matches counts. The rule is kept in the state of the datacenter and takes the place of the one before.",
		Example: "legate failover set -service=web -to=nearest\nlegate failover set -service='shop-*' -to=dc2,dc3,nearest",
		New:     func() command.Action { return &setAction{} },
	}
}

type setAction struct{ service, to string }

func (a *setAction) Flags(fs *flag.FlagSet) {
	serviceFlag(fs, &a.service)
	fs.StringVar(&a.to, "to", "", "`datacenters`, separated by commas, in the order in which they are looked at; the last may be nearest.")
}

func (a *setAction) Run(c *command.Call, _ []string) error {
	if a.service == "" || a.to == "" {
		return errors.New("want -service and -to")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	var datacenters []string
	for dc := range strings.SplitSeq(a.to, ",") {
		datacenters = append(datacenters, strings.TrimSpace(dc))
	}
	var rule state.Rule
	body := map[string][]string{"Datacenters": datacenters}
	if _, err := client.Raw().Write(at(a.service), body, &rule, &api.WriteOptions{Datacenter: c.Client.Datacenter}); err != nil {
		return fmt.Errorf("set the rule for %s: %w", a.service, err)
	}
	fmt.Fprintf(c.Stdout, "%s fails over to %s\n", rule.Service, strings.Join(rule.Datacenters, ", "))
	known, err := client.Catalog().Datacenters()
	if err != nil {
		return fmt.Errorf("list the datacenters: %w", err)
	}
	for _, dc := range rule.Datacenters {
		if dc != op.Nearest && !slices.Contains(known, dc) {
			fmt.Fprintf(c.Stderr, "Warning: no datacenter %s is known here now\n", dc)
		}
	}
	return nil
}

func remove() command.Command {
	return command.Command{
		Name: "failover delete", Synopsis: "Have nobody stand in for a service any more", Access: command.ToDatacenter,
		About:   "Takes a rule away. What it was for fails over no more, or by a rule with a shorter beginning.",
		Example: "legate failover delete -service=web",
		New:     func() command.Action { return &deleteAction{} },
	}
}

type deleteAction struct{ service string }

func (a *deleteAction) Flags(fs *flag.FlagSet) { serviceFlag(fs, &a.service) }

func (a *deleteAction) Run(c *command.Call, _ []string) error {
	if a.service == "" {
		return errors.New("want -service")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	if _, err := client.Raw().Delete(at(a.service), &api.QueryOptions{Datacenter: c.Client.Datacenter}); err != nil {
		return fmt.Errorf("delete the rule for %s: %w", a.service, err)
	}
	_, err = fmt.Fprintf(c.Stdout, "There is no rule for %s\n", a.service)
	return err
}

func explain() command.Command {
	return command.Command{
		Name: "failover explain", Synopsis: "Say why a service is answered from where it is", Access: command.ToAgent,
		About:   "Looks at all datacenters that may answer for a service without a datacenter in its name, and says which does, and why.",
		Example: "legate failover explain -service=web\nlegate failover explain -service=web -format=json",
		New:     func() command.Action { return &explainAction{} },
	}
}

type explainAction struct{ service, format string }

func (a *explainAction) Flags(fs *flag.FlagSet) {
	serviceFlag(fs, &a.service)
	formatFlag(fs, &a.format)
}

func (a *explainAction) Run(c *command.Call, _ []string) error {
	if a.service == "" {
		return errors.New("want -service")
	}
	client, err := open(c, a.format)
	if err != nil {
		return err
	}
	var why failover.Explanation
	if _, err := client.Raw().Query(path+"/explain/"+a.service, &why, nil); err != nil {
		return fmt.Errorf("ask why: %w", err)
	}
	if a.format == "json" {
		return command.JSON(c.Stdout, why)
	}
	rows := [][]string{{"Datacenter", "Healthy", "Passing", "As of", "Answers"}}
	for _, l := range why.Looked {
		rows = append(rows, row(l, &why))
	}
	if err := command.Table(c.Stdout, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Stdout, "\n%s.\n", why.Why)
	return err
}

// row is what a table shows of a datacenter.
func row(l failover.Looked, why *failover.Explanation) []string {
	if l.Error != "" {
		return []string{l.Datacenter, "-", "-", "-", l.Error}
	}
	since := "now"
	if l.Age > 0 {
		since = fmt.Sprintf("%.0f s ago", l.Age)
	}
	var answers []string
	if l.Datacenter == why.DNS {
		answers = append(answers, "DNS")
	}
	if l.Datacenter == why.HTTP {
		answers = append(answers, "HTTP")
	}
	if l.Filtered {
		answers = append(answers, "(the token may not see all)")
	}
	return []string{l.Datacenter, fmt.Sprint(l.Healthy), fmt.Sprint(l.Passing), since, strings.Join(answers, ", ")}
}

// at is the path of a rule. The client escapes what has to be.
func at(service string) string { return path + "/" + service }

func serviceFlag(fs *flag.FlagSet, to *string) {
	fs.StringVar(to, "service", "", "`name` of the service, or the beginning of names with * behind it.")
}

func formatFlag(fs *flag.FlagSet, to *string) {
	fs.StringVar(to, "format", "pretty", "`form` of the output: pretty or json.")
}

// open checks the form of the output and opens a client.
func open(c *command.Call, format string) (*api.Client, error) {
	if format != "pretty" && format != "json" {
		return nil, fmt.Errorf("-format is %q: want pretty or json", format)
	}
	return c.Client.Open()
}

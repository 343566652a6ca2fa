package operatorcmd

import (
	"errors"
	"flag"
	"fmt"
	"strconv"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// UsageInstances is the command operator usage instances.
func UsageInstances() command.Command {
	return command.Command{
		Name: "operator usage instances", Synopsis: "Count the instances of services", Access: command.ToAgent,
		About: "Counts the services of a datacenter and their instances: typical ones, those of the servers themselves left out, and those that\n" +
			"belong to a service mesh.",
		Example: "legate operator usage instances\nlegate operator usage instances -all-datacenters",
		New:     func() command.Action { return &usageInstances{} },
	}
}

type usageInstances struct{ billable, connect, all bool }

func (a *usageInstances) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.billable, "only-billable", false, "count typical instances alone.")
	fs.BoolVar(&a.connect, "only-connect", false, "count those of a service mesh alone.")
	fs.BoolVar(&a.all, "all-datacenters", false, "count in all datacenters.")
}

func (a *usageInstances) Run(c *command.Call, _ []string) error {
	if a.billable && a.connect {
		return errors.New("say either -only-billable or -only-connect")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	got, _, err := client.Operator().Usage(&api.QueryOptions{Global: a.all})
	if err != nil {
		return fmt.Errorf("ask for the usage: %w", err)
	}
	if !a.connect {
		total := 0
		rows := [][]string{{"Datacenter", "Services", "Service instances"}}
		for _, dc := range command.SortedKeys(got.Usage) {
			u := got.Usage[dc]
			total += u.BillableServiceInstances
			rows = append(rows, []string{dc, strconv.Itoa(u.Services), strconv.Itoa(u.BillableServiceInstances)})
		}
		fmt.Fprintf(c.Stdout, "Billable Service Instances Total: %d\n\nBillable Services\n", total)
		if err := command.Table(c.Stdout, rows); err != nil {
			return err
		}
	}
	if a.billable {
		return nil
	}
	if !a.connect {
		fmt.Fprintln(c.Stdout)
	}
	fmt.Fprintln(c.Stdout, "Connect Services")
	rows := [][]string{{"Datacenter", "Type", "Service instances"}}
	for _, dc := range command.SortedKeys(got.Usage) {
		for _, kind := range command.SortedKeys(got.Usage[dc].ConnectServiceInstances) {
			rows = append(rows, []string{dc, kind, strconv.Itoa(got.Usage[dc].ConnectServiceInstances[kind])})
		}
	}
	return command.Table(c.Stdout, rows)
}

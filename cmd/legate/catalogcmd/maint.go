package catalogcmd

import (
	"errors"
	"flag"
	"fmt"
	"sort"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Maint is the command maint.
func Maint() command.Command {
	return command.Command{
		Name: "maint", Synopsis: "Put the node or a service in maintenance", Max: 0, Access: command.ToAgent,
		About: "In maintenance the node, or with -service one of its services, is critical: nobody is sent to it. It outlives\n" +
			"restarts. Without -enable or -disable the command shows what is in maintenance.",
		Example: "legate maint -enable -reason='new disk'\nlegate maint -enable -service=web\nlegate maint -disable\nlegate maint",
		New:     func() command.Action { return &maintAction{} },
	}
}

type maintAction struct {
	enable, disable bool
	reason, service string
}

func (a *maintAction) Flags(fs *flag.FlagSet) {
	fs.BoolVar(&a.enable, "enable", false, "Begin maintenance.")
	fs.BoolVar(&a.disable, "disable", false, "End maintenance.")
	fs.StringVar(&a.reason, "reason", "", "`text` that others see.")
	fs.StringVar(&a.service, "service", "", "`ID` of a service instead of the whole node.")
}

func (a *maintAction) Run(c *command.Call, _ []string) error {
	if a.enable && a.disable {
		return errors.New("only one of -enable and -disable can be given")
	}
	if !a.enable && (a.reason != "" || !a.disable && a.service != "") {
		return errors.New("-reason goes with -enable, -service with -enable or -disable")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	agent := client.Agent()
	what, of := "Node", ""
	if a.service != "" {
		what, of = "Service", fmt.Sprintf(" for %q", a.service)
	}
	switch {
	case a.enable && a.service != "":
		err = agent.EnableServiceMaintenance(a.service, a.reason)
	case a.enable:
		err = agent.EnableNodeMaintenance(a.reason)
	case a.disable && a.service != "":
		err = agent.DisableServiceMaintenance(a.service)
	case a.disable:
		err = agent.DisableNodeMaintenance()
	default:
		return showMaintenance(c, agent)
	}
	if err != nil {
		return err
	}
	verb := "enabled"
	if a.disable {
		verb = "disabled"
	}
	fmt.Fprintf(c.Stdout, "%s maintenance is now %s%s\n", what, verb, of)
	return nil
}

func showMaintenance(c *command.Call, agent *api.Agent) error {
	self, err := agent.Self()
	if err != nil {
		return err
	}
	checks, err := agent.Checks()
	if err != nil {
		return err
	}
	var lines []string
	for _, check := range checks {
		switch {
		case check.CheckID == api.NodeMaint:
			lines = append(lines, fmt.Sprintf("Node:\n  Name:   %v\n  Reason: %s\n", self["Config"]["NodeName"], check.Notes))
		case len(check.CheckID) > len(api.ServiceMaintPrefix) && check.CheckID[:len(api.ServiceMaintPrefix)] == api.ServiceMaintPrefix:
			lines = append(lines, fmt.Sprintf("Service:\n  ID:     %s\n  Reason: %s\n", check.ServiceID, check.Notes))
		}
	}
	sort.Strings(lines)
	for _, l := range lines {
		fmt.Fprint(c.Stdout, l)
	}
	return nil
}

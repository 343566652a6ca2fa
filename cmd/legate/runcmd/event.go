package runcmd

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Event is the command event.
func Event() command.Command {
	return command.Command{
		Name: "event", Synopsis: "Fire a user event", Args: "[PAYLOAD]", Max: -1, Access: command.ToDatacenter,
		About: "Tells all agents of a datacenter of an event, with a small payload. Which agents keep it is said by regular\n" +
			"expressions for their node name, a service and a tag of that service. It is not certain to reach all of them.",
		Example: "legate event -name=deploy 1.2.3\nlegate event -name=restart -service=web -tag=v1\nlegate watch -type=event -name=deploy ./deploy.sh",
		New:     func() command.Action { return &eventAction{} },
	}
}

type eventAction struct{ name, node, service, tag string }

func (a *eventAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.name, "name", "", "`name` of the event.")
	fs.StringVar(&a.node, "node", "", "`expression` for node names.")
	fs.StringVar(&a.service, "service", "", "`expression` for names of services.")
	fs.StringVar(&a.tag, "tag", "", "`expression` for tags, with -service.")
}

func (a *eventAction) Run(c *command.Call, args []string) error {
	switch {
	case a.name == "":
		return errors.New("missing -name")
	case a.tag != "" && a.service == "":
		return errors.New("-tag needs -service")
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	id, _, err := client.Event().Fire(&api.UserEvent{Name: a.name, Payload: []byte(strings.Join(args, " ")),
		NodeFilter: a.node, ServiceFilter: a.service, TagFilter: a.tag}, &api.WriteOptions{Datacenter: c.Client.Datacenter})
	if err != nil {
		return fmt.Errorf("fire the event %s: %w", a.name, err)
	}
	_, err = fmt.Fprintf(c.Stdout, "Event ID: %s\n", id)
	return err
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"
)

// eventCommands fire user events.
func eventCommands() []row {
	return []row{{name: "event", synopsis: "Fire a user event", args: "[PAYLOAD]", max: -1, remote: toDC,
		about: "Tells all agents of a datacenter of an event, with a small payload. Which agents keep it is said by regular\n" +
			"expressions for their node name, a service and a tag of that service. It is not certain to reach all of them.",
		example: "legate event -name=deploy 1.2.3\nlegate event -name=restart -service=web -tag=v1\nlegate watch -type=event -name=deploy ./deploy.sh",
		action:  func(*app) action { return &eventAction{} }}}
}

type eventAction struct{ name, node, service, tag string }

func (a *eventAction) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.name, "name", "", "`name` of the event.")
	fs.StringVar(&a.node, "node", "", "`expression` for node names.")
	fs.StringVar(&a.service, "service", "", "`expression` for names of services.")
	fs.StringVar(&a.tag, "tag", "", "`expression` for tags, with -service.")
}

func (a *eventAction) run(c *call, args []string) error {
	switch {
	case a.name == "":
		return errors.New("missing -name")
	case a.tag != "" && a.service == "":
		return errors.New("-tag needs -service")
	}
	client, err := c.client.open()
	if err != nil {
		return err
	}
	id, _, err := client.Event().Fire(&api.UserEvent{Name: a.name, Payload: []byte(strings.Join(args, " ")),
		NodeFilter: a.node, ServiceFilter: a.service, TagFilter: a.tag}, &api.WriteOptions{Datacenter: c.client.datacenter})
	if err != nil {
		return fmt.Errorf("fire the event %s: %w", a.name, err)
	}
	_, err = fmt.Fprintf(c.stdout, "Event ID: %s\n", id)
	return err
}

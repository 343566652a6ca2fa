package runcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/cmd/legate/command"
)

// Event is the command event.
func Event() command.Command {
	return command.Command{
		Name: "event", Synopsis: "Fire a user event", Args: "[PAYLOAD]", Max: -1, Access: command.ToDatacenter,
		About: "Tells all agents of a datacenter of an event, with a small payload. Which agents keep it is said by regular\n" +
			"expressions for their node name, a service and a tag of that service. It is not certain to reach all of them.\n" +
			"With -datacenter=all, or a list as dc2,dc3, those of several datacenters are told; the exit code is 1 if one of them could not be.",
		Example: "legate event -name=deploy 1.2.3\nlegate event -name=restart -service=web -tag=v1\nlegate event -name=deploy -datacenter=all 1.2.3\nlegate watch -type=event -name=deploy ./deploy.sh",
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
	var answer keptAnswer
	client, err := c.Client.OpenVia(answer.of)
	if err != nil {
		return err
	}
	id, _, err := client.Event().Fire(&api.UserEvent{Name: a.name, Payload: []byte(strings.Join(args, " ")),
		NodeFilter: a.node, ServiceFilter: a.service, TagFilter: a.tag}, &api.WriteOptions{Datacenter: c.Client.Datacenter})
	if err != nil {
		return fmt.Errorf("fire the event %s: %w", a.name, err)
	}
	if !command.ManyDatacenters(c.Client.Datacenter) {
		_, err = fmt.Fprintf(c.Stdout, "Event ID: %s\n", id)
		return err
	}
	var got struct{ Datacenters []events.Told }
	if err := json.Unmarshal(answer.body, &got); err != nil {
		return fmt.Errorf("read which datacenters were told: %w", err)
	}
	var told, missed []string
	for _, d := range got.Datacenters {
		if d.Error == "" {
			told = append(told, d.Datacenter)
		} else {
			missed = append(missed, d.Datacenter+": "+d.Error)
		}
	}
	if missed != nil {
		return fmt.Errorf("the event %s (ID %s) was told in %s and not in %s", a.name, id, strings.Join(told, ", "), strings.Join(missed, "; "))
	}
	_, err = fmt.Fprintf(c.Stdout, "Event ID: %s\nTold: %s\n", id, strings.Join(told, ", "))
	return err
}

// maxAnswer bounds what is kept of an answer, in bytes: the event and a line for each
// datacenter.
const maxAnswer = 1 << 20

// keptAnswer is the body of the last answer: the official client returns the ID alone.
type keptAnswer struct{ body []byte }

func (k *keptAnswer) of(next http.RoundTripper) http.RoundTripper { return keeping{k, next} }

type keeping struct {
	*keptAnswer
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (k keeping) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := k.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	k.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(k.body))
	return resp, nil
}

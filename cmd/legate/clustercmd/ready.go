package clustercmd

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/ready"
	"github.com/legate-project/legate/cmd/legate/command"
)

// Ready is the command ready.
func Ready() command.Command {
	return command.Command{
		Name: "ready", Synopsis: "Say whether the local agent is one to send requests to", Access: command.ToAgent,
		About: "Asks the local agent what load balancers ask it (/v1/agent/ready) and says it. The exit code is 0 if it is ready, else 1: it\n" +
			"starts, leaves, or has known no leader, or no server, for too long. It takes no token.",
		Example: "legate ready\nlegate ready -wait=1m",
		New:     func() command.Action { return &readyAction{} },
	}
}

type readyAction struct{ wait time.Duration }

// readyPeriod is how often -wait asks.
const readyPeriod = 500 * time.Millisecond

func (a *readyAction) Flags(fs *flag.FlagSet) {
	fs.DurationVar(&a.wait, "wait", 0, "go on asking for this `time` while it is not ready, or does not answer.")
}

func (a *readyAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	over := time.After(a.wait)
	t := time.NewTicker(readyPeriod)
	defer t.Stop()
	for {
		err := ask(client, (&api.QueryOptions{}).WithContext(ctx))
		if err == nil {
			fmt.Fprintln(c.Stdout, ready.Ready)
			return nil
		}
		if a.wait == 0 {
			return err
		}
		select {
		case <-t.C:
		case <-over:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// ask returns nil if the agent is ready, and else what it is.
func ask(client *api.Client, q *api.QueryOptions) error {
	var s ready.State
	_, err := client.Raw().Query("/v1/agent/ready", &s, q)
	answer, ok := errors.AsType[api.StatusError](err)
	if !ok || json.Unmarshal([]byte(answer.Body), &s) != nil || s.Status == "" {
		return err
	}
	return fmt.Errorf("the agent is not ready: %s: %s", s.Status, s.Reason)
}

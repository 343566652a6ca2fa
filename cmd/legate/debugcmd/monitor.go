package debugcmd

import (
	"errors"
	"flag"
	"fmt"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Monitor is the command monitor.
func Monitor() command.Command {
	return command.Command{
		Name: "monitor", Synopsis: "Follow the log of the agent", Access: command.ToAgent,
		About: "Prints what the local agent logs from now on, until it is interrupted. The level does not change what the agent\n" +
			"writes to its own log.",
		Example: "legate monitor\nlegate monitor -log-level=debug\nlegate monitor -log-json",
		New:     func() command.Action { return &monitorAction{} },
	}
}

type monitorAction struct {
	level string
	json  bool
}

func (a *monitorAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.level, "log-level", "INFO", "only lines of this `level` or above: trace, debug, info, warn or error.")
	fs.BoolVar(&a.json, "log-json", false, "print each line as JSON.")
}

func (a *monitorAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	follow := client.Agent().Monitor
	if a.json {
		follow = client.Agent().MonitorJSON
	}
	lines, err := follow(a.level, ctx.Done(), (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("follow the log: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-lines:
			switch {
			case line == "" && ctx.Err() != nil:
				return nil
			case line == "": // the client's mark for the end
				return errors.New("the agent ended the stream: it may have stopped")
			}
			if _, err := fmt.Fprintln(c.Stdout, line); err != nil {
				return fmt.Errorf("print a line: %w", err)
			}
		}
	}
}

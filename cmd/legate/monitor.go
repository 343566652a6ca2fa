package main

import (
	"errors"
	"flag"
	"fmt"

	"github.com/hashicorp/consul/api"
)

func monitorRow() row {
	return row{name: "monitor", synopsis: "Follow the log of the agent", remote: toAgent,
		about: "Prints what the local agent logs from now on, until it is interrupted. The level does not change what the agent\n" +
			"writes to its own log.",
		example: "legate monitor\nlegate monitor -log-level=debug\nlegate monitor -log-json",
		action:  func(*app) action { return &monitorAction{} }}
}

type monitorAction struct {
	level string
	json  bool
}

func (a *monitorAction) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.level, "log-level", "INFO", "only lines of this `level` or above: trace, debug, info, warn or error.")
	fs.BoolVar(&a.json, "log-json", false, "print each line as JSON.")
}

func (a *monitorAction) run(c *call, _ []string) error {
	client, err := c.client.open()
	if err != nil {
		return err
	}
	ctx, stop, err := c.interruptible()
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
			if _, err := fmt.Fprintln(c.stdout, line); err != nil {
				return fmt.Errorf("print a line: %w", err)
			}
		}
	}
}

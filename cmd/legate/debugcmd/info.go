package debugcmd

import (
	"fmt"

	"github.com/legate-project/legate/cmd/legate/command"
)

// Info is the command info.
func Info() command.Command {
	return command.Command{
		Name: "info", Synopsis: "Show numbers about the running agent", Access: command.ToAgent,
		About:   "Shows what the local agent reports about itself, by section.",
		Example: "legate info",
		New:     func() command.Action { return infoAction{} },
	}
}

type infoAction struct{ command.NoFlags }

func (infoAction) Run(c *command.Call, _ []string) error {
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	self, err := client.Agent().Self()
	if err != nil {
		return fmt.Errorf("ask the agent about itself: %w", err)
	}
	stats := self["Stats"]
	if len(stats) == 0 {
		return fmt.Errorf("the agent reports nothing about itself")
	}
	for _, name := range command.SortedKeys(stats) {
		section, ok := stats[name].(map[string]any)
		if !ok {
			return fmt.Errorf("the agent's report about %q has an unknown shape", name)
		}
		fmt.Fprintf(c.Stdout, "%s:\n", name)
		for _, key := range command.SortedKeys(section) {
			fmt.Fprintf(c.Stdout, "\t%s = %v\n", key, section[key])
		}
	}
	return nil
}

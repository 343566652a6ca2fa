// Command legate runs an agent and talks to running ones.
//
// Every command but agent, keygen, validate and version speaks HTTP to an
// agent. Results go to the standard output, errors to the standard error; the
// exit code is 0 for success, 1 for an error and 2 where nothing matched. It
// keeps no state of its own.
package main

import (
	"os"
	"os/signal"

	"github.com/legate-project/legate/agent"
)

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, notify: signal.Notify, newProcess: newAgent}
	os.Exit(a.run(os.Args[1:]))
}

func newAgent(o processOptions) (agentProcess, error) {
	a, err := agent.New(agent.Options{Config: o.Config, Log: o.Log, Level: o.Level, Load: o.Load, Version: o.Version})
	if err != nil {
		return nil, err
	}
	return a, nil
}

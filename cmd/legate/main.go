// Command legate runs an agent and talks to running ones.
//
// Every command but agent, lab, keygen, validate and version speaks HTTP to an
// agent. Results go to the standard output, errors to the standard error; the
// exit code is 0 for success, 1 for an error and 2 where nothing matched. It
// keeps no state of its own.
package main

import (
	"os"
	"os/signal"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/cmd/legate/toolcmd"
)

func main() {
	p := command.Program{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Notify: signal.Notify,
		Version: toolcmd.VersionText(), Commands: commands()}
	os.Exit(p.Run(os.Args[1:]))
}

package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/hashicorp/cli"

	"github.com/legate-project/legate/cmd/legate/closest"
)

const (
	exitOK        = 0
	exitError     = 1
	exitNoneFound = 2 // nothing matched
)

// app is one run of the program with its surroundings.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// notify is signal.Notify.
	notify func(c chan<- os.Signal, sig ...os.Signal)
	// newProcess builds the agent that the command agent runs.
	newProcess newProcess
}

// row is one line of the table of commands.
type row struct {
	name     string
	synopsis string
	args     string // what follows the flags, for the usage line
	about    string // what the command does, some sentences
	example  string // commands to copy, one a line
	min, max int    // number of arguments; max -1 means any
	remote   access // which flags for talking to an agent it takes
	action   func(*app) action
}

// access says how a command talks to an agent.
type access int

const (
	local   access = iota // not at all
	toAgent               // a question to the agent itself
	toDC                  // a question that may go to another datacenter
)

// commands is the table of all commands.
func commands() []row {
	var rows []row
	for _, family := range [][]row{
		agentCommands(), clusterCommands(), catalogCommands(), kvCommands(), kvTransferCommands(), serviceCommands(), maintCommands(),
		lockCommands(), execCommands(), eventCommands(), watchCommands(), debugCommands(), snapshotCommands(), toolCommands(), labCommands(), federationCommands(),
	} {
		rows = append(rows, family...)
	}
	return rows
}

// run runs the command that args name and returns the exit code.
func (a *app) run(args []string) int {
	c := cli.NewCLI("legate", versionText())
	c.Args = args
	c.Commands = map[string]cli.CommandFactory{}
	c.HelpWriter, c.ErrorWriter = a.stdout, a.stderr
	c.HelpFunc = overview
	var top []string
	groups := map[string][]string{}
	for _, r := range commands() {
		c.Commands[r.name] = func() (cli.Command, error) { return newCommand(a, r), nil }
		first, second, nested := strings.Cut(r.name, " ")
		if nested {
			groups[first] = append(groups[first], second)
		}
		if !nested || len(groups[first]) == 1 {
			top = append(top, first)
		}
	}
	for name, subs := range groups {
		if c.Commands[name] != nil { // does something by itself, too
			continue
		}
		c.Commands[name] = func() (cli.Command, error) { return &group{app: a, name: name, subs: subs}, nil }
	}
	if subs, rest := groups[c.Subcommand()], c.SubcommandArgs(); len(subs) > 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return (&group{app: a, name: c.Subcommand(), subs: subs}).Run(rest)
	}
	if name := c.Subcommand(); name != "" && c.Commands[name] == nil {
		fmt.Fprintf(a.stderr, "legate: unknown command %q%s. legate -h lists them.\n", name, closest.Hint(name, top))
		return exitError
	}
	code, err := c.Run()
	if err != nil {
		fmt.Fprintf(a.stderr, "Error: %v\n", err)
	}
	if code > exitNoneFound { // the library's own codes, such as 127 for no command at all
		return exitError
	}
	return code
}

// overview is the help of the program itself.
func overview(commands map[string]cli.CommandFactory) string {
	names := make([]string, 0, len(commands))
	longest := 0
	for name := range commands {
		names = append(names, name)
		longest = max(longest, len(name))
	}
	sort.Strings(names)
	var b strings.Builder
	b.WriteString("Usage: legate [-version] [-help] <command> [flags] [arguments]\n\nTry it: legate agent -dev\n\nCommands:\n")
	for _, name := range names {
		command, err := commands[name]()
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, "    %-*s    %s\n", longest, name, command.Synopsis())
	}
	b.WriteString("\nlegate <command> -h explains a command. -autocomplete-install sets up completion in your shell.")
	return b.String()
}

// group is a command that only holds others.
type group struct {
	app  *app
	name string
	subs []string
}

var _ cli.Command = (*group)(nil)

// Help implements cli.Command; the library adds the list.
func (g *group) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: legate %s <subcommand> [flags] [arguments]\n\nExamples:\n", g.name)
	for _, r := range commands() {
		if strings.HasPrefix(r.name, g.name+" ") {
			example, _, _ := strings.Cut(r.example, "\n")
			fmt.Fprintf(&b, "\n  %s", example)
		}
	}
	return b.String()
}

// Synopsis implements cli.Command.
func (g *group) Synopsis() string { return groupSynopsis(g.name) }

func groupSynopsis(name string) string {
	switch name {
	case "catalog":
		return "Look at the catalog of datacenters, nodes and services"
	case "federation":
		return "Look at the datacenters of the federation, remove and allow them"
	case "kv":
		return "Read and write the key/value store"
	case "snapshot":
		return "Save, restore and look at snapshots of the state"
	case "services":
		return "Register services with the local agent"
	}
	return ""
}

// Run implements cli.Command: what it is asked for does not exist.
func (g *group) Run(args []string) int {
	if len(args) == 0 {
		return cli.RunResultHelp
	}
	fmt.Fprintf(g.app.stderr, "legate %s: unknown subcommand %q%s. legate %s -h lists them.\n", g.name, args[0], closest.Hint(args[0], g.subs), g.name)
	return exitError
}

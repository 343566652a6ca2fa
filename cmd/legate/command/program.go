// Package command is what all commands of the program have in common: the
// table that they stand in, their flags, help and exit codes, the client of the
// agent and its environment, and how results are written.
//
// What the commands do is in the packages of their families. Commands speak
// HTTP to an agent; results go to the standard output, errors to the standard
// error.
package command

import (
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/hashicorp/cli"
)

// Exit codes.
const (
	exitOK    = 0
	ExitError = 1
	// ExitNoMatch says that nothing matched, or that what was run failed.
	ExitNoMatch = 2
	// ExitPartial says that some did what was asked, and some did not.
	ExitPartial = 2
)

// Program is one run of the program with its surroundings.
type Program struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Notify is signal.Notify.
	Notify func(c chan<- os.Signal, sig ...os.Signal)
	// Version is what -version prints.
	Version string
	// Commands are all commands, each group before its own.
	Commands []Command
}

// Command is one line of the table of commands.
type Command struct {
	Name     string // with its group's in front, as in "kv get"
	Synopsis string
	Args     string // what follows the flags, for the usage line
	About    string // what the command does, some sentences
	Example  string // commands to copy, one a line
	Min, Max int    // number of arguments; Max -1 means any
	Access   Access // which flags for talking to an agent it takes
	// New makes the action of one run. A group, which only holds other
	// commands, has none.
	New func() Action
}

// Access says how a command talks to an agent.
type Access int

// How a command talks to an agent.
const (
	Local        Access = iota // not at all
	ToAgent                    // a question to the agent itself
	ToDatacenter               // a question that may go to another datacenter
)

// Group is a command that only holds others: those whose names begin with its.
func Group(name, synopsis string) Command { return Command{Name: name, Synopsis: synopsis} }

// Run runs the command that args name and returns the exit code.
func (p *Program) Run(args []string) int {
	c := cli.NewCLI("legate", p.Version)
	c.Args = args
	c.Commands = map[string]cli.CommandFactory{}
	c.HelpWriter, c.ErrorWriter = p.Stdout, p.Stderr
	c.HelpFunc = overview
	var top []string
	groups := map[string][]string{}
	for _, one := range p.Commands {
		at := strings.LastIndexByte(one.Name, ' ')
		if at < 0 {
			top = append(top, one.Name)
			continue
		}
		groups[one.Name[:at]] = append(groups[one.Name[:at]], one.Name[at+1:])
	}
	for _, one := range p.Commands {
		if one.New == nil {
			c.Commands[one.Name] = func() (cli.Command, error) { return p.group(one, groups[one.Name]), nil }
			continue
		}
		c.Commands[one.Name] = func() (cli.Command, error) { return newRunner(p, one), nil }
	}
	if os.Getenv("COMP_LINE") != "" { // a shell wants to know how a line may go on: the arguments are its own
		return p.answer(c)
	}
	if subs, rest := groups[c.Subcommand()], c.SubcommandArgs(); len(subs) > 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return p.group(Command{Name: c.Subcommand()}, subs).Run(rest)
	}
	if name := c.Subcommand(); name != "" && c.Commands[name] == nil {
		fmt.Fprintf(p.Stderr, "legate: unknown command %q%s. legate -h lists them.\n", name, suggestion(name, top))
		return ExitError
	}
	return p.answer(c)
}

// answer has the library run the command, and returns the exit code.
func (p *Program) answer(c *cli.CLI) int {
	code, err := c.Run()
	if err != nil {
		fmt.Fprintf(p.Stderr, "Error: %v\n", err)
	}
	if code > ExitNoMatch { // the library's own codes, such as 127 for no command at all
		return ExitError
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
	program  *Program
	name     string
	synopsis string
	subs     []string
}

var _ cli.Command = (*group)(nil)

func (p *Program) group(c Command, subs []string) *group {
	return &group{program: p, name: c.Name, synopsis: c.Synopsis, subs: subs}
}

// Help implements cli.Command; the library adds the list.
func (g *group) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: legate %s <subcommand> [flags] [arguments]\n\nExamples:\n", g.name)
	shown := map[string]bool{} // a group within is shown by its first command
	for _, c := range g.program.Commands {
		below, ok := strings.CutPrefix(c.Name, g.name+" ")
		sub, _, _ := strings.Cut(below, " ")
		example, _, _ := strings.Cut(c.Example, "\n")
		if !ok || example == "" || shown[sub] {
			continue
		}
		shown[sub] = true
		fmt.Fprintf(&b, "\n  %s", example)
	}
	return b.String()
}

// Synopsis implements cli.Command.
func (g *group) Synopsis() string { return g.synopsis }

// Run implements cli.Command: what it is asked for does not exist.
func (g *group) Run(args []string) int {
	if len(args) == 0 {
		return cli.RunResultHelp
	}
	fmt.Fprintf(g.program.Stderr, "legate %s: unknown subcommand %q%s. legate %s -h lists them.\n", g.name, args[0], suggestion(args[0], g.subs), g.name)
	return ExitError
}

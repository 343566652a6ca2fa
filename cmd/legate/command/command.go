package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"
)

// Action is what one command does.
type Action interface {
	// Flags declares the command's own flags.
	Flags(fs *flag.FlagSet)
	// Run does it. args are what follows the flags; their number is right.
	Run(c *Call, args []string) error
}

// Call is one run of a command.
type Call struct {
	*Program
	Client *Client // nil for local commands
}

// Exit is an error with an exit code other than ExitError. An empty text
// prints nothing.
type Exit struct {
	Code int
	Text string
}

// Error implements error.
func (e *Exit) Error() string { return e.Text }

// runner is a command of the table as the library wants it.
type runner struct {
	program *Program
	command Command
	action  Action
	fs      *flag.FlagSet
	client  *Client
}

var (
	_ cli.Command             = (*runner)(nil)
	_ cli.CommandAutocomplete = (*runner)(nil)
)

func newRunner(p *Program, c Command) *runner {
	r := &runner{program: p, command: c, action: c.New(), fs: flag.NewFlagSet(c.Name, flag.ContinueOnError)}
	r.fs.SetOutput(io.Discard) // errors are printed here, help by the library
	r.action.Flags(r.fs)
	if c.Access != Local {
		r.client = newClient(r.fs, c.Access)
		r.client.stderr = p.Stderr
	}
	return r
}

// Synopsis implements cli.Command.
func (r *runner) Synopsis() string { return r.command.Synopsis }

// Help implements cli.Command.
func (r *runner) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: legate %s [flags]", r.command.Name)
	if r.command.Args != "" {
		b.WriteString(" " + r.command.Args)
	}
	fmt.Fprintf(&b, "\n\n%s\n", indent(r.command.About))
	if r.command.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n\n%s\n", indent(r.command.Example))
	}
	own := flag.NewFlagSet("", flag.ContinueOnError)
	r.command.New().Flags(own)
	writeFlags(&b, "Flags", own, nil)
	writeFlags(&b, "Flags for talking to the agent", r.fs, own)
	return strings.TrimRight(b.String(), "\n")
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

// Run implements cli.Command.
func (r *runner) Run(args []string) int {
	err := r.fs.Parse(args)
	if err == nil {
		err = r.count(r.fs.NArg())
	}
	if err != nil {
		fmt.Fprintf(r.program.Stderr, "Error: %v\nlegate %s -h explains the command.\n", err, r.command.Name)
		return ExitError
	}
	err = r.action.Run(&Call{Program: r.program, Client: r.client}, r.fs.Args())
	if err == nil {
		return exitOK
	}
	code := ExitError
	if e, ok := errors.AsType[*Exit](err); ok {
		if code = e.Code; e.Text == "" {
			return code
		}
	}
	fmt.Fprintf(r.program.Stderr, "Error: %s\n", r.client.Explain(err))
	return code
}

func (r *runner) count(n int) error {
	switch {
	case n < r.command.Min:
		return fmt.Errorf("too few arguments: want %s", r.command.Args)
	case r.command.Max >= 0 && n > r.command.Max && r.command.Max == 0:
		return fmt.Errorf("too many arguments: want none, got %q", r.fs.Args())
	case r.command.Max >= 0 && n > r.command.Max:
		return fmt.Errorf("too many arguments: want %s, got %q (flags go before arguments)", r.command.Args, r.fs.Args())
	}
	return nil
}

// AutocompleteArgs implements cli.CommandAutocomplete.
func (r *runner) AutocompleteArgs() complete.Predictor {
	if r.command.Access == Local && r.command.Max != 0 {
		return complete.PredictFiles("*")
	}
	return complete.PredictNothing
}

// AutocompleteFlags implements cli.CommandAutocomplete.
func (r *runner) AutocompleteFlags() complete.Flags {
	flags := complete.Flags{}
	r.fs.VisitAll(func(f *flag.Flag) {
		flags["-"+f.Name] = predictor(f)
	})
	return flags
}

func predictor(f *flag.Flag) complete.Predictor {
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return complete.PredictNothing
	}
	switch {
	case strings.HasSuffix(f.Name, "-dir") || strings.HasSuffix(f.Name, "-path"):
		return complete.PredictDirs("*")
	case strings.HasSuffix(f.Name, "-file"):
		return complete.PredictFiles("*")
	}
	return complete.PredictAnything
}

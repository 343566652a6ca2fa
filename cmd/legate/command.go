package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/hashicorp/cli"
	"github.com/posener/complete"
)

// action is what one command does.
type action interface {
	// flags declares the command's own flags.
	flags(fs *flag.FlagSet)
	// run does it. args are what follows the flags; their number is right.
	run(c *call, args []string) error
}

// call is one run of a command.
type call struct {
	*app
	client *remote // nil for local commands
}

// exit is an error with an exit code other than exitError. An empty text
// prints nothing.
type exit struct {
	code int
	text string
}

// Error implements error.
func (e *exit) Error() string { return e.text }

// command is a row of the table as the library wants it.
type command struct {
	app    *app
	row    row
	action action
	fs     *flag.FlagSet
	remote *remote
}

var (
	_ cli.Command             = (*command)(nil)
	_ cli.CommandAutocomplete = (*command)(nil)
)

func newCommand(a *app, r row) *command {
	c := &command{app: a, row: r, action: r.action(a), fs: flag.NewFlagSet(r.name, flag.ContinueOnError)}
	c.fs.SetOutput(io.Discard) // errors are printed here, help by the library
	c.action.flags(c.fs)
	if r.remote != local {
		c.remote = newRemote(c.fs, r.remote)
		c.remote.stderr = a.stderr
	}
	return c
}

// Synopsis implements cli.Command.
func (c *command) Synopsis() string { return c.row.synopsis }

// Help implements cli.Command.
func (c *command) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: legate %s [flags]", c.row.name)
	if c.row.args != "" {
		b.WriteString(" " + c.row.args)
	}
	fmt.Fprintf(&b, "\n\n%s\n", indent(c.row.about))
	if c.row.example != "" {
		fmt.Fprintf(&b, "\nExamples:\n\n%s\n", indent(c.row.example))
	}
	own := flag.NewFlagSet("", flag.ContinueOnError)
	c.row.action(c.app).flags(own)
	writeFlags(&b, "Flags", own, nil)
	writeFlags(&b, "Flags for talking to the agent", c.fs, own)
	return strings.TrimRight(b.String(), "\n")
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

// writeFlags lists the flags that are not in without.
func writeFlags(b *strings.Builder, title string, fs, without *flag.FlagSet) {
	any := false
	fs.VisitAll(func(f *flag.Flag) {
		if without != nil && without.Lookup(f.Name) != nil {
			return
		}
		if !any {
			fmt.Fprintf(b, "\n%s:\n\n", title)
			any = true
		}
		value, usage := flag.UnquoteUsage(f)
		if value != "" {
			value = "=<" + value + ">"
		}
		fmt.Fprintf(b, "  -%s%s\n        %s", f.Name, value, usage)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			fmt.Fprintf(b, " Default: %s.", f.DefValue)
		}
		b.WriteString("\n")
	})
}

// Run implements cli.Command.
func (c *command) Run(args []string) int {
	err := c.fs.Parse(args)
	if err == nil {
		err = c.count(c.fs.NArg())
	}
	if err != nil {
		fmt.Fprintf(c.app.stderr, "Error: %v\nlegate %s -h explains the command.\n", err, c.row.name)
		return exitError
	}
	err = c.action.run(&call{app: c.app, client: c.remote}, c.fs.Args())
	if err == nil {
		return exitOK
	}
	code := exitError
	if e, ok := errors.AsType[*exit](err); ok {
		if code = e.code; e.text == "" {
			return code
		}
	}
	fmt.Fprintf(c.app.stderr, "Error: %s\n", c.remote.explain(err))
	return code
}

func (c *command) count(n int) error {
	switch {
	case n < c.row.min:
		return fmt.Errorf("too few arguments: want %s", c.row.args)
	case c.row.max >= 0 && n > c.row.max && c.row.max == 0:
		return fmt.Errorf("too many arguments: want none, got %q", c.fs.Args())
	case c.row.max >= 0 && n > c.row.max:
		return fmt.Errorf("too many arguments: want %s, got %q (flags go before arguments)", c.row.args, c.fs.Args())
	}
	return nil
}

// AutocompleteArgs implements cli.CommandAutocomplete.
func (c *command) AutocompleteArgs() complete.Predictor {
	if c.row.remote == local && c.row.max != 0 {
		return complete.PredictFiles("*")
	}
	return complete.PredictNothing
}

// AutocompleteFlags implements cli.CommandAutocomplete.
func (c *command) AutocompleteFlags() complete.Flags {
	flags := complete.Flags{}
	c.fs.VisitAll(func(f *flag.Flag) {
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

// table writes rows in columns that are two spaces apart.
func table(w io.Writer, rows [][]string) error {
	var buf bytes.Buffer
	tw := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// listFlag is a flag that may be repeated.
type listFlag []string

var _ flag.Value = (*listFlag)(nil)

// String implements flag.Value.
func (l *listFlag) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }

// mapFlag is a flag of key=value that may be repeated.
type mapFlag map[string]string

var _ flag.Value = (*mapFlag)(nil)

// String implements flag.Value.
func (m *mapFlag) String() string { return "" }

// Set implements flag.Value.
func (m *mapFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("want key=value")
	}
	if *m == nil {
		*m = mapFlag{}
	}
	(*m)[key] = value
	return nil
}

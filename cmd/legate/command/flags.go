package command

import (
	"errors"
	"flag"
	"fmt"
	"strings"
)

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

// NoFlags is for commands without flags of their own.
type NoFlags struct{}

// Flags implements Action.
func (NoFlags) Flags(*flag.FlagSet) {}

// ListFlag is a flag that may be repeated.
type ListFlag []string

var _ flag.Value = (*ListFlag)(nil)

// String implements flag.Value.
func (l *ListFlag) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *ListFlag) Set(s string) error { *l = append(*l, s); return nil }

// MapFlag is a flag of key=value that may be repeated.
type MapFlag map[string]string

var _ flag.Value = (*MapFlag)(nil)

// String implements flag.Value.
func (m *MapFlag) String() string { return "" }

// Set implements flag.Value.
func (m *MapFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("want key=value")
	}
	if *m == nil {
		*m = MapFlag{}
	}
	(*m)[key] = value
	return nil
}

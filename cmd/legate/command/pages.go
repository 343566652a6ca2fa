package command

import (
	"flag"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Page is a manual page in the language of man(7).
type Page struct {
	Name string // of its file, as in legate-kv-get.1
	Text string
}

// Pages makes the manual: one page for the program, and one for each command, of what
// their help says. The version stands at the foot of each.
func (p *Program) Pages(version string) []Page {
	pages := []Page{p.overviewPage(version)}
	for _, c := range p.Commands {
		pages = append(pages, p.page(c, version))
	}
	return pages
}

// pageName is the name of a command's page.
func pageName(command string) string { return "legate-" + strings.ReplaceAll(command, " ", "-") }

// roff is text in the language of man(7).
type roff struct{ strings.Builder }

// line writes a line of text as it is.
func (r *roff) line(text string) {
	text = escape(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	r.WriteString(text + "\n")
}

// request writes a request with arguments, each quoted.
func (r *roff) request(name string, args ...string) {
	r.WriteString("." + name)
	for _, a := range args {
		r.WriteString(` "` + strings.ReplaceAll(escape(a), `"`, `\(dq`) + `"`)
	}
	r.WriteString("\n")
}

// escape has what roff would take for its own shown as it is, dashes as they are typed,
// and characters beyond ASCII by their numbers, which every roff takes.
func escape(text string) string {
	var b strings.Builder
	for _, c := range strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text) {
		if c < utf8.RuneSelf {
			b.WriteRune(c)
			continue
		}
		fmt.Fprintf(&b, `\[u%04X]`, c)
	}
	return b.String()
}

// paragraph writes lines that belong together.
func (r *roff) paragraph(text string) {
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			r.line(line)
		}
	}
}

// example writes lines that stay as they are.
func (r *roff) example(text string) {
	r.request("PP")
	r.request("nf")
	r.request("RS", "4")
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		r.line(line)
	}
	r.request("RE")
	r.request("fi")
}

func newPage(name, synopsis, version string) *roff {
	r := &roff{}
	r.request("TH", strings.ToUpper(name), "1", "", "Legate "+version, "Legate")
	r.request("SH", "NAME")
	r.line(name + " - " + synopsis)
	r.request("SH", "SYNOPSIS")
	return r
}

// page is the page of a command or of a group.
func (p *Program) page(c Command, version string) Page {
	name := pageName(c.Name)
	r := newPage(name, c.Synopsis, version)
	if c.New == nil {
		r.line("legate " + c.Name + " <subcommand> [flags] [arguments]")
		r.request("SH", "DESCRIPTION")
		r.line(c.Synopsis + ".")
	} else {
		r.line(strings.TrimSpace("legate " + c.Name + " [flags] " + c.Args))
		r.request("SH", "DESCRIPTION")
		r.paragraph(c.About)
		run := newRunner(p, c)
		own := flag.NewFlagSet("", flag.ContinueOnError)
		c.New().Flags(own)
		r.flags("OPTIONS", own, nil)
		r.flags("OPTIONS FOR TALKING TO THE AGENT", run.fs, own)
	}
	if c.Example != "" {
		r.request("SH", "EXAMPLES")
		r.example(c.Example)
	}
	r.request("SH", "SEE ALSO")
	r.line(strings.Join(p.related(c), ", "))
	return Page{name + ".1", r.String()}
}

// related are the pages of the program, of a command's group, and of what is in it.
func (p *Program) related(c Command) []string {
	pages := []string{"legate(1)"}
	above := groupOf(c.Name)
	for _, other := range p.Commands {
		if other.Name == above && above != "" || groupOf(other.Name) == c.Name {
			pages = append(pages, pageName(other.Name)+"(1)")
		}
	}
	sort.Strings(pages)
	return pages
}

// groupOf is the group that a command is in, "" for none.
func groupOf(name string) string { return name[:max(0, strings.LastIndexByte(name, ' '))] }

// flags writes the flags that are not in without.
func (r *roff) flags(title string, fs, without *flag.FlagSet) {
	any := false
	fs.VisitAll(func(f *flag.Flag) {
		if without != nil && without.Lookup(f.Name) != nil {
			return
		}
		if !any {
			r.request("SH", title)
			any = true
		}
		value, usage := flag.UnquoteUsage(f)
		if value != "" {
			value = "=<" + value + ">"
		}
		r.request("TP")
		r.request("B", "-"+f.Name+value)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += fmt.Sprintf(" Default: %s.", f.DefValue)
		}
		r.paragraph(usage)
	})
}

// overviewPage is the page of the program.
func (p *Program) overviewPage(version string) Page {
	r := newPage("legate", "service discovery, health checks, key/value store and DNS across datacenters", version)
	r.line("legate [-version] [-help] <command> [flags] [arguments]")
	r.request("SH", "DESCRIPTION")
	r.paragraph("One program is the agent that runs on each machine, a client or a server, and the commands that talk to it over HTTP.\n" +
		"It speaks Consul's HTTP API, DNS, command line and configuration.")
	r.request("SH", "COMMANDS")
	for _, c := range p.Commands {
		r.request("TP")
		r.request("B", pageName(c.Name)+"(1)")
		r.line(c.Synopsis + ".")
	}
	r.request("SH", "EXIT STATUS")
	for _, row := range [][2]string{
		{"0", "Done; of an agent: it was told to end."},
		{"1", "An error: wrong usage, no agent, refused. Of an agent: it could not start, could not go on, did not end in time, or was ended by a second signal."},
		{"2", "Nothing matched, only some did what was asked, what was run failed, or there are warnings alone, as the command's page says."},
	} {
		r.request("TP")
		r.request("B", row[0])
		r.line(row[1])
	}
	r.request("SH", "SIGNALS")
	r.paragraph("SIGINT and SIGTERM end an agent, gracefully if skip_leave_on_interrupt and leave_on_terminate say so; a second one ends it at once.\n" +
		"SIGHUP reads the configuration again.")
	r.request("SH", "ENVIRONMENT")
	r.paragraph("Commands that talk to an agent take CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and the others that their flags name.\n" +
		"An agent tells the service manager at NOTIFY_SOCKET how it fares, as sd_notify(3) says.")
	r.request("SH", "FILES")
	r.request("TP")
	r.request("B", "/etc/legate.d")
	r.line("The configuration, where the program was installed as a package.")
	r.request("TP")
	r.request("B", "/var/lib/legate")
	r.line("The state.")
	return Page{"legate.1", r.String()}
}

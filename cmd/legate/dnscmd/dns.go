// Package dnscmd says what DNS answers to a name, and why.
package dnscmd

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/dns/explained"
)

// Commands lists the commands of this package.
func Commands() []command.Command {
	return []command.Command{command.Group("dns", "Look at what DNS answers"), explain()}
}

func explain() command.Command {
	return command.Command{
		Name: "dns explain", Synopsis: "Say what DNS answers to a name, and why", Args: "NAME", Min: 1, Max: 1, Access: command.ToAgent,
		About: "Answers a name as the DNS interface of the agent does, with the rights of the token that is given instead of its own, and says\n" +
			"how the name was read, who answered, and why the answer is what it is. Names outside of the agent's domain are not sent to recursors.",
		Example: "legate dns explain web.service.consul\nlegate dns explain -type=SRV web.service.dc2.consul",
		New:     func() command.Action { return &explainAction{} },
	}
}

type explainAction struct{ kind, format string }

func (a *explainAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.kind, "type", "A", "`type` of the records, as AAAA, SRV, TXT or ANY.")
	fs.StringVar(&a.format, "format", "pretty", "`form` of the output: pretty or json.")
}

func (a *explainAction) Run(c *command.Call, args []string) error {
	if a.format != "pretty" && a.format != "json" {
		return fmt.Errorf("-format is %q: want pretty or json", a.format)
	}
	client, err := c.Client.OpenVia(func(next http.RoundTripper) http.RoundTripper { return typed{next, a.kind} })
	if err != nil {
		return err
	}
	var e explained.Explanation
	path := "/v1/dns/explain/" + url.PathEscape(args[0])
	if _, err := client.Raw().Query(path, &e, nil); err != nil {
		return fmt.Errorf("ask what %s is answered with: %w", args[0], err)
	}
	if a.format == "json" {
		return command.JSON(c.Stdout, e)
	}
	return show(c.Stdout, &e)
}

// typed is an http.RoundTripper that asks for a type of records, which the official client has no way to.
type typed struct {
	next http.RoundTripper
	kind string
}

// RoundTrip implements http.RoundTripper.
func (t typed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	q := r.URL.Query()
	q.Set("type", t.kind)
	r.URL.RawQuery = q.Encode()
	return t.next.RoundTrip(r)
}

func show(out io.Writer, e *explained.Explanation) error {
	code := e.Code
	if code == "" {
		code = "recursors would be asked"
	}
	if len(e.Datacenters) > 0 {
		code += ", answered by " + strings.Join(e.Datacenters, ", ")
	}
	if e.Age > 0 {
		code += fmt.Sprintf(", as it was %.0f s ago", e.Age)
	}
	fmt.Fprintf(out, "%s %s: %s\n\n", e.Name, e.Type, code)
	parts := [][]string{{"Part", "Means"}}
	for _, p := range e.Read.Parts {
		parts = append(parts, []string{p.Text, p.Means})
	}
	if err := command.Table(out, parts); err != nil {
		return err
	}
	for _, list := range [][]explained.Record{e.Answer, e.Additional} {
		if err := records(out, list); err != nil {
			return err
		}
	}
	if len(e.Why) > 0 {
		fmt.Fprintln(out)
	}
	for _, w := range e.Why {
		fmt.Fprintln(out, w)
	}
	return nil
}

func records(out io.Writer, list []explained.Record) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	rows := [][]string{{"Name", "Type", "TTL", "Data"}}
	for _, r := range list {
		rows = append(rows, []string{r.Name, r.Type, fmt.Sprint(r.TTL), r.Data})
	}
	return command.Table(out, rows)
}

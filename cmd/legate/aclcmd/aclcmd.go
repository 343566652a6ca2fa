// Package aclcmd manages access control: tokens, policies, roles, auth methods and
// binding rules, and logging in to get a token. Results are laid out as users of Consul
// know them, since scripts look for their labels.
package aclcmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// idLength is that of a whole ID; what is shorter is the beginning of one.
const idLength = 36

// The IDs of what is built in, which may be called by its name.
const (
	anonymousID  = "00000000-0000-0000-0000-000000000002"
	managementID = "00000000-0000-0000-0000-000000000001"
)

// output is how a command shows its result.
type output struct {
	format string
	meta   bool
}

func (o *output) Flags(fs *flag.FlagSet) {
	fs.StringVar(&o.format, "format", "pretty", "`form` of the output: pretty or json.")
	fs.BoolVar(&o.meta, "meta", false, "show hashes and indexes, too.")
}

// check refuses a form that is unknown, before anything is changed.
func (o *output) check() error {
	if o.format != "pretty" && o.format != "json" {
		return fmt.Errorf("unknown -format %q: it is pretty or json", o.format)
	}
	return nil
}

// show writes v as JSON, or for people what say writes.
func (o *output) show(c *command.Call, v any, say func(*page)) error {
	if o.format == "json" {
		return command.JSON(c.Stdout, v)
	}
	p := &page{meta: o.meta, safe: command.IsTerminal(c.Stdout)}
	say(p)
	_, err := io.WriteString(c.Stdout, p.String())
	return err
}

// open checks the output and returns a client of the agent.
func (o *output) open(c *command.Call) (*api.Client, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return c.Client.Open()
}

// wholeID makes an ID of the beginning of one. It asks for the list only if it has to.
func wholeID(what, given string, list func() ([]string, error)) (string, error) {
	if len(given) == idLength {
		return given, nil
	}
	ids, err := list()
	if err != nil {
		return "", fmt.Errorf("list what %s %q may be: %w", what, given, err)
	}
	found := ""
	for _, id := range ids {
		if !strings.HasPrefix(id, strings.ToLower(given)) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("more than one %s has an ID that begins with %q: give more of it", what, given)
		}
		found = id
	}
	if found == "" {
		return "", fmt.Errorf("no %s has an ID that begins with %q", what, given)
	}
	return found, nil
}

// idsOf lists the IDs of records.
func idsOf[T any](list []T, _ *api.QueryMeta, err error) func(func(T) string) ([]string, error) {
	return func(id func(T) string) ([]string, error) {
		var out []string
		for _, v := range list {
			out = append(out, id(v))
		}
		return out, err
	}
}

func tokenID(client *api.Client, q *api.QueryOptions, given string) (string, error) {
	if given == "anonymous" {
		return anonymousID, nil
	}
	return wholeID("token", given, func() ([]string, error) {
		return idsOf(client.ACL().TokenList(q))(func(t *api.ACLTokenListEntry) string { return t.AccessorID })
	})
}

func policyID(client *api.Client, q *api.QueryOptions, given string) (string, error) {
	if given == "global-management" {
		return managementID, nil
	}
	return wholeID("policy", given, func() ([]string, error) {
		return idsOf(client.ACL().PolicyList(q))(func(p *api.ACLPolicyListEntry) string { return p.ID })
	})
}

func roleID(client *api.Client, q *api.QueryOptions, given string) (string, error) {
	return wholeID("role", given, func() ([]string, error) {
		return idsOf(client.ACL().RoleList(q))(func(r *api.ACLRole) string { return r.ID })
	})
}

func bindingID(client *api.Client, q *api.QueryOptions, given string) (string, error) {
	return wholeID("binding rule", given, func() ([]string, error) {
		return idsOf(client.ACL().BindingRuleList("", q))(func(b *api.ACLBindingRule) string { return b.ID })
	})
}

// maxText bounds what is read from a file or the standard input, in bytes; the agent takes
// less.
const maxText = 2 << 20

// textOf is a text as it is given, of a file (@name) or from the standard input (-).
func textOf(stdin io.Reader, given string) (string, error) {
	from := stdin
	switch {
	case strings.HasPrefix(given, "@"):
		f, err := os.Open(given[1:])
		if err != nil {
			return "", err
		}
		defer f.Close()
		from = f
	case given != "-":
		return given, nil
	}
	b, err := io.ReadAll(io.LimitReader(from, maxText+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", given, err)
	case len(b) > maxText:
		return "", fmt.Errorf("%s has more than %d bytes", given, maxText)
	}
	return string(b), nil
}

// choice refuses both an ID and a name, or neither.
func choice(id, name string) error {
	if (id == "") == (name == "") {
		return errors.New("give either -id or -name")
	}
	return nil
}

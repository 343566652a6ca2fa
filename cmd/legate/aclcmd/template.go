package aclcmd

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
)

// TemplateList is the command acl templated-policy list.
func TemplateList() command.Command {
	return command.Command{
		Name: "acl templated-policy list", Synopsis: "List templated policies", Access: command.ToDatacenter,
		About:   "Lists the policies that are built in and filled with a name.",
		Example: "legate acl templated-policy list",
		New:     func() command.Action { return &templateList{} },
	}
}

type templateList struct{ output }

func (a *templateList) Run(c *command.Call, _ []string) error {
	client, err := a.open(c)
	if err != nil {
		return err
	}
	list, _, err := client.ACL().TemplatedPolicyList(c.Client.Query())
	if err != nil {
		return fmt.Errorf("list templated policies: %w", err)
	}
	return a.show(c, list, func(p *page) {
		for _, name := range command.SortedKeys(list) {
			p.text("", name)
		}
	})
}

// TemplateRead is the command acl templated-policy read.
func TemplateRead() command.Command {
	return command.Command{
		Name: "acl templated-policy read", Synopsis: "Show a templated policy", Access: command.ToDatacenter,
		About:   "Shows what a templated policy is for, its variables and its rules.",
		Example: "legate acl templated-policy read -name=builtin/service",
		New:     func() command.Action { return &templateRead{} },
	}
}

type templateRead struct {
	output
	name string
}

func (a *templateRead) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	fs.StringVar(&a.name, "name", "", "`name` of the templated policy.")
}

func (a *templateRead) Run(c *command.Call, _ []string) error {
	if a.name == "" {
		return errors.New("missing -name")
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	t, _, err := client.ACL().TemplatedPolicyReadByName(a.name, c.Client.Query())
	if err == nil && t == nil {
		err = errors.New("there is none: legate acl templated-policy list names all")
	}
	if err != nil {
		return fmt.Errorf("read the templated policy %q: %w", a.name, err)
	}
	return a.show(c, t, func(p *page) {
		p.column = tokenColumn - 1
		p.row("Name", t.TemplateName)
		p.row("Description", t.Description)
		usage := "\tlegate acl token create -templated-policy=" + t.TemplateName
		fmt.Fprintln(p, "Input variables:")
		if strings.Contains(t.Template, "{{.Name}}") {
			fmt.Fprintln(p, "\tName: String - Required")
			usage += " -var=name:NAME"
		} else {
			fmt.Fprintln(p, "\tNone")
		}
		fmt.Fprintln(p, "Example usage:\n"+usage)
		if p.meta {
			fmt.Fprintln(p, "Schema:")
			p.text("", t.Schema)
		}
		fmt.Fprintln(p, "Rules:")
		p.text("", t.Template)
	})
}

// TemplatePreview is the command acl templated-policy preview.
func TemplatePreview() command.Command {
	return command.Command{
		Name: "acl templated-policy preview", Synopsis: "Show the policy that a templated policy makes", Access: command.ToDatacenter,
		About:   "Shows the policies that templated policies make of their variables. Nothing is stored.",
		Example: "legate acl templated-policy preview -name=builtin/service -var=name:web\nlegate acl templated-policy preview -file=templates.hcl",
		New:     func() command.Action { return &templatePreview{} },
	}
}

type templatePreview struct {
	output
	templateFlags
}

func (a *templatePreview) Flags(fs *flag.FlagSet) {
	a.output.Flags(fs)
	fs.StringVar(&a.name, "name", "", "`name` of the templated policy, filled with -var.")
	fs.StringVar(&a.file, "file", "", "`file` of templated policies with their variables.")
	fs.Var(&a.vars, "var", "variable of the templated policy, as `NAME:VALUE`; may be repeated.")
}

func (a *templatePreview) Run(c *command.Call, _ []string) error {
	if a.name == "" && a.file == "" {
		return errors.New("missing -name or -file")
	}
	list, err := a.read()
	if err != nil {
		return err
	}
	client, err := a.open(c)
	if err != nil {
		return err
	}
	var made []*api.ACLPolicy
	for _, t := range list {
		p, _, err := client.ACL().TemplatedPolicyPreview(t, nil)
		if err != nil {
			return fmt.Errorf("preview the templated policy %q: %w", t.TemplateName, err)
		}
		p.Datacenters = t.Datacenters
		made = append(made, p)
	}
	var shown any = made
	if len(made) == 1 {
		shown = made[0]
	}
	return a.show(c, shown, func(p *page) {
		for i, pol := range made {
			if i > 0 {
				fmt.Fprintln(p)
			}
			p.policy(pol)
		}
	})
}

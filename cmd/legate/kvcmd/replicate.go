package kvcmd

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/state/replication"
)

// replicationPath is where rules are asked for over HTTP.
const replicationPath = "/v1/operator/kv-replication"

// Replicate is the command kv replicate.
func Replicate() command.Command {
	return command.Command{
		Name: "kv replicate", Synopsis: "Copy keys of another datacenter, and keep the copy current", Access: command.ToDatacenter,
		About: "Makes a rule in the datacenter that is asked: what is below a prefix in another datacenter is copied here, and whatever is\n" +
			"written or deleted there follows. In a mirror nobody else writes: what is below its prefix here is what is there. In mode\n" +
			"newest both sides may write and have a rule for each other: of writes to one key the last one stays.\n" +
			"Values and flags are copied, sessions and locks are not. A rule is named by the prefix that it copies to.",
		Example: "legate kv replicate -from dc1 -prefix config/\nlegate kv replicate -from dc1 -prefix config/ -to-prefix dc1/config/\nlegate kv replicate -list\nlegate kv replicate -pause -prefix config/",
		New:     func() command.Action { return &replicateAction{} },
	}
}

type replicateAction struct {
	from, prefix, to, mode                   string
	hasPrefix, hasTo                         bool
	list, pause, resume, remove, force, json bool
}

func (a *replicateAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.from, "from", "", "`datacenter` that has the keys.")
	fs.Func("prefix", "`prefix` of the keys there; \"\" for all.", func(text string) error {
		a.prefix, a.hasPrefix = text, true
		return nil
	})
	fs.Func("to-prefix", "`prefix` here; that of -prefix if it is not given.", func(text string) error {
		a.to, a.hasTo = text, true
		return nil
	})
	fs.StringVar(&a.mode, "mode", replication.Mirror, "`mode` of the copy: mirror, or newest, in which both sides write and what was written last stays.")
	fs.BoolVar(&a.force, "force", false, "have a mirror take the place of keys that are there.")
	fs.BoolVar(&a.list, "list", false, "list the rules and how they stand.")
	fs.BoolVar(&a.pause, "pause", false, "pause a rule; nobody else writes into a mirror meanwhile.")
	fs.BoolVar(&a.resume, "resume", false, "have a paused rule go on.")
	fs.BoolVar(&a.remove, "remove", false, "remove a rule; what it has copied stays.")
	fs.BoolVar(&a.json, "json", false, "write JSON.")
}

func (a *replicateAction) check() error {
	modes := 0
	for _, on := range []bool{a.list, a.pause, a.resume, a.remove} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return errors.New("only one of -list, -pause, -resume and -remove may be given")
	case a.list:
		return nil
	case modes == 1 && !a.hasPrefix && !a.hasTo:
		return errors.New("name the rule by the prefix that it copies to: -to-prefix, or -prefix if they are the same")
	case modes == 0 && (a.from == "" || !a.hasPrefix):
		return errors.New("say what is to be copied: -from DATACENTER -prefix PREFIX (or -list, -pause, -resume, -remove)")
	}
	return nil
}

// target is the prefix here.
func (a *replicateAction) target() string {
	if a.hasTo {
		return a.to
	}
	return a.prefix
}

func (a *replicateAction) Run(c *command.Call, _ []string) error {
	if err := a.check(); err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	switch {
	case a.list:
		return a.show(c, client)
	case a.pause:
		return a.change(c, client, "pause", "Paused")
	case a.resume:
		return a.change(c, client, "resume", "Resumed")
	case a.remove:
		return a.change(c, client, "remove", "Removed")
	}
	var rule replication.Rule
	target := a.target()
	req := map[string]any{"Datacenter": a.from, "Prefix": a.prefix, "Target": target, "Mode": a.mode, "Force": a.force}
	if err := put(client, replicationPath, req, &rule); err != nil {
		return fmt.Errorf("copy %q of datacenter %s: %w", a.prefix, a.from, err)
	}
	if a.json {
		return command.JSON(c.Stdout, rule)
	}
	_, err = fmt.Fprintf(c.Stdout, "Keys below %q of datacenter %s are copied to %q (%s).\n", rule.Prefix, rule.Datacenter, rule.Target, rule.Mode)
	return err
}

func put(client *api.Client, path string, in, out any) error {
	_, err := client.Raw().Write(path, in, out, nil)
	return err
}

func (a *replicateAction) change(c *command.Call, client *api.Client, change, done string) error {
	if err := put(client, replicationPath+"/"+change, map[string]string{"Target": a.target()}, nil); err != nil {
		return fmt.Errorf("change the rule that copies keys to %q: %w", a.target(), err)
	}
	_, err := fmt.Fprintf(c.Stdout, "%s the rule that copies keys to %q.\n", done, a.target())
	return err
}

func (a *replicateAction) show(c *command.Call, client *api.Client) error {
	var all replication.Listing
	if _, err := client.Raw().Query(replicationPath, &all, c.Client.Query()); err != nil {
		return fmt.Errorf("list the rules of replication: %w", err)
	}
	if a.json {
		return command.JSON(c.Stdout, all)
	}
	return writeRules(c.Stdout, &all)
}

// writeRules writes how the rules stand.
func writeRules(w io.Writer, all *replication.Listing) error {
	if len(all.Rules) == 0 {
		_, err := fmt.Fprintf(w, "Datacenter %s copies no keys of others.\n", command.Printable(all.Datacenter))
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "From\tPrefix\tTo\tMode\tState\tBehind\tKeys behind\tIndex there\tWritten\tDeleted\tConflicts\tMended\tError")
	for i := range all.Rules {
		s := &all.Rules[i]
		cells := []string{s.Datacenter, strconv.Quote(s.Prefix), strconv.Quote(s.Target), s.Mode, s.State, behind(s.LagSeconds)}
		for _, n := range []uint64{s.LagEntries, s.Index, s.Written, s.Deleted, s.Conflicts, s.Mended} {
			cells = append(cells, strconv.FormatUint(n, 10))
		}
		cells = append(cells, cmp.Or(s.Error, "-"))
		for j := range cells {
			cells[j] = command.Printable(cells[j])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// behind is a lag as it is shown.
func behind(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond).String()
}

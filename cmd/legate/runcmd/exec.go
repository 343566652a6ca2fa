package runcmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/agent/exec"
	"github.com/legate-project/legate/cmd/legate/command"
)

// maxScript bounds a script: in JSON it must fit what agents take.
const maxScript = 256 << 10

// Exec is the command exec.
func Exec() command.Command {
	return command.Command{
		Name: "exec", Synopsis: "Run a command on the agents of a datacenter", Args: "COMMAND... | -", Max: -1, Access: command.ToDatacenter,
		About: "Has every agent that matches -node, -service and -tag run the command and prints what they say as it comes, then how\n" +
			"each ended. With - a script is read from standard input. It ends after -wait without news. Agents take part only if\n" +
			"their configuration says disable_remote_exec = false. Exit code 2: a command failed somewhere.",
		Example: "legate exec uptime\nlegate exec -service=web -tag=v2 'systemctl reload nginx'\nlegate exec -node='^db-' - < script.sh",
		New:     func() command.Action { return &execAction{} },
	}
}

type execAction struct {
	node, service, tag, prefix string
	wait, replicate            time.Duration
	shell, verbose             bool
}

func (a *execAction) Flags(fs *flag.FlagSet) {
	fs.StringVar(&a.node, "node", "", "only nodes whose name matches this regular `expression`.")
	fs.StringVar(&a.service, "service", "", "only nodes with a service whose name matches this regular `expression`.")
	fs.StringVar(&a.tag, "tag", "", "only nodes where that service has a tag that matches this regular `expression`.")
	fs.StringVar(&a.prefix, "prefix", events.RemoteExec, "`prefix` in the key/value store for the job and its output.")
	fs.DurationVar(&a.wait, "wait", 2*time.Second, "`duration` without news after which all is taken to be done.")
	fs.DurationVar(&a.replicate, "wait-repl", 200*time.Millisecond, "`duration` for the job to be replicated before agents are told.")
	fs.BoolVar(&a.shell, "shell", true, "run the command with sh -c.")
	fs.BoolVar(&a.verbose, "verbose", false, "tell what happens.")
}

func (a *execAction) spec(c *command.Call, args []string) (*exec.Job, error) {
	switch {
	case len(args) == 0:
		return nil, errors.New("name the command, or - for a script on standard input")
	case a.tag != "" && a.service == "":
		return nil, errors.New("-tag goes with -service")
	case a.wait <= 0 || a.replicate < 0:
		return nil, errors.New("-wait must be above 0, -wait-repl not below")
	case len(args) == 1 && args[0] == "-":
		script, err := io.ReadAll(io.LimitReader(c.Stdin, maxScript+1))
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		if len(script) == 0 || len(script) > maxScript {
			return nil, fmt.Errorf("the script has %d bytes: want 1 to %d", len(script), maxScript)
		}
		return &exec.Job{Script: script, Wait: a.wait}, nil
	case a.shell:
		return &exec.Job{Command: strings.Join(args, " "), Wait: a.wait}, nil
	}
	return &exec.Job{Args: args, Wait: a.wait}, nil
}

func (a *execAction) Run(c *command.Call, args []string) error {
	spec, err := a.spec(c, args)
	if err != nil {
		return err
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	r := remoteExec{Client: client, Datacenter: c.Client.Datacenter, Node: a.node, Service: a.service, Tag: a.tag, Prefix: a.prefix,
		Wait: a.wait, Replicate: a.replicate, Out: c.Stdout, Terminal: command.IsTerminal(c.Stdout)}
	if a.verbose {
		r.Verbose = c.Stderr
	}
	failed, err := r.do(ctx, spec)
	if err == nil && failed > 0 {
		return &command.Exit{Code: command.ExitNoMatch, Text: fmt.Sprintf("the command failed on %d node(s)", failed)}
	}
	return err
}

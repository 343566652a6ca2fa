package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/internal/lifecycle"
)

const (
	execEvent = "_rexec"
	// execTTL is how long agents go on after this program has died.
	execTTL = 15 * time.Second
	// maxScript bounds a script, as agents do.
	maxScript = 256 << 10
)

// execCommands run a program on other agents.
func execCommands() []row {
	return []row{{name: "exec", synopsis: "Run a command on the agents of a datacenter", args: "COMMAND... | -", max: -1, remote: toDC,
		about: "Has every agent that matches -node, -service and -tag run the command and prints what they say as it comes, then how\n" +
			"each ended. With - a script is read from standard input. It ends after -wait without news. Agents take part only if\n" +
			"their configuration says disable_remote_exec = false. Exit code 2: a command failed somewhere.",
		example: "legate exec uptime\nlegate exec -service=web -tag=v2 'systemctl reload nginx'\nlegate exec -node='^db-' - < script.sh",
		action:  func(*app) action { return &execAction{} }}}
}

type execAction struct {
	node, service, tag, prefix string
	wait, replicate            time.Duration
	shell, verbose             bool
}

func (a *execAction) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.node, "node", "", "only nodes whose name matches this regular `expression`.")
	fs.StringVar(&a.service, "service", "", "only nodes with a service whose name matches this regular `expression`.")
	fs.StringVar(&a.tag, "tag", "", "only nodes where that service has a tag that matches this regular `expression`.")
	fs.StringVar(&a.prefix, "prefix", execEvent, "`prefix` in the key/value store for the job and its output.")
	fs.DurationVar(&a.wait, "wait", 2*time.Second, "`duration` without news after which all is taken to be done.")
	fs.DurationVar(&a.replicate, "wait-repl", 200*time.Millisecond, "`duration` for the job to be replicated before agents are told.")
	fs.BoolVar(&a.shell, "shell", true, "run the command with sh -c.")
	fs.BoolVar(&a.verbose, "verbose", false, "tell what happens.")
}

// execSpec is the job as agents read it.
type execSpec struct {
	Command string
	Args    []string
	Script  []byte
	Wait    time.Duration
}

func (a *execAction) spec(c *call, args []string) (*execSpec, error) {
	switch {
	case len(args) == 0:
		return nil, errors.New("name the command, or - for a script on standard input")
	case a.tag != "" && a.service == "":
		return nil, errors.New("-tag goes with -service")
	case a.wait <= 0 || a.replicate < 0:
		return nil, errors.New("-wait must be above 0, -wait-repl not below")
	case len(args) == 1 && args[0] == "-":
		script, err := io.ReadAll(io.LimitReader(c.stdin, maxScript+1))
		if err != nil {
			return nil, fmt.Errorf("read the script: %w", err)
		}
		if len(script) == 0 || len(script) > maxScript {
			return nil, fmt.Errorf("the script has %d bytes: want 1 to %d", len(script), maxScript)
		}
		return &execSpec{Script: script, Wait: a.wait}, nil
	case a.shell:
		return &execSpec{Command: strings.Join(args, " "), Wait: a.wait}, nil
	}
	return &execSpec{Args: args, Wait: a.wait}, nil
}

func (a *execAction) run(c *call, args []string) error {
	spec, err := a.spec(c, args)
	if err != nil {
		return err
	}
	client, err := c.client.open()
	if err != nil {
		return err
	}
	ctx, stop, err := c.interruptible()
	if err != nil {
		return err
	}
	defer stop()
	x := &remoteRun{call: c, ctx: ctx, client: client, action: a, nodes: map[string]*remoteNode{}}
	if err := x.begin(); err != nil {
		return err
	}
	err = x.carryOut(spec)
	return errors.Join(err, x.end())
}

// remoteRun is one run of a command on agents.
type remoteRun struct {
	*call
	ctx    context.Context
	client *api.Client
	action *execAction

	session string
	base    string // prefix/session/
	renewed chan struct{}
	work    *lifecycle.Group
	nodes   map[string]*remoteNode
	index   uint64
	seen    map[string]bool
}

// remoteNode is how far one agent is.
type remoteNode struct {
	line string // the last one, while it has no end
	code string // "" while it runs
}

// begin makes the session that holds the job together: agents stop when it ends.
func (x *remoteRun) begin() error {
	entry := &api.SessionEntry{Name: "Remote execution", TTL: execTTL.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond}
	if x.call.client.datacenter != "" { // a session is a node's: one of that datacenter
		servers, _, err := x.client.Health().Service("consul", "", true, nil)
		if err != nil {
			return fmt.Errorf("find a server of datacenter %s: %w", x.call.client.datacenter, err)
		}
		if len(servers) == 0 {
			return fmt.Errorf("find a server of datacenter %s: none is healthy", x.call.client.datacenter)
		}
		entry.Node = servers[0].Node.Node
	}
	id, _, err := x.client.Session().Create(entry, nil)
	if err != nil {
		return fmt.Errorf("create a session: %w", err)
	}
	x.session, x.base = id, path.Join(x.action.prefix, id)+"/"
	x.renewed, x.work, x.seen = make(chan struct{}), lifecycle.New("session"), map[string]bool{}
	return x.work.Go("renew", func(context.Context) {
		// It ends with renewed. When it fails agents notice, and so does the list.
		_ = x.client.Session().RenewPeriodic(execTTL.String(), id, nil, x.renewed)
	})
}

// end cleans up. The session goes first, so that agents stop.
func (x *remoteRun) end() error {
	close(x.renewed) // RenewPeriodic destroys the session
	_ = x.work.Stop(context.Background())
	_, err := x.client.KV().DeleteTree(x.base, nil)
	if err != nil {
		return fmt.Errorf("remove the job below %s: %w", x.base, err)
	}
	return nil
}

func (x *remoteRun) carryOut(spec *execSpec) error {
	job, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	ok, _, err := x.client.KV().Acquire(&api.KVPair{Key: x.base + "job", Value: job, Session: x.session}, nil)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("store the job at %sjob", x.base), err)
	}
	select {
	case <-x.ctx.Done():
		return errors.New("interrupted")
	case <-time.After(x.action.replicate):
	}
	payload, err := json.Marshal(map[string]string{"Prefix": strings.TrimSuffix(x.action.prefix, "/"), "Session": x.session})
	if err != nil {
		return err
	}
	id, _, err := x.client.Event().Fire(&api.UserEvent{Name: execEvent, Payload: payload, NodeFilter: x.action.node,
		ServiceFilter: x.action.service, TagFilter: x.action.tag}, nil)
	if err != nil {
		return fmt.Errorf("tell the agents: %w", err)
	}
	if x.action.verbose {
		fmt.Fprintf(x.stderr, "Session %s, event %s\n", x.session, id)
	}
	if err := x.listen(); err != nil {
		return err
	}
	return x.summary()
}

// listen prints what agents write until nothing came for a while.
func (x *remoteRun) listen() error {
	last := time.Now()
	for {
		left := x.action.wait - time.Since(last)
		if left <= 0 {
			return nil
		}
		opts := (&api.QueryOptions{WaitIndex: x.index, WaitTime: max(left, time.Millisecond)}).WithContext(x.ctx)
		pairs, meta, err := x.client.KV().List(x.base, opts)
		if x.ctx.Err() != nil {
			return errors.New("interrupted: the agents are told to stop")
		}
		if err != nil {
			return fmt.Errorf("read what the agents say: %w", err)
		}
		if len(pairs) == 0 {
			return errors.New("the session was lost: the agents are stopping")
		}
		if meta.LastIndex < x.index { // restored from a snapshot
			meta.LastIndex = 0
		}
		x.index = meta.LastIndex
		if x.news(pairs) {
			last = time.Now()
		}
	}
}

// news prints what is new and reports whether anything was.
func (x *remoteRun) news(pairs api.KVPairs) bool {
	fresh := false
	for _, p := range pairs {
		node, name, ok := strings.Cut(strings.TrimPrefix(p.Key, x.base), "/")
		if !ok || x.seen[p.Key] {
			continue
		}
		x.seen[p.Key], fresh = true, true
		n := x.nodes[node]
		if n == nil {
			n = &remoteNode{}
			x.nodes[node] = n
		}
		switch {
		case name == "ack" && x.action.verbose:
			fmt.Fprintf(x.stderr, "%s: begun\n", node)
		case name == "exit":
			x.print(node, n, "", true)
			n.code = string(p.Value)
			fmt.Fprintf(x.stdout, "==> %s: finished with exit code %s\n", node, n.code)
		case strings.HasPrefix(name, "out/"):
			x.print(node, n, string(p.Value), false)
		}
	}
	return fresh
}

// print prints whole lines with the node in front, and at the end what is left.
func (x *remoteRun) print(node string, n *remoteNode, text string, end bool) {
	n.line += text
	for {
		line, rest, whole := strings.Cut(n.line, "\n")
		if !whole && (!end || line == "") {
			return
		}
		fmt.Fprintf(x.stdout, "    %s: %s\n", node, line)
		if n.line = rest; !whole {
			return
		}
	}
}

func (x *remoteRun) summary() error {
	if len(x.nodes) == 0 {
		return errors.New("no agent took the job: do -node, -service and -tag match, and is disable_remote_exec = false there?")
	}
	var running []string
	done, failed := 0, 0
	for name, n := range x.nodes {
		switch code, err := strconv.Atoi(n.code); {
		case n.code == "":
			running = append(running, name)
		case err != nil || code != 0:
			done++
			failed++
		default:
			done++
		}
	}
	sort.Strings(running)
	fmt.Fprintf(x.stdout, "%d / %d node(s) completed / acknowledged\n", done, len(x.nodes))
	if len(running) > 0 {
		return fmt.Errorf("no news for %s and still running on %s", x.action.wait, strings.Join(running, ", "))
	}
	if failed > 0 {
		return &exit{exitChild, fmt.Sprintf("the command failed on %d of %d nodes", failed, len(x.nodes))}
	}
	return nil
}

package runcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/agent/events"
	"github.com/legate-project/legate/agent/exec"
	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/lifecycle"
)

// ttl is how long agents go on after this program has died.
const ttl = 15 * time.Second

// do has the agents run the job and returns on how many it failed.
func (r remoteExec) do(ctx context.Context, job *exec.Job) (failed int, err error) {
	x := &remoteRun{remoteExec: r, ctx: ctx, nodes: map[string]*agent{}}
	if err := x.begin(); err != nil {
		return 0, err
	}
	failed, err = x.carryOut(job)
	return failed, errors.Join(err, x.end())
}

// remoteExec says which agents are asked and how long to listen.
type remoteExec struct {
	Client     *api.Client
	Datacenter string // "" for the agent's own
	// Node, Service and Tag are regular expressions that choose agents.
	Node, Service, Tag string
	Prefix             string        // of the keys
	Wait               time.Duration // without news, after which all is taken to be done
	Replicate          time.Duration // for the job to be replicated
	Out                io.Writer     // what agents say
	Terminal           bool          // Out is one: control characters are written out
	Verbose            io.Writer     // what else happens; nil for nowhere
}

// remoteRun is one remoteExec under way.
type remoteRun struct {
	remoteExec
	ctx     context.Context
	session string
	base    string // prefix/session/
	renewed chan struct{}
	work    *lifecycle.Group
	nodes   map[string]*agent
	index   uint64
	seen    map[string]bool
}

// agent is how far one agent is.
type agent struct {
	line string // the last one, while it has no end
	code string // "" while it runs
}

// begin makes the session that holds the job together: agents stop when it ends.
func (x *remoteRun) begin() error {
	entry := &api.SessionEntry{Name: "Remote execution", TTL: ttl.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond}
	if x.Datacenter != "" { // a session is a node's: one of that datacenter
		servers, _, err := x.Client.Health().Service("consul", "", true, nil)
		if err != nil {
			return fmt.Errorf("find a server of datacenter %s: %w", x.Datacenter, err)
		}
		if len(servers) == 0 {
			return fmt.Errorf("find a server of datacenter %s: none is healthy", x.Datacenter)
		}
		entry.Node = servers[0].Node.Node
	}
	id, _, err := x.Client.Session().Create(entry, nil)
	if err != nil {
		return fmt.Errorf("create a session: %w", err)
	}
	x.session, x.base = id, path.Join(x.Prefix, id)+"/"
	x.renewed, x.work, x.seen = make(chan struct{}), lifecycle.New("session"), map[string]bool{}
	return x.work.Go("renew", func(context.Context) {
		// It ends with renewed. When it fails agents notice, and so does the list.
		_ = x.Client.Session().RenewPeriodic(ttl.String(), id, nil, x.renewed)
	})
}

// end cleans up. The session goes first, so that agents stop.
func (x *remoteRun) end() error {
	close(x.renewed) // RenewPeriodic destroys the session
	_ = x.work.Stop(context.Background())
	_, err := x.Client.KV().DeleteTree(x.base, nil)
	if err != nil {
		return fmt.Errorf("remove the job below %s: %w", x.base, err)
	}
	return nil
}

func (x *remoteRun) carryOut(job *exec.Job) (failed int, err error) {
	text, err := json.Marshal(job)
	if err != nil {
		return 0, err
	}
	ok, _, err := x.Client.KV().Acquire(&api.KVPair{Key: x.base + "job", Value: text, Session: x.session}, nil)
	if err != nil || !ok {
		return 0, errors.Join(fmt.Errorf("store the job at %sjob", x.base), err)
	}
	select {
	case <-x.ctx.Done():
		return 0, errors.New("interrupted")
	case <-time.After(x.Replicate):
	}
	payload, err := json.Marshal(map[string]string{"Prefix": path.Clean(x.Prefix), "Session": x.session})
	if err != nil {
		return 0, err
	}
	id, _, err := x.Client.Event().Fire(&api.UserEvent{Name: events.RemoteExec, Payload: payload, NodeFilter: x.Node,
		ServiceFilter: x.Service, TagFilter: x.Tag}, nil)
	if err != nil {
		return 0, fmt.Errorf("tell the agents: %w", err)
	}
	if x.Verbose != nil {
		fmt.Fprintf(x.Verbose, "Session %s, event %s\n", x.session, id)
	}
	if err := x.listen(); err != nil {
		return 0, err
	}
	return x.summary()
}

// listen prints what agents write until nothing came for a while.
func (x *remoteRun) listen() error {
	last := time.Now()
	for {
		left := x.Wait - time.Since(last)
		if left <= 0 {
			return nil
		}
		opts := (&api.QueryOptions{WaitIndex: x.index, WaitTime: max(left, time.Millisecond)}).WithContext(x.ctx)
		pairs, meta, err := x.Client.KV().List(x.base, opts)
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

// news prints what is new and reports whether anything was. How a command ended
// comes last, though its key sorts before those of the output.
func (x *remoteRun) news(pairs api.KVPairs) bool {
	fresh := false
	ended := func(p *api.KVPair) bool { return strings.HasSuffix(p.Key, "/exit") }
	running := func(p *api.KVPair) bool { return !ended(p) }
	ordered := slices.Concat(slices.DeleteFunc(slices.Clone(pairs), ended), slices.DeleteFunc(slices.Clone(pairs), running))
	for _, p := range ordered {
		node, name, ok := strings.Cut(strings.TrimPrefix(p.Key, x.base), "/")
		if !ok || x.seen[p.Key] {
			continue
		}
		x.seen[p.Key], fresh = true, true
		n := x.nodes[node]
		if n == nil {
			n = &agent{}
			x.nodes[node] = n
		}
		switch {
		case name == "ack" && x.Verbose != nil:
			fmt.Fprintf(x.Verbose, "%s: begun\n", command.Printable(node))
		case name == "exit":
			x.print(node, n, "", true)
			n.code = string(p.Value)
			fmt.Fprintf(x.Out, "==> %s: finished with exit code %s\n", command.Printable(node), command.Printable(n.code))
		case strings.HasPrefix(name, "out/"):
			x.print(node, n, string(p.Value), false)
		}
	}
	return fresh
}

// print prints whole lines with the node in front, and at the end what is left.
func (x *remoteRun) print(node string, n *agent, text string, end bool) {
	n.line += text
	for {
		line, rest, whole := strings.Cut(n.line, "\n")
		if !whole && (!end || line == "") {
			return
		}
		if x.Terminal {
			line = command.Printable(line)
		}
		fmt.Fprintf(x.Out, "    %s: %s\n", command.Printable(node), line)
		if n.line = rest; !whole {
			return
		}
	}
}

func (x *remoteRun) summary() (failed int, err error) {
	if len(x.nodes) == 0 {
		return 0, errors.New("no agent took the job: do -node, -service and -tag match, and is disable_remote_exec = false there?")
	}
	var running []string
	done := 0
	for name, n := range x.nodes {
		switch code, err := strconv.Atoi(n.code); {
		case n.code == "":
			running = append(running, command.Printable(name))
		case err != nil || code != 0:
			done++
			failed++
		default:
			done++
		}
	}
	sort.Strings(running)
	fmt.Fprintf(x.Out, "%d / %d node(s) completed / acknowledged\n", done, len(x.nodes))
	if len(running) > 0 {
		return failed, fmt.Errorf("no news for %s and still running on %s", x.Wait, strings.Join(running, ", "))
	}
	return failed, nil
}

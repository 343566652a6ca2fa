package runcmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"

	"github.com/legate-project/legate/agent/watches"
	"github.com/legate-project/legate/cmd/legate/command"
)

// watchTypes is the table of what can be watched, with the flags that go with
// it; a star marks one that must be given.
func watchTypes() map[string][]string {
	return map[string][]string{
		"key":       {"key*"},
		"keyprefix": {"prefix*"},
		"services":  {"filter"},
		"nodes":     {"filter"},
		"service":   {"service*", "tag", "passingonly", "filter"},
		"checks":    {"service", "state", "filter"},
		"event":     {"name"},
	}
}

// Watch is the command watch.
func Watch() command.Command {
	return command.Command{
		Name: "watch", Synopsis: "Run a command whenever something changes", Args: "[COMMAND...]", Max: -1, Access: command.ToDatacenter,
		About: "Waits for changes of what -type and its flags name. Without a command it prints the state as JSON and ends. A\n" +
			"command runs at the start and after each change, one at a time, with the state as JSON on its standard input and the\n" +
			"index in CONSUL_INDEX; when it fails, so does watch. While the agent does not answer, watch tries again.",
		Example: "legate watch -type=key -key=app/config ./reload.sh\nlegate watch -type=service -service=web -tag=v1 -passingonly=true ./backends.sh\n" +
			"legate watch -type=checks -state=critical\nlegate watch -type=nodes",
		New: func() command.Action { return &watchAction{} },
	}
}

type watchAction struct {
	kind  string
	texts map[string]*string // key, prefix, service, state, name, filter
	tags  command.ListFlag
	// passingOnly is a text: Consul's flag takes its value as an argument of its
	// own, too.
	passingOnly string
	shell       bool
}

func (a *watchAction) Flags(fs *flag.FlagSet) {
	a.texts = map[string]*string{}
	text := func(name, usage string) { a.texts[name] = fs.String(name, "", usage) }
	fs.StringVar(&a.kind, "type", "", "what to watch: `key`, keyprefix, services, nodes, service, checks or event.")
	text("key", "`key` to watch, for -type=key.")
	text("prefix", "`prefix` of the keys to watch, for -type=keyprefix.")
	text("service", "`service` to watch, for -type=service and -type=checks.")
	text("state", "only checks in this `state` (any, passing, warning, critical), for -type=checks.")
	text("name", "`name` of the event to watch, for -type=event.")
	text("filter", "filter `expression`, for services, nodes, service and checks.")
	fs.Var(&a.tags, "tag", "only instances with this `tag`, for -type=service; may be repeated.")
	fs.StringVar(&a.passingOnly, "passingonly", "", "`true` for only instances whose checks all pass, for -type=service.")
	fs.BoolVar(&a.shell, "shell", true, "run the command with sh -c.")
}

// params are the parameters of the watch plan.
func (a *watchAction) params(stale bool) (map[string]any, error) {
	types := watchTypes()
	allowed, known := types[a.kind]
	if !known {
		return nil, fmt.Errorf("-type is %q: want one of %s", a.kind, strings.Join(command.SortedKeys(types), ", "))
	}
	params := map[string]any{"type": a.kind}
	for name, value := range a.texts {
		if *value != "" {
			params[name] = *value
		}
	}
	for _, name := range []string{"key", "prefix"} {
		if text := *a.texts[name]; text != "" {
			params[name] = strings.TrimPrefix(text, "/") // as keys are typed
		}
	}
	if len(a.tags) > 0 {
		params["tag"] = []string(a.tags)
	}
	if a.passingOnly != "" {
		only, err := strconv.ParseBool(a.passingOnly)
		if err != nil {
			return nil, fmt.Errorf("-passingonly is %q: want true or false", a.passingOnly)
		}
		params["passingonly"] = only
	}
	for _, name := range allowed {
		required, must := strings.CutSuffix(name, "*")
		if must && params[required] == nil {
			return nil, fmt.Errorf("-type=%s needs -%s", a.kind, required)
		}
	}
	for _, name := range command.SortedKeys(params) {
		if name != "type" && !slices.Contains(allowed, name) && !slices.Contains(allowed, name+"*") {
			return nil, fmt.Errorf("-%s does not go with -type=%s", name, a.kind)
		}
	}
	if params["service"] != nil && params["state"] != nil {
		return nil, errors.New("only one of -service and -state can be given")
	}
	if stale && a.kind != "event" {
		params["stale"] = true
	}
	return params, nil
}

func (a *watchAction) Run(c *command.Call, args []string) error {
	params, err := a.params(c.Client.Stale)
	if err != nil {
		return err
	}
	plan, err := watch.Parse(params)
	if err != nil {
		return fmt.Errorf("read what to watch: %w", err)
	}
	client, err := c.Client.Open()
	if err != nil {
		return err
	}
	// Later losses of the agent are waited out, but not that there is none.
	_, err = client.Agent().Self()
	if _, answered := errors.AsType[api.StatusError](err); err != nil && !answered {
		return fmt.Errorf("ask the agent: %w", err)
	}
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	w := &watcher{Call: c, ctx: ctx, plan: plan, args: args}
	if a.shell && len(args) > 0 {
		w.args = []string{"sh", "-c", strings.Join(args, " ")}
	}
	return w.run(client)
}

// watcher is one run of a plan. The plan calls its methods one at a time.
type watcher struct {
	*command.Call
	ctx  context.Context
	plan *watch.Plan
	args []string

	seen bool // something was told
	mu   sync.Mutex
	err  error
}

var _ hclog.SinkAdapter = (*watcher)(nil)

func (w *watcher) run(client *api.Client) error {
	defer context.AfterFunc(w.ctx, w.plan.Stop)()
	w.plan.Handler = func(index uint64, value any) {
		w.seen = true
		if err := w.handle(index, value); err != nil {
			w.fail(err)
		}
	}
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard})
	log.RegisterSink(w)
	if err := w.plan.RunWithClientAndHclog(client, log); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// fail ends the plan with an error.
func (w *watcher) fail(err error) {
	w.mu.Lock()
	w.err = err
	w.mu.Unlock()
	w.plan.Stop()
}

// handle prints the state, and nothing after it, or runs the command.
func (w *watcher) handle(index uint64, value any) error {
	if len(w.args) == 0 {
		w.plan.Stop()
		text, err := json.MarshalIndent(value, "", "    ")
		if err != nil {
			return fmt.Errorf("render the state: %w", err)
		}
		_, err = fmt.Fprintln(w.Stdout, string(text))
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("render the state: %w", err)
	}
	// Ctrl-C reaches the command through this program, which so knows why it ended.
	err = watches.Run(w.ctx, w.args, watches.State{Index: index, JSON: append(text, '\n')}, w.Stdout, w.Stderr)
	if w.ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run the command: %w", err)
	}
	return nil
}

// Accept implements hclog.SinkAdapter: it is how a plan says that a question
// failed, and when it asks again.
func (w *watcher) Accept(_ string, _ hclog.Level, _ string, args ...any) {
	var cause error
	var retry time.Duration
	for _, arg := range args {
		switch v := arg.(type) {
		case error:
			cause = v
		case time.Duration:
			retry = v
		}
	}
	if cause == nil || w.ctx.Err() != nil {
		return
	}
	answer, answered := errors.AsType[api.StatusError](cause)
	if !w.seen && (len(w.args) == 0 || (answered && refusal(answer.Code))) {
		w.fail(cause)
		return
	}
	fmt.Fprintf(w.Stderr, "Warning: %s\nThe next try is in %s.\n", w.Client.Explain(cause), retry)
}

// refusal says whether asking the same again is in vain.
func refusal(code int) bool {
	return code == http.StatusNotImplemented || (code >= 400 && code < 500 && code != http.StatusTooManyRequests)
}

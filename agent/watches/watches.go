// Package watches runs the handlers that the configuration binds to changes.
//
// Each watch follows what it names through the agent's own HTTP interface, as
// the command "legate watch" does, and runs its handler with the state after
// each change, one run at a time. A handler that fails is logged and is run
// again with the next change; it does not end the watch.
package watches

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"

	"github.com/legate-project/legate/internal/lifecycle"
)

// maxWatches bounds the watches of one agent.
const maxWatches = 1024

// Config says through whom watches ask.
type Config struct {
	// Client returns a client of the agent's own HTTP interface for a datacenter
	// and a token, "" for the agent's.
	Client func(datacenter, token string) (*api.Client, error)
	Log    *slog.Logger
}

// Watch is one definition, ready to run.
type Watch struct {
	plan    *watch.Plan
	of      map[string]any // as configured
	handler handler
}

// handler gets the state as JSON.
type handler interface {
	handle(ctx context.Context, state State) error
}

// Parse reads the definitions of the configuration. The error names the first
// one that is wrong by its place.
func Parse(definitions []map[string]any) ([]*Watch, error) {
	if len(definitions) > maxWatches {
		return nil, fmt.Errorf("watches: %d are defined, %d are possible", len(definitions), maxWatches)
	}
	var out []*Watch
	for i, d := range definitions {
		w, err := parse(d)
		if err != nil {
			return nil, fmt.Errorf("watches[%d]: %w", i, err)
		}
		out = append(out, w)
	}
	return out, nil
}

func parse(d map[string]any) (*Watch, error) {
	params := plain(d).(map[string]any)
	w := &Watch{of: plain(d).(map[string]any)}
	if err := passingOnly(params); err != nil {
		return nil, err
	}
	var err error
	if w.plan, err = watch.ParseExempt(params, []string{"handler", "args"}); err != nil {
		return nil, err
	}
	switch w.plan.HandlerType {
	case "http":
		w.handler, err = newRequest(w.plan.Exempt["http_handler_config"].(*watch.HttpHandlerConfig))
	case "", "script":
		w.handler, err = newScript(w.plan.Exempt["args"], w.plan.Exempt["handler"])
	default:
		err = fmt.Errorf("handler_type is %q: want script or http", w.plan.HandlerType)
	}
	return w, err
}

// passingOnly takes passingonly as a string, too, as many write it.
func passingOnly(params map[string]any) error {
	switch params["passingonly"] {
	case "true":
		params["passingonly"] = true
	case "false":
		params["passingonly"] = false
	}
	if v, ok := params["passingonly"]; ok {
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("passingonly is %v: want true or false", v)
		}
	}
	return nil
}

// plain copies a value; a block of HCL, which comes as a list of one map, becomes
// that map.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = plain(item)
		}
		return out
	case []map[string]any:
		if len(v) == 1 {
			return plain(v[0])
		}
	case []any:
		if m, ok := single(v); ok {
			return plain(m)
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	}
	return v
}

func single(v []any) (map[string]any, bool) {
	if len(v) != 1 {
		return nil, false
	}
	m, ok := v[0].(map[string]any)
	return m, ok
}

// Watches runs watches. Its methods are safe for concurrent use.
type Watches struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	running []*run
	stopped bool
}

// run is one watch under way.
type run struct {
	*Watch
	group *lifecycle.Group
}

// New returns Watches without one.
func New(cfg Config) *Watches {
	return &Watches{cfg: cfg, log: cfg.Log.With("component", "watches")}
}

// Set replaces the watches: those that were there already go on, those that are
// gone end.
func (w *Watches) Set(ctx context.Context, all []*Watch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return errors.New("watches have ended")
	}
	var next []*run
	old := slices.Clone(w.running)
	var errs []error
	for _, one := range all {
		i := slices.IndexFunc(old, func(r *run) bool { return reflect.DeepEqual(r.of, one.of) })
		if i >= 0 {
			next, old = append(next, old[i]), slices.Delete(old, i, i+1)
			continue
		}
		r, err := w.begin(one)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		next = append(next, r)
	}
	w.running = next
	for _, r := range old {
		errs = append(errs, r.group.Stop(ctx))
	}
	return errors.Join(errs...)
}

// Stop ends all watches and the handlers that run.
func (w *Watches) Stop(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	var errs []error
	for _, r := range w.running {
		errs = append(errs, r.group.Stop(ctx))
	}
	w.running = nil
	return errors.Join(errs...)
}

func (w *Watches) begin(one *Watch) (*run, error) {
	client, err := w.cfg.Client(one.plan.Datacenter, one.plan.Token)
	if err != nil {
		return nil, fmt.Errorf("watch of type %s: %w", one.plan.Type, err)
	}
	r := &run{Watch: one, group: lifecycle.New("watch of type " + one.plan.Type)}
	log := w.log.With("type", one.plan.Type)
	questions := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard})
	questions.RegisterSink(failures{log})
	return r, r.group.Go("watch", func(ctx context.Context) {
		defer context.AfterFunc(ctx, one.plan.Stop)()
		one.plan.Handler = func(index uint64, value any) { r.changed(ctx, log, index, value) }
		if err := one.plan.RunWithClientAndHclog(client, questions); err != nil {
			log.Error("a watch has ended", "error", err)
		}
	})
}

func (r *run) changed(ctx context.Context, log *slog.Logger, index uint64, value any) {
	state, err := json.Marshal(value)
	if err == nil {
		err = r.handler.handle(ctx, State{index, append(state, '\n')})
	}
	if err != nil && ctx.Err() == nil {
		log.Warn("the handler of a watch has failed", "error", err)
	}
}

// failures logs that a question of a plan failed, and when it asks again.
type failures struct{ log *slog.Logger }

var _ hclog.SinkAdapter = failures{}

// Accept implements hclog.SinkAdapter.
func (f failures) Accept(_ string, _ hclog.Level, _ string, args ...any) {
	values := map[string]any{}
	for i := 0; i+1 < len(args); i += 2 {
		if key, ok := args[i].(string); ok {
			values[key] = args[i+1]
		}
	}
	if values["error"] == nil {
		return
	}
	attrs := []any{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if d, ok := values[key].(time.Duration); ok {
			values[key] = d.String()
		}
		attrs = append(attrs, key, values[key])
	}
	f.log.Warn("what a watch follows cannot be read", attrs...)
}

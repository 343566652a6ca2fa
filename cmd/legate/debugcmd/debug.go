// Package debugcmd looks into a running agent: its numbers, its log, and an archive of
// diagnostics, out of which secrets are taken.
package debugcmd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/legate-project/legate/cmd/legate/command"
	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/internal/version"
)

const (
	minDebugInterval = 100 * time.Millisecond
	// maxProfile bounds the processor profile, and maxTrace the execution trace,
	// which grows by megabytes a second.
	maxProfile = 2 * time.Minute
	maxTrace   = 5 * time.Second
	// maxCapture bounds what is kept of one answer or log, in bytes.
	maxCapture = 256 << 20
	// maxSnapshots bounds how many profiles of the heap, and of the goroutines, are
	// kept: the first ones.
	maxSnapshots = 120
	// endOfCapture is how long what runs may take to end after the duration.
	endOfCapture = 10 * time.Second
)

// Debug is the command debug.
func Debug() command.Command {
	return command.Command{
		Name: "debug", Synopsis: "Collect a diagnostics archive from the agent", Max: 0, Access: command.ToAgent,
		About: "Collects for a while what the local agent knows: configuration, host, members, Raft group, federation, metrics, log and,\n" +
			"where enable_debug is set, profiles of processor, heap and goroutines and an execution trace. The archive is readable by its owner only; tokens and keys are taken out. An interrupt\n" +
			"ends the collection early and keeps what is there. legate debug show tells what is in it.",
		Example: "legate debug\nlegate debug -duration=30s -interval=5s\nlegate debug -capture=metrics -capture=logs -output=/tmp/agent-7",
		New:     func() command.Action { return &debugAction{now: time.Now} },
	}
}

type debugAction struct {
	captures           command.ListFlag
	interval, duration time.Duration
	since              time.Duration
	archive            bool
	output             string
	now                func() time.Time
}

func (a *debugAction) Flags(fs *flag.FlagSet) {
	fs.Var(&a.captures, "capture", "only this `kind`: agent, host, members, raft, federation, metrics, logs or pprof; may be repeated.")
	fs.DurationVar(&a.interval, "interval", 30*time.Second, "`time` between two captures of what changes.")
	fs.DurationVar(&a.duration, "duration", 5*time.Minute, "`time` to collect for.")
	fs.DurationVar(&a.since, "since", 0, "also keep the agent's log files written in this `time` until now, if they are on this machine (log_file).")
	fs.BoolVar(&a.archive, "archive", true, "make one .tar.gz; else leave a directory.")
	fs.StringVar(&a.output, "output", "", "`path` of the archive without .tar.gz, or of the directory. Default: legate-debug-<time>.")
}

// captureKinds are what -capture takes. Consul's "cluster" means members.
func captureKinds() []string {
	return []string{"agent", "host", "members", "raft", "federation", "metrics", "logs", "pprof"}
}

// check completes the flags.
func (a *debugAction) check() error {
	switch {
	case a.interval < minDebugInterval:
		return fmt.Errorf("-interval is %s: want at least %s", a.interval, minDebugInterval)
	case a.since < 0:
		return fmt.Errorf("-since is %s: want a time above zero", a.since)
	case a.duration < a.interval:
		return fmt.Errorf("-duration (%s) is shorter than -interval (%s)", a.duration, a.interval)
	}
	for i, kind := range a.captures {
		if kind == "cluster" {
			a.captures[i] = "members"
		} else if !slices.Contains(captureKinds(), kind) {
			return fmt.Errorf("-capture is %q: want one of %s", kind, strings.Join(captureKinds(), ", "))
		}
	}
	if len(a.captures) == 0 {
		a.captures = captureKinds()
	}
	if a.output == "" {
		a.output = "legate-debug-" + a.now().UTC().Format("20060102T150405Z")
	}
	a.output = filepath.Clean(a.output) // with a slash at its end, the archive would be within the directory that is removed
	if a.archive {
		a.output = strings.TrimSuffix(a.output, ".tar.gz")
	}
	for _, path := range []string{a.output, a.output + ".tar.gz"} {
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already: choose another -output", path)
		}
	}
	return nil
}

func (a *debugAction) Run(c *command.Call, _ []string) error {
	if err := a.check(); err != nil {
		return err
	}
	client, err := c.Client.OpenVia(func(next http.RoundTripper) http.RoundTripper { return texts{next} })
	if err != nil {
		return err
	}
	self, err := client.Agent().Self()
	if err != nil {
		return fmt.Errorf("ask the agent about itself: %w", err)
	}
	if err := os.Mkdir(a.output, 0o700); err != nil {
		return fmt.Errorf("make the directory to collect in: %w", err)
	}
	ctx, stop, err := c.Interruptible()
	if err != nil {
		return err
	}
	defer stop()
	d := &capture{debugAction: a, Call: c, client: client, index: debugIndex{
		Legate: version.Release(), AgentVersion: fmt.Sprint(self["Config"]["Version"]), Node: fmt.Sprint(self["Config"]["NodeName"]),
		Begin: a.now().UTC(), Interval: a.interval.String(), Duration: a.duration.String(), Captures: a.captures,
	}}
	fmt.Fprintf(c.Stdout, "Collecting from node %s for %s, every %s: %s\n", d.index.Node, a.duration, a.interval, strings.Join(a.captures, ", "))
	return errors.Join(d.collect(ctx, self), d.close()) // what is there is kept whatever happened
}

// debugIndex is index.json: what was collected, when, and what could not be.
type debugIndex struct {
	Legate, AgentVersion, Node string
	Begin, End                 time.Time
	Interval, Duration         string
	Captures                   []string
	Files                      map[string]int64 // sizes in bytes
	Missing                    []string         // what could not be collected and why
}

// capture is one run of debug. Its captures run at the same time, each with
// files of its own.
type capture struct {
	*debugAction
	*command.Call
	client *api.Client

	mu    sync.Mutex
	index debugIndex
}

func (d *capture) wants(kind string) bool { return slices.Contains(d.captures, kind) }

// collect fills the directory until the duration or ctx is over.
func (d *capture) collect(ctx context.Context, self map[string]map[string]any) error {
	limited, cancel := context.WithTimeout(ctx, d.duration)
	defer cancel()
	for _, x := range []struct{ kind, path string }{
		{"agent", "/v1/agent/self"}, {"host", "/v1/agent/host"}, {"members", "/v1/agent/members"}, {"raft", "/v1/operator/raft/configuration"},
		{"federation", "/v1/federation/status"},
	} {
		if d.wants(x.kind) {
			d.note(x.kind, answered(d.save(limited, x.path, x.kind+".json")))
		}
	}
	if d.wants("members") {
		d.note("members-wan", answered(d.saveWAN(limited)))
	}
	if d.since > 0 {
		logFile, _ := self["DebugConfig"]["log_file"].(string)
		d.note("log files", d.keepLogFiles(logFile))
	}
	work := lifecycle.New("debug")
	var err error
	if d.wants("logs") {
		err = work.Spawn("logs", func(context.Context) { d.note("logs", d.logs(limited)) })
	}
	profiles := d.wants("pprof") && d.profiled(limited)
	running, cancelRunning := context.WithCancel(ctx)
	defer cancelRunning()
	if profiles { // which end by themselves, a little after the duration
		err = errors.Join(err,
			work.Spawn("profile", func(context.Context) { d.note("profile", d.profile(running, "profile", maxProfile)) }),
			work.Spawn("trace", func(context.Context) { d.note("trace", d.profile(running, "trace", maxTrace)) }))
	}
	d.repeat(limited, profiles)
	late := time.AfterFunc(endOfCapture/2, cancelRunning) // an agent that hangs ends nothing
	defer late.Stop()
	ending, cancelEnding := context.WithTimeout(context.Background(), endOfCapture)
	defer cancelEnding()
	return errors.Join(err, work.Stop(ending))
}

// profiled says whether the agent serves profiles.
func (d *capture) profiled(ctx context.Context) bool {
	_, err := within(ctx, d.client.Debug().Goroutine)
	if answer, ok := errors.AsType[api.StatusError](err); ok && answer.Code == http.StatusNotFound {
		err = errors.New("the agent serves no profiles (they take enable_debug)")
	}
	d.note("pprof", answered(err))
	return err == nil
}

// repeat captures what changes at once and then each interval.
func (d *capture) repeat(ctx context.Context, profiles bool) {
	tick := time.NewTicker(d.interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		d.standing(ctx, n)
		if profiles && n < maxSnapshots {
			d.note("heap", d.snapshot(ctx, fmt.Sprintf("heap-%03d.prof", n), d.client.Debug().Heap))
			d.note("goroutine", d.snapshot(ctx, fmt.Sprintf("goroutine-%03d.prof", n), d.client.Debug().Goroutine))
		}
		select {
		case <-ctx.Done(): // how it ends is half of what show compares
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endOfCapture)
			defer cancel()
			d.standing(last, n+1)
			return
		case <-tick.C:
		}
	}
}

// standing captures the metrics and how things stand for the n-th time.
func (d *capture) standing(ctx context.Context, n int) {
	if d.wants("metrics") {
		d.note("metrics", d.metrics(ctx))
		d.note("prometheus", d.exposition(ctx, n))
	}
	d.note("timeline", d.moment(ctx))
}

// note keeps that something could not be collected; what was cut off by the
// end was.
func (d *capture) note(what string, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	line := what + ": " + d.Call.Client.Explain(err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.index.Missing, line) {
		return
	}
	d.index.Missing = append(d.index.Missing, line)
	fmt.Fprintln(d.Stderr, "Warning: not collected:", line)
}

// create makes a file in the directory. It is for its owner only.
func (d *capture) create(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(d.output, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// question asks the agent for JSON.
func (d *capture) question(ctx context.Context, path string) (any, error) {
	var answer any
	// Of any server: there may be no leader, which is when people collect evidence.
	_, err := d.client.Raw().Query(path, &answer, (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
	return answer, err
}

// members asks for the members of a pool.
func (d *capture) members(ctx context.Context, wan bool) ([]*api.AgentMember, error) {
	return within(ctx, func() ([]*api.AgentMember, error) { return d.client.Agent().Members(wan) })
}

// saveWAN keeps the members of the WAN pool.
func (d *capture) saveWAN(ctx context.Context) error {
	members, err := d.members(ctx, true)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(members, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.output, "members-wan.json"), append(text, '\n'), 0o600)
}

// save keeps an answer without its secrets.
func (d *capture) save(ctx context.Context, path, name string) error {
	answer, err := d.question(ctx, path)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(withoutSecrets(answer), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.output, name), append(text, '\n'), 0o600)
}

// metrics adds a line to metrics.json.
func (d *capture) metrics(ctx context.Context) error {
	answer, err := d.question(ctx, "/v1/agent/metrics")
	if err != nil {
		return err
	}
	line, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return d.add("metrics.json", line)
}

// snapshot keeps a profile of one moment.
func (d *capture) snapshot(ctx context.Context, name string, take func() ([]byte, error)) error {
	profile, err := within(ctx, take)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.output, name), profile, 0o600)
}

// profile keeps one that runs for a while.
func (d *capture) profile(ctx context.Context, name string, longest time.Duration) error {
	seconds := int(min(d.duration, longest) / time.Second)
	body, err := d.client.Debug().PProf(ctx, name, max(seconds, 1))
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer body.Close()
	return d.keep(name+".prof", body)
}

// logs keeps what the agent logs, at every level, until ctx ends.
func (d *capture) logs(ctx context.Context) error {
	lines, err := d.client.Agent().Monitor("TRACE", ctx.Done(), (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	file, err := d.create("legate.log")
	if err != nil {
		return err
	}
	for kept := 0; kept < maxCapture && err == nil; {
		select {
		case <-ctx.Done():
			return file.Close()
		case line := <-lines:
			if line == "" { // the client's mark for the end
				err = ctx.Err()
				if err == nil {
					err = errors.New("the agent ended the stream")
				}
				break
			}
			var n int
			n, err = fmt.Fprintln(file, line)
			kept += n
		}
	}
	return errors.Join(err, file.Close())
}

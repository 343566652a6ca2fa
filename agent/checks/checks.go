// Package checks runs health checks: each kind in a file of its own, all under
// one contract.
//
// A check that hangs, floods or lies hurts only itself: every run has a
// deadline and its output a bound. The package does not know what a result is
// for; it reports to a function.
package checks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/legate-project/legate/config"
)

// The states that a check reports.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
)

const (
	// MinInterval is the shortest time between runs.
	MinInterval = time.Second
	// DefaultTimeout of one run.
	DefaultTimeout = 10 * time.Second
	// DefaultOutput is how many bytes of output are kept.
	DefaultOutput = 4096
)

// Result of one run, or of several that thresholds make one.
type Result struct {
	Status string
	Output string
}

// Prober runs a check once. It returns when ctx ends at the latest.
type Prober interface {
	Probe(ctx context.Context) Result
}

// kind is one row of the table of kinds.
type kind struct {
	name string
	is   func(*config.CheckDefinition) bool
	make func(*config.CheckDefinition) (Prober, error) // nil for those that are told, not run: ttl and alias
}

// kinds lists what is served, in the order in which a definition is looked at.
func kinds() []kind {
	return []kind{
		{"ttl", func(d *config.CheckDefinition) bool { return d.TTL > 0 }, nil},
		{"http", func(d *config.CheckDefinition) bool { return d.HTTP != "" }, newHTTP},
		{"tcp", func(d *config.CheckDefinition) bool { return d.TCP != "" }, newTCP},
		{"udp", func(d *config.CheckDefinition) bool { return d.UDP != "" }, newUDP},
		{"grpc", func(d *config.CheckDefinition) bool { return d.GRPC != "" }, newGRPC},
		{"h2ping", func(d *config.CheckDefinition) bool { return d.H2Ping != "" }, newH2Ping},
		{"script", func(d *config.CheckDefinition) bool { return len(d.Args) > 0 && d.DockerContainerID == "" }, newScript},
		{"docker", func(d *config.CheckDefinition) bool { return d.DockerContainerID != "" }, newDocker},
		{"os_service", func(d *config.CheckDefinition) bool { return d.OSService != "" }, newOSService},
		{"alias", func(d *config.CheckDefinition) bool { return d.AliasNode != "" || d.AliasService != "" }, nil},
	}
}

// KindOf names the kind of a definition, or says why it has none.
func KindOf(d *config.CheckDefinition) (string, error) {
	k, err := find(d)
	return k.name, err
}

func find(d *config.CheckDefinition) (kind, error) {
	var found []kind
	for _, k := range kinds() {
		if k.is(d) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return kind{}, fmt.Errorf("check %q has no kind: use ttl, http, tcp, udp, grpc, h2ping, args, docker_container_id with args, os_service or an alias", d.Name)
	case 1:
		return found[0], nil
	}
	return kind{}, fmt.Errorf("check %q is both %s and %s: a check has one kind", d.Name, found[0].name, found[1].name)
}

// Validate says what is wrong with a definition.
func Validate(d *config.CheckDefinition) error {
	if d.TTL < 0 { // before its kind: it would have none
		return fmt.Errorf("check %q: TTL is %s, it must be > 0", d.Name, d.TTL)
	}
	k, err := find(d)
	if err != nil {
		return err
	}
	if d.TTL > 0 && d.Interval > 0 {
		return fmt.Errorf("check %q: it has a TTL and an Interval: a check is reported to the agent or run by it", d.Name)
	}
	if d.OutputMaxSize < 0 {
		return fmt.Errorf("check %q: OutputMaxSize is %d, it cannot be negative", d.Name, d.OutputMaxSize)
	}
	if d.Interval < 0 || d.Timeout < 0 || d.DeregisterCriticalServiceAfter < 0 ||
		d.SuccessBeforePassing < 0 || d.FailuresBeforeWarning < 0 || d.FailuresBeforeCritical < 0 {
		return fmt.Errorf("check %q: times and counts cannot be negative", d.Name)
	}
	if k.make == nil {
		return nil
	}
	if d.Interval <= 0 {
		return fmt.Errorf("check %q: Interval must be > 0 for %s checks", d.Name, k.name)
	}
	_, err = k.make(d)
	return err
}

// Runner runs checks. It is safe for concurrent use.
type Runner struct{ turns *turns }

// NewRunner returns a runner that runs a bounded number of scripts at once.
func NewRunner() *Runner { return &Runner{turns: newTurns()} }

// Run runs a check until ctx ends, for the first time at a moment within the
// given time, and reports each result that thresholds let through. TTL and alias
// checks are not run: others tell their state.
func (r *Runner) Run(ctx context.Context, d *config.CheckDefinition, first time.Duration, report func(Result)) error {
	k, err := find(d)
	if err != nil {
		return err
	}
	if k.make == nil {
		return fmt.Errorf("check %q is reported, not run", d.Name)
	}
	p, err := k.make(d)
	if err != nil {
		return err
	}
	if script, ok := p.(*scriptProbe); ok {
		script.turns = r.turns
	}
	interval, timeout := max(d.Interval, MinInterval), d.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
		if len(d.Args) > 0 {
			timeout = ScriptTimeout
		}
	}
	limit := outputLimit(d)
	gate := newThresholds(d)
	// Checks that begin together must not run together.
	next := time.NewTimer(rand.N(max(first, 1)))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		next.Reset(interval)
		run, cancel := context.WithTimeout(ctx, timeout)
		result := p.Probe(run)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if len(result.Output) > limit {
			result.Output = result.Output[:limit]
		}
		if passed, ok := gate.pass(result); ok {
			report(passed)
		}
	}
}

// thresholds lets a change of state through only after enough results in a
// row.
type thresholds struct {
	passing, warning, critical int
	good, bad                  int // results in a row
}

func newThresholds(d *config.CheckDefinition) *thresholds {
	t := &thresholds{passing: d.SuccessBeforePassing, warning: d.FailuresBeforeWarning, critical: d.FailuresBeforeCritical}
	if t.warning == 0 {
		t.warning = t.critical
	}
	return t
}

func (t *thresholds) pass(r Result) (Result, bool) {
	if r.Status != Critical {
		t.bad = 0
		t.good++
		return r, t.good >= t.passing
	}
	t.good = 0
	t.bad++
	switch {
	case t.bad >= t.critical:
		return r, true
	case t.bad >= t.warning:
		r.Status = Warning
		return r, true
	}
	return r, false
}

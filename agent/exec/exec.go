// Package exec runs what an operator asks the agents of a datacenter to run.
//
// A user event names a session and a prefix of the key/value store; below them
// is the job, and there the agent writes that it took it, what the command
// prints and how it ended. Every key is locked by the session: when whoever asked
// is gone, the session is, the keys go, and the command is ended. It does not
// decide who may ask: the agent hands events on only if remote execution is
// enabled, and the key/value store demands its rights.
package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/kv"
)

const (
	// maxJobs bounds the commands that run at once; more are not taken.
	maxJobs = 8
	// maxJob bounds a job as it is stored, in bytes.
	maxJob = 512 << 10
	// maxOutput bounds what is stored of a command's output, in bytes, and what
	// is held of it; what comes after is dropped and the last chunk says so.
	maxOutput = 4 << 20
	// findTimeout is how long a job may take to appear: the event may be faster
	// than replication.
	findTimeout = 10 * time.Second
	findPause   = 100 * time.Millisecond
	// callTimeout bounds one read or write.
	callTimeout = 10 * time.Second
)

// Config says for whom commands are run.
type Config struct {
	Caller   op.Caller
	NodeName string
	// Token of the agent's own requests; nil for none.
	Token      func() string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Exec takes jobs. Its methods are safe for concurrent use.
type Exec struct {
	cfg     Config
	log     *slog.Logger
	group   *lifecycle.Group
	slots   chan struct{}
	metrics *metrics
}

// New returns an Exec that takes jobs until Stop.
func New(cfg Config) *Exec {
	return &Exec{cfg: cfg, log: cfg.Log.With("component", "exec"), group: lifecycle.New("remote execution"),
		slots: make(chan struct{}, maxJobs), metrics: newMetrics(cfg.Registerer)}
}

// Stop ends the commands that run.
func (e *Exec) Stop(ctx context.Context) error { return e.group.Stop(ctx) }

// request is the payload of the event.
type request struct{ Prefix, Session string }

// Job is what is to be run, as whoever asks stores it in JSON: a command for the
// shell, the arguments of one without a shell, or the text of a script.
type Job struct {
	Command string
	Args    []string
	Script  []byte
	Wait    time.Duration
}

// Take begins the job that an event announces, beside others. A job that cannot
// be taken is logged: nobody waits for an answer.
func (e *Exec) Take(payload []byte) {
	var r request
	err := json.Unmarshal(payload, &r)
	switch {
	case err != nil:
	case r.Session == "" || strings.ContainsAny(r.Session, "/"):
		err = errors.New("it names no session")
	case r.Prefix == "":
		err = errors.New("it names no prefix")
	}
	if err == nil {
		select {
		case e.slots <- struct{}{}:
			err = e.group.Spawn("job", func(ctx context.Context) {
				defer func() { <-e.slots }()
				e.job(ctx, r)
			})
			if err != nil {
				<-e.slots
			}
		default:
			err = fmt.Errorf("%d others are running", maxJobs)
		}
	}
	if err != nil {
		e.metrics.jobs.WithLabelValues("refused").Inc()
		e.log.Warn("remote execution was asked for and not begun", "error", err)
	}
}

func (e *Exec) job(ctx context.Context, r request) {
	k := &keys{e: e, session: r.Session, base: path.Join(r.Prefix, r.Session)}
	e.log.Info("remote execution is asked for", "session", r.Session)
	s, err := k.find(ctx)
	if err == nil {
		err = k.put(ctx, "ack", nil)
	}
	if err != nil {
		e.metrics.jobs.WithLabelValues("refused").Inc()
		e.log.Warn("remote execution was asked for and not begun", "session", r.Session, "error", err)
		return
	}
	// What is run may hold secrets: it is not logged.
	e.log.Info("remote execution begins", "session", r.Session)
	code, err := k.run(ctx, s)
	if err == nil {
		err = k.put(ctx, "exit", fmt.Appendf(nil, "%d", code))
	}
	if err != nil {
		e.metrics.jobs.WithLabelValues("aborted").Inc()
		e.log.Warn("remote execution was broken off", "session", r.Session, "error", err)
		return
	}
	e.metrics.jobs.WithLabelValues("done").Inc()
	e.log.Info("remote execution has ended", "session", r.Session, "code", code)
}

// keys reads and writes what belongs to one job.
type keys struct {
	e       *Exec
	session string
	base    string // prefix/session
}

func (k *keys) header() op.Header {
	h := op.Header{}
	if k.e.cfg.Token != nil {
		h.Token = k.e.cfg.Token()
	}
	return h
}

// find reads the job, which may not have come here yet.
func (k *keys) find(ctx context.Context) (*Job, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	for {
		e, _, err := kv.Get.Call(ctx, k.e.cfg.Caller, k.header(), &kv.GetRequest{Key: k.base + "/job"})
		if err == nil && e != nil {
			return k.read(e)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(errors.New("read the job: it is not there"), err)
		case <-time.After(findPause):
		}
	}
}

func (k *keys) read(e *kv.Entry) (*Job, error) {
	if e.Session != k.session {
		return nil, errors.New("read the job: the session that the event names does not hold it")
	}
	if len(e.Value) > maxJob {
		return nil, fmt.Errorf("read the job: it has %d bytes, %d are allowed", len(e.Value), maxJob)
	}
	var s Job
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	if s.Command == "" && len(s.Args) == 0 && len(s.Script) == 0 {
		return nil, errors.New("read the job: it names no command")
	}
	return &s, nil
}

// errOver says that whoever asked does not wait any more.
var errOver = errors.New("the session is gone: nobody waits for it any more")

// put writes a key of this node below the job, locked by its session.
func (k *keys) put(ctx context.Context, name string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, _, err := kv.Apply.Call(ctx, k.e.cfg.Caller, k.header(), &kv.ApplyRequest{Verb: kv.Lock,
		Entry: kv.Entry{Key: k.base + "/" + k.e.cfg.NodeName + "/" + name, Value: value, Session: k.session}})
	switch {
	case err != nil:
		return fmt.Errorf("write %s: %w", name, err)
	case res == nil || !res.OK:
		return fmt.Errorf("write %s: %w", name, errOver)
	}
	return nil
}

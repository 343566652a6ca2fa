// Package rights knows on a client agent what the secrets that callers show stand for,
// by asking servers, and goes on knowing for a while when none can be asked.
//
// It promises that one secret is asked about by one call at a time, that what was
// refused by a server counts at once, and that a token is not taken beyond its end.
// What it keeps may be as old as Config.TTL, or older as DownPolicy says. It decides
// nothing about operations: servers ask for themselves.
package rights

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
)

const (
	// maxKept bounds the secrets that are kept; those used last stay.
	maxKept = 8192
	// maxTrees bounds the different sets of rules that are kept compiled.
	maxTrees = 1024
	// maxAsking bounds the questions under way: who makes up secrets fills it at most.
	maxAsking = 1024
	// maxSecret is the length in bytes of the longest secret that there is.
	maxSecret = 256
	// askTimeout bounds one question to a server. Whoever waits for it waits no longer
	// than that either.
	askTimeout = 10 * time.Second
	// patience is how long whoever shows a known secret waits for a server while the last
	// question found none: then what is known is used.
	patience = 200 * time.Millisecond
)

// Source answers for who shows a secret. The error is acl.ErrNotFound if it stands for
// nothing.
type Source func(ctx context.Context, secret string) (rules.Authorizer, error)

// DownPolicy is what counts while no server can be asked.
type DownPolicy string

// The policies, by the words of the configuration. With Allow and Deny everything is
// allowed or denied; with the others what was known goes on counting, however old, and
// secrets that nothing is known of are denied. AsyncCache answers with what is known at
// any time, and asks behind that.
const (
	Allow       DownPolicy = "allow"
	Deny        DownPolicy = "deny"
	ExtendCache DownPolicy = "extend-cache"
	AsyncCache  DownPolicy = "async-cache"
)

// Config says whom to ask, and how long an answer counts.
type Config struct {
	// Caller reaches servers.
	Caller op.Caller
	// Settings are what the configuration says beside the rules.
	Settings rules.Settings
	// TTL is how long an answer counts; default 30 s.
	TTL time.Duration
	// Down is what counts while no server can be asked; default ExtendCache.
	Down DownPolicy

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Kept asks servers and keeps the answers. It is safe for concurrent use.
type Kept struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	trees   *rules.Trees
	group   *lifecycle.Group
	kept    *lru.Cache[string, *entry]
	down    atomic.Bool // the last question found nobody

	mu     sync.Mutex
	asking map[string]*question // by secret
}

// entry is what a secret was said to stand for. It does not change.
type entry struct {
	authorizer rules.Authorizer
	asked      time.Time
	ends       time.Time // of the token; zero for never
}

// over reports whether the token has ended.
func (e *entry) over(now time.Time) bool { return !e.ends.IsZero() && !now.Before(e.ends) }

// question is one that is under way.
type question struct {
	done  chan struct{} // closed when what follows stands
	entry *entry
	err   error
}

// New returns one that has nothing.
func New(cfg Config) (*Kept, error) {
	if cfg.TTL <= 0 {
		cfg.TTL = 30 * time.Second
	}
	if cfg.Down == "" {
		cfg.Down = ExtendCache
	}
	k := &Kept{cfg: cfg, log: cfg.Log.With("component", "rights"), metrics: newMetrics(cfg.Registerer), trees: rules.NewTrees(maxTrees),
		group: lifecycle.New("rights"), asking: map[string]*question{}}
	var err error
	if k.kept, err = lru.New[string, *entry](maxKept); err != nil {
		return nil, fmt.Errorf("make room for tokens: %w", err)
	}
	return k, nil
}

// Stop ends the questions that are under way.
func (k *Kept) Stop(ctx context.Context) error { return k.group.Stop(ctx) }

// Authorizer is a Source.
func (k *Kept) Authorizer(ctx context.Context, secret string) (rules.Authorizer, error) {
	now := time.Now()
	e, known := k.kept.Get(secret)
	if known && e.over(now) {
		k.kept.Remove(secret)
		return nil, acl.ErrNotFound
	}
	if known && now.Sub(e.asked) < k.cfg.TTL {
		return e.authorizer, nil
	}
	if len(secret) > maxSecret {
		return nil, acl.ErrNotFound
	}
	q, err := k.ask(secret)
	if known && k.cfg.Down == AsyncCache {
		return e.authorizer, nil
	}
	if err != nil {
		return nil, err
	}
	var late <-chan time.Time
	if known && k.cfg.Down == ExtendCache && k.down.Load() {
		t := time.NewTimer(patience)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late:
		return e.authorizer, nil
	case <-q.done:
	}
	switch {
	case q.err == nil:
		return q.entry.authorizer, nil
	case op.CodeOf(q.err) == op.CodeDenied:
		return nil, q.err
	case known && !e.over(time.Now()):
		return k.without(e), nil
	}
	return k.without(nil), nil
}

// without is what counts when nobody answers: e is what was known, nil for nothing.
func (k *Kept) without(e *entry) rules.Authorizer {
	switch {
	case k.cfg.Down == Allow:
		return rules.AllowAll()
	case k.cfg.Down == Deny || e == nil:
		return rules.Compile(rules.Settings{}, nil).For(Unasked)
	}
	return e.authorizer
}

// Unasked names in errors a caller whose secret no server could be asked about.
const Unasked = "token that no server can be asked about"

// ask begins a question about a secret, or joins the one that is under way. It goes on
// when who asked goes: others may wait for it.
func (k *Kept) ask(secret string) (*question, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if q := k.asking[secret]; q != nil {
		return q, nil
	}
	if len(k.asking) >= maxAsking {
		return nil, op.Errorf(op.CodeBusy, "servers are being asked about %d tokens, the most at a time", maxAsking)
	}
	q := &question{done: make(chan struct{})}
	err := k.group.Spawn("question", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		q.entry, q.err = k.resolve(ctx, secret)
		k.mu.Lock()
		delete(k.asking, secret)
		k.mu.Unlock()
		close(q.done)
	})
	if err != nil {
		return nil, op.ErrStopping
	}
	k.asking[secret] = q
	return q, nil
}

// resolve asks a server, and keeps or drops what it says.
func (k *Kept) resolve(ctx context.Context, secret string) (*entry, error) {
	asked := time.Now()
	found, err := k.said(ctx, secret, op.Stale)
	if op.CodeOf(err) == op.CodeDenied { // it may have been made a moment ago: the leader knows
		if sure, surely := k.said(ctx, secret, op.Default); surely == nil {
			found, err = sure, nil
		}
	}
	var e *entry
	switch op.CodeOf(err) {
	case 0:
		if found == nil { // another version: it says nothing of any rights
			found = &acl.Resolved{}
		}
		e = &entry{authorizer: k.trees.Compile(k.cfg.Settings, &found.Policy).For(found.Who()), asked: asked, ends: found.Ends}
	case op.CodeUnsupported: // the datacenter has no access control
		e = &entry{authorizer: rules.AllowAll(), asked: asked}
	case op.CodeDenied:
		k.kept.Remove(secret)
		k.down.Store(false)
		k.metrics.unknown.Inc()
		return nil, err
	default:
		if !k.down.Swap(true) && k.group.Context().Err() == nil {
			k.log.Warn("no server can be asked what tokens stand for", "down_policy", string(k.cfg.Down), "error", err)
		}
		k.metrics.unanswered.Inc()
		return nil, err
	}
	if k.down.Swap(false) {
		k.log.Info("servers can be asked again what tokens stand for")
	}
	k.metrics.answered.Inc()
	k.kept.Add(secret, e)
	return e, nil
}

// said is what servers say of a secret.
func (k *Kept) said(ctx context.Context, secret string, c op.Consistency) (*acl.Resolved, error) {
	found, _, err := acl.ResolveSecret.Call(ctx, k.cfg.Caller, op.Header{Consistency: c}, &acl.ResolveRequest{Secret: secret})
	return found, err
}

// Recovery names in errors who shows the recovery token.
const Recovery = "agent recovery token"

// WithRecovery is a source that knows one secret more, without asking anybody: who shows
// it may write the agent of a node, and read all nodes. recovery returns the secret, ""
// while there is none.
func WithRecovery(node string, recovery func() string, next Source) Source {
	a := rules.Compile(rules.Settings{}, &rules.Policy{Rules: []rules.Rule{
		{Resource: rules.Agent, Name: node, Access: rules.Write},
		{Resource: rules.Node, Prefix: true, Access: rules.Read},
	}}).For(Recovery)
	return func(ctx context.Context, secret string) (rules.Authorizer, error) {
		if own := recovery(); own != "" && subtle.ConstantTimeCompare([]byte(own), []byte(secret)) == 1 {
			return a, nil
		}
		return next(ctx, secret)
	}
}

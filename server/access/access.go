// Package access turns the secrets that callers show into what they may do, on a
// server, from the state that it holds.
//
// It promises that a change of a token, a policy or a role counts for every call that
// begins after the change was applied here: what is kept for a secret is dropped by
// the commit that changes what it was made from. It knows nothing of what is asked for,
// and asks nobody, except for the home of what is global as long as there are no copies.
package access

import (
	"fmt"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl"
	"github.com/legate-project/legate/state/acl/rules"
	"github.com/legate-project/legate/storage"
)

const (
	// maxKept bounds the secrets that are known without asking the state. Each costs
	// a watch over what its token refers to: some 4 kB with ten policies.
	maxKept = 8192
	// maxTrees bounds the different sets of rules that are kept compiled.
	maxTrees = 1024
)

// Config says how access is controlled.
type Config struct {
	// Enabled switches access control on; without it everybody may do everything.
	Enabled bool
	// Settings are what the configuration says beside the rules.
	Settings rules.Settings
	// Datacenter of this server.
	Datacenter string
	State      *storage.State
	// Home is asked while there are no copies of what is global; nil if it never is.
	Home       Home
	Registerer prometheus.Registerer
}

// Resolver knows what secrets stand for. It is safe for concurrent use.
type Resolver struct {
	cfg     Config
	metrics *metrics
	trees   *rules.Trees
	kept    *lru.Cache[key, *entry]
	// replacing is held while an entry takes the place of another one: what is put over
	// another without that being removed is watched over for ever.
	replacing sync.Mutex
	asking    asking
}

// key is a secret as it counts in a datacenter; that is empty for the own one.
type key struct{ secret, datacenter string }

// entry is what a secret was resolved to, as long as nothing that was read for it
// has changed. It does not change itself.
type entry struct {
	resolved   *acl.Resolved
	authorizer rules.Authorizer
	watch      *storage.Watch
	until      time.Time // when the home is to be asked again; zero if it was not
	failed     error     // why it is not known what it stands for
}

// current reports whether the entry still says what is so.
func (e *entry) current() bool {
	return e.currentAt(time.Now())
}

func (e *entry) currentAt(now time.Time) bool {
	return !e.watch.Stale() && (e.until.IsZero() || now.Before(e.until)) && (e.resolved.Ends.IsZero() || now.Before(e.resolved.Ends))
}

// New returns a resolver.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{cfg: cfg, metrics: newMetrics(cfg.Registerer), trees: rules.NewTrees(maxTrees), asking: asking{room: make(chan struct{}, maxAsking)}}
	var err error
	if r.kept, err = lru.NewWithEvict(maxKept, func(_ key, e *entry) { e.watch.Close() }); err != nil {
		return nil, fmt.Errorf("make room for resolved tokens: %w", err)
	}
	return r, nil
}

// Enabled reports whether access is controlled.
func (r *Resolver) Enabled() bool { return r.cfg.Enabled }

// Authorizer answers for who shows the secret, in this datacenter. Without a secret
// that is the anonymous token. The error is acl.ErrNotFound or acl.ErrNotBegun if it
// stands for nothing.
func (r *Resolver) Authorizer(secret string) (rules.Authorizer, error) {
	if !r.cfg.Enabled {
		return rules.AllowAll(), nil
	}
	e, err := r.entry(key{secret: secret})
	if err != nil {
		return nil, err
	}
	return e.authorizer, nil
}

// Lasting says of an Authorizer that Authorizer returned for the secret a moment ago, or
// Elsewhere for a datacenter that is named, whether it would be returned now; nil where that
// never changes. It returns false if it is not that any more, or is not followed.
func (r *Resolver) Lasting(secret, datacenter string, a rules.Authorizer) (op.Lasting, bool) {
	if !r.cfg.Enabled {
		return nil, true
	}
	own, ok := r.kept.Peek(key{secret: secret})
	e := own
	if ok && datacenter != "" && e.resolved.Local {
		secret = ""
		e, ok = r.kept.Peek(key{secret: secret})
	}
	if ok && datacenter != "" && e.resolved.Scoped {
		e, ok = r.kept.Peek(key{secret, datacenter})
	}
	if !ok || e.authorizer != a {
		return nil, false
	}
	return grant{own, e}, true
}

// grant is what a secret stands for here, and where it counts.
type grant struct{ own, there *entry }

// Lasts implements op.Lasting.
func (g grant) Lasts(now time.Time) bool { return g.own.currentAt(now) && g.there.currentAt(now) }

// Changed is closed when what a secret stands for may have changed, also in other
// datacenters; nil never is.
func (r *Resolver) Changed(secret string) (<-chan struct{}, error) {
	if !r.cfg.Enabled {
		return nil, nil
	}
	e, err := r.entry(key{secret: secret})
	if err != nil {
		return nil, err
	}
	return e.watch.Changed(), nil
}

// Elsewhere is Authorizer as another datacenter answers. It also returns the secret to
// show there: a local token means nothing there, so that its bearer is anonymous.
func (r *Resolver) Elsewhere(secret, datacenter string) (rules.Authorizer, string, error) {
	if !r.cfg.Enabled {
		return rules.AllowAll(), secret, nil
	}
	e, err := r.entry(key{secret: secret})
	if err == nil && e.resolved.Local {
		secret = ""
		e, err = r.entry(key{secret: secret})
	}
	if err == nil && e.resolved.Scoped {
		e, err = r.entry(key{secret, datacenter})
	}
	if err != nil {
		return nil, secret, err
	}
	return e.authorizer, secret, nil
}

// Everywhere is Authorizer for what several datacenters answer together: it allows
// what each of them does.
func (r *Resolver) Everywhere(secret string, datacenters []string) (rules.Authorizer, string, error) {
	a, err := r.Authorizer(secret)
	if err != nil || !r.cfg.Enabled {
		return a, secret, err
	}
	all := unanimous{a}
	show := secret
	for _, dc := range datacenters {
		if dc == r.cfg.Datacenter {
			continue
		}
		var there rules.Authorizer
		if there, show, err = r.Elsewhere(secret, dc); err != nil {
			return nil, secret, err
		}
		if rules.Identity(there) != rules.Identity(a) {
			all = append(all, there)
		}
	}
	if len(all) == 1 {
		return a, show, nil
	}
	return all, show, nil
}

// unanimous allows what all of several authorizers do.
type unanimous []rules.Authorizer

// Allow implements rules.Authorizer.
func (u unanimous) Allow(r rules.Resource, access rules.Access, name string) bool {
	for _, a := range u {
		if !a.Allow(r, access, name) {
			return false
		}
	}
	return true
}

// Who implements rules.Authorizer.
func (u unanimous) Who() string { return u[0].Who() }

// Same reports whether two of the resolver's Authorizers grant the same. It may say no
// of two that do, but for different rules yes never.
func Same(a, b rules.Authorizer) bool {
	return slices.EqualFunc(each(a), each(b), func(x, y rules.Authorizer) bool { return rules.Identity(x) == rules.Identity(y) })
}

// each are the Authorizers that have to agree.
func each(a rules.Authorizer) unanimous {
	if u, ok := a.(unanimous); ok {
		return u
	}
	return unanimous{a}
}

// Resolve says what a secret stands for in this datacenter.
func (r *Resolver) Resolve(secret string) (*acl.Resolved, error) {
	e, err := r.entry(key{secret: secret})
	if err != nil {
		return nil, err
	}
	return e.resolved, e.failed
}

// ResolveFor says at the home what a secret stands for in another datacenter.
func (r *Resolver) ResolveFor(secret, datacenter string) (*acl.Resolved, error) {
	e, err := r.entry(key{secret: secret})
	if err == nil && e.resolved.Local {
		return nil, acl.ErrNotFound
	}
	if err == nil && e.resolved.Scoped {
		e, err = r.entry(key{secret, datacenter})
	}
	if err != nil {
		return nil, err
	}
	found := *e.resolved
	found.Datacenter = datacenter
	return &found, e.failed
}

func (r *Resolver) entry(k key) (*entry, error) {
	if e, ok := r.kept.Get(k); ok && e.current() {
		return e, nil
	}
	e, err := r.resolve(k)
	if err != nil {
		return nil, err
	}
	r.replacing.Lock()
	r.kept.Remove(k)
	if e != nil {
		r.kept.Add(k, e)
	}
	r.replacing.Unlock()
	if e == nil { // nothing of it is kept: secrets can be made up without end
		r.metrics.unknown.Inc()
		return nil, r.unknown()
	}
	r.metrics.resolved.Inc()
	return e, nil
}

// resolve reads what a secret stands for, and watches over it; nil if it stands for
// nothing.
func (r *Resolver) resolve(k key) (*entry, error) {
	dc := k.datacenter
	if dc == "" {
		dc = r.cfg.Datacenter
	}
	e := &entry{}
	var home string
	var err error
	e.watch, err = r.cfg.State.Watch(func(v *storage.View) error {
		var err error
		if e.resolved, err = acl.Resolve(v, k.secret, dc, time.Now()); err == nil {
			home, err = r.awaited(v)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if home != "" && (e.resolved == nil || !e.resolved.Local) {
		if err := r.ask(e, k, home); err != nil {
			e.watch.Close()
			return nil, err
		}
	}
	if e.resolved == nil {
		e.watch.Close()
		return nil, nil
	}
	if e.authorizer != nil {
		return e, nil
	}
	e.authorizer = r.trees.Compile(r.cfg.Settings, &e.resolved.Policy).For(e.resolved.Who())
	return e, nil
}

// unknown is the answer to a secret that stands for nothing.
func (r *Resolver) unknown() error {
	v := r.cfg.State.View()
	begun, err := acl.Bootstrapped(v)
	if e := v.Close(); err == nil {
		err = e
	}
	switch {
	case err != nil:
		return err
	case !begun:
		return acl.ErrNotBegun
	}
	return acl.ErrNotFound
}

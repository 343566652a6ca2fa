// Package directory knows for each service name which datacenters have healthy
// instances, and how many, and for each network which have addresses in it.
//
// Own keeps the digest of a server's own datacenter, Directory those of the
// others, each followed on one stream that carries the whole once and then what
// changes. What was last known of a datacenter that cannot be reached stays, with
// its age. The package decides nothing and knows no instances: which datacenter
// answers a question is the business of package fanout.
package directory

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/legate-project/legate/internal/lifecycle"
	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/catalog"
)

// Bounds of what is kept of other datacenters.
const (
	// maxDatacenters bounds the digests that are followed.
	maxDatacenters = 256
	// maxServices bounds the names of one datacenter, maxName their length: a
	// digest that tells of more ends.
	maxServices = 1 << 17
	maxName     = 512
	// maxNetworks bounds the networks of one datacenter in which it has addresses;
	// of more it is not known that they are there.
	maxNetworks = 1 << 14
	// silentAfter is how long after the last word of its source a digest counts as
	// current: a heartbeat with its jitter, and time to repeat a lost packet.
	silentAfter = 8 * time.Second
	// reviewEvery is how often it is looked at which datacenters there are.
	reviewEvery = time.Second
	// firstPause and lastPause bound the pause between attempts to follow one.
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
	// settledAfter is how long a stream must have lasted for the next attempt to
	// come soon again.
	settledAfter = 10 * time.Second
)

// Config says what is followed.
type Config struct {
	// Source is where digests of other datacenters are followed.
	Source op.Subscriber
	// Datacenters lists the other datacenters that are known.
	Datacenters func() []string
	Log         *slog.Logger
	Registerer  prometheus.Registerer
}

// Directory keeps what other datacenters tell of their services. It is safe for
// concurrent use.
type Directory struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	group   *lifecycle.Group

	mu       sync.RWMutex
	digests  map[string]*digest // by datacenter
	watchers map[string]map[*Watch]struct{}
}

// digest is what is known of one datacenter; guarded by Directory.mu.
type digest struct {
	end      context.CancelFunc
	services *content // nil until the whole has come
	next     *content // a whole that is not complete yet
	linked   bool
	heard    time.Time
	behind   time.Duration // how old it was then, by the source's own account
}

// counts are instances by health, saturated.
type counts struct{ passing, warning, critical uint32 }

// content is what a digest has: services, and networks under their names.
type content struct {
	byName   map[string]counts
	networks int
}

var errTooMany = errors.New("the digest has more services than are kept, or names that are too long")

// set takes an entry in, or out without counts.
func (c *content) set(name string, now counts) error {
	_, old := c.byName[name]
	network := catalog.IsNetwork(name)
	switch {
	case now == counts{}:
		if delete(c.byName, name); old && network {
			c.networks--
		}
		return nil
	case network && !old && c.networks >= maxNetworks:
		return nil
	case len(name) > maxName, !network && !old && c.services() >= maxServices:
		return errTooMany
	case network && !old:
		c.networks++
	}
	c.byName[strings.Clone(name)] = now // not the message that it came in
	return nil
}

func (c *content) services() int { return len(c.byName) - c.networks }

// names lists all entries; nothing of a content that never came.
func (c *content) names() []string {
	if c == nil {
		return nil
	}
	return slices.Collect(maps.Keys(c.byName))
}

// New returns a directory that knows nothing until Start.
func New(cfg Config) *Directory {
	d := &Directory{cfg: cfg, log: cfg.Log.With("component", "directory"), group: lifecycle.New("directory"),
		digests: map[string]*digest{}, watchers: map[string]map[*Watch]struct{}{}}
	d.metrics = newMetrics(cfg.Registerer, d)
	return d
}

// Start begins to follow.
func (d *Directory) Start() error { return d.group.Go("datacenters", d.reviewLoop) }

// Stop ends all streams.
func (d *Directory) Stop(ctx context.Context) error { return d.group.Stop(ctx) }

func (d *Directory) reviewLoop(ctx context.Context) {
	t := time.NewTicker(reviewEvery)
	defer t.Stop()
	for {
		d.review()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// review follows datacenters that are new and forgets those that are gone.
func (d *Directory) review() {
	there := d.cfg.Datacenters()
	there = there[:min(len(there), maxDatacenters)]
	d.mu.Lock()
	defer d.mu.Unlock()
	for dc, g := range d.digests {
		if !slices.Contains(there, dc) {
			g.end()
			delete(d.digests, dc)
			d.metrics.forget(dc)
			d.wake(g.services.names())
		}
	}
	for _, dc := range there {
		if d.digests[dc] != nil {
			continue
		}
		ctx, end := context.WithCancel(d.group.Context())
		g := &digest{end: end}
		if d.group.Spawn("digest", func(context.Context) { d.follow(ctx, dc, g) }) != nil { // stopping
			end()
			return
		}
		d.digests[dc] = g
		d.metrics.deltas.WithLabelValues(dc)
	}
}

// follow keeps the digest of one datacenter until ctx ends.
func (d *Directory) follow(ctx context.Context, dc string, g *digest) {
	pause := firstPause
	for ctx.Err() == nil {
		begin := time.Now()
		h := op.Header{Datacenter: dc, Consistency: op.Cached}
		if d.holds(g) {
			h.MinIndex = 1 // a server that gossip has lost is worth a try
		}
		err := d.cfg.Source.Subscribe(ctx, op.NewCall(&catalog.GetDigest, h, &op.Empty{}), func(r *op.Reply) error { return d.take(dc, g, r) })
		d.mu.Lock()
		g.linked, g.next = false, nil
		d.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		d.log.Debug("digest is not followed", "peer_datacenter", dc, "error", err)
		if pause = min(2*pause, lastPause); time.Since(begin) > settledAfter {
			pause = firstPause
		}
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

func (d *Directory) holds(g *digest) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return g.services != nil
}

// take keeps what a datacenter tells.
func (d *Directory) take(dc string, g *digest, r *op.Reply) error {
	var news *catalog.Digest
	if r.Meta.Index > 0 {
		result, err := r.Result(&catalog.GetDigest)
		if err != nil {
			return err
		}
		news, _ = result.(*catalog.Digest)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.digests[dc] != g {
		return context.Canceled
	}
	back := !g.linked || (g.behind > 0) != (behind(&r.Meta) > 0)
	g.linked, g.heard, g.behind = true, time.Now(), behind(&r.Meta)
	var changed []string
	if news != nil {
		d.metrics.deltas.WithLabelValues(dc).Inc()
		var err error
		if changed, err = g.apply(news); err != nil {
			return err
		}
	}
	if back {
		d.wakeAll()
		return nil
	}
	d.wake(changed)
	return nil
}

func behind(m *op.Meta) time.Duration {
	if m.LastContact > op.LeaderSilence {
		return max(m.Age, m.LastContact)
	}
	return m.Age
}

// apply takes a digest in and names what it changes.
func (g *digest) apply(news *catalog.Digest) (changed []string, err error) {
	to := g.services
	if news.Whole {
		g.next = &content{byName: make(map[string]counts, len(news.Services))}
	}
	if g.next != nil {
		to = g.next
	}
	if to == nil {
		return nil, op.Errorf(op.CodeInternal, "a digest begins with what has changed")
	}
	for i := range news.Services {
		s := &news.Services[i]
		if err := to.set(s.Name, counts{s.Passing, s.Warning, s.Critical}); err != nil {
			return nil, err
		}
		if g.next == nil {
			changed = append(changed, s.Name)
		}
	}
	if g.next != nil && !news.More {
		changed = differing(g.services, g.next)
		g.services, g.next = g.next, nil
	}
	return changed, nil
}

// differing names what is not the same in two digests; the first may be nil.
func differing(a, b *content) []string {
	if a == nil {
		return b.names()
	}
	var out []string
	for name, c := range b.byName {
		if a.byName[name] != c {
			out = append(out, name)
		}
	}
	for name := range a.byName {
		if _, ok := b.byName[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}

// age is how long ago what is known was current; 0 while the source vouches for
// it.
func (g *digest) age(now time.Time) time.Duration {
	silent := now.Sub(g.heard)
	if g.linked && g.behind == 0 && silent <= silentAfter {
		return 0
	}
	return max(silent+g.behind, time.Nanosecond)
}

// Entry is what is known of a service in a datacenter.
type Entry struct {
	Known   bool // its digest was seen
	Age     time.Duration
	Total   uint32
	Passing uint32
	Warning uint32
}

// Lookup says what is known of a service in another datacenter.
func (d *Directory) Lookup(dc, service string) Entry {
	service = strings.ToLower(service)
	d.mu.RLock()
	defer d.mu.RUnlock()
	g := d.digests[dc]
	if g == nil || g.services == nil {
		return Entry{}
	}
	c := g.services.byName[service]
	return Entry{Known: true, Age: g.age(time.Now()), Total: c.passing + c.warning + c.critical, Passing: c.passing, Warning: c.warning}
}

// Healthy names up to limit services that have a healthy instance in another datacenter, of
// those that are wanted.
func (d *Directory) Healthy(limit int, wanted func(service string) bool) []string {
	d.mu.RLock()
	known := map[string]bool{}
	for _, g := range d.digests {
		if g.services == nil {
			continue
		}
		for name, c := range g.services.byName {
			if c.passing+c.warning > 0 {
				known[name] = true
			}
		}
	}
	d.mu.RUnlock()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if len(out) == limit {
			break
		}
		if !catalog.IsNetwork(name) && wanted(name) {
			out = append(out, name)
		}
	}
	return out
}

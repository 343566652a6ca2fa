// Package memberlog writes what happens to the members of the pools into the log: a line
// each, and one line for all of what comes in bursts, as when a datacenter is cut off.
package memberlog

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/legate-project/legate/internal/gossip"
)

const (
	// burstWindow is how long events of one kind in one pool are counted together,
	// and burstLines is how many of them have a line each: what comes on top, as
	// when a datacenter is cut off, has one line in all.
	burstWindow = 10 * time.Second
	burstLines  = 10
	// goneMembers bounds of how many members it is known since when they are gone.
	goneMembers = 8192
)

// Log writes what happens to the members of the pools.
type Log struct {
	log *slog.Logger

	mu     sync.Mutex
	gone   map[memberKey]time.Time // who failed or left, and when
	bursts map[burstKey]*burst
}

type memberKey struct{ pool, name string }

type burstKey struct {
	pool string
	kind gossip.Kind
}

// burst counts events of a window.
type burst struct {
	began time.Time
	seen  int
	more  map[string]int // without a line of their own, by datacenter
}

// New returns a log without members that are gone.
func New(log *slog.Logger) *Log {
	return &Log{log: log, gone: map[memberKey]time.Time{}, bursts: map[burstKey]*burst{}}
}

// Event writes a line for each member of an event, within bounds. That one came
// or failed which comes and goes, as often says, is for who debugs.
func (l *Log) Event(pool string, e gossip.Event, often func(member string) bool) {
	if e.Kind == gossip.Resync {
		l.log.Warn("more came from gossip than could be taken in: the members are read again, user events among it are lost", "pool", pool)
	}
	for _, m := range e.Members {
		l.member(pool, e, m, often(m.Name))
	}
}

func (l *Log) member(pool string, e gossip.Event, m gossip.Member, often bool) {
	message, level := "", slog.LevelInfo
	attrs := []any{"pool", pool, "member", m.Name, "address", m.Addr}
	key := memberKey{pool, m.Name}
	l.mu.Lock()
	since, wasGone := l.gone[key]
	switch e.Kind {
	case gossip.Join:
		message = "member joined"
		if wasGone {
			message, attrs = "member is back", append(attrs, "absent", e.At.Sub(since))
		}
		delete(l.gone, key)
	case gossip.Leave:
		message = "member left"
		l.note(key, e.At)
	case gossip.Fail:
		message, level = "member failed", slog.LevelWarn
		attrs = append(attrs, "why", cmp.Or(e.Reasons[m.Name], "others say so"))
		l.note(key, e.At)
	case gossip.Reap:
		message = "member forgotten"
		delete(l.gone, key)
	}
	counted := message != "" && !often
	mine := !counted || l.count(burstKey{pool, e.Kind}, m)
	l.mu.Unlock()
	if message == "" || !mine {
		return
	}
	if often && (e.Kind == gossip.Join || e.Kind == gossip.Fail) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, message, attrs...)
}

// verbs are what members did.
func verbs() map[gossip.Kind]string {
	return map[gossip.Kind]string{gossip.Join: "joined", gossip.Leave: "left", gossip.Fail: "failed", gossip.Reap: "were forgotten"}
}

// note keeps since when a member is gone. The lock is held.
func (l *Log) note(key memberKey, at time.Time) {
	if _, ok := l.gone[key]; !ok && len(l.gone) < goneMembers {
		l.gone[key] = at
	}
}

// count says whether an event has a line of its own. The lock is held.
func (l *Log) count(key burstKey, m gossip.Member) bool {
	b := l.bursts[key]
	if b == nil {
		b = &burst{began: time.Now(), more: map[string]int{}}
		l.bursts[key] = b
	}
	b.seen++
	if b.seen > burstLines {
		b.more[m.Tags["dc"]]++
		return false
	}
	return true
}

// Run tells of bursts that are over until ctx ends, and then of all.
func (l *Log) Run(ctx context.Context) {
	t := time.NewTicker(burstWindow / 5)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			l.sweep(true)
			return
		case <-t.C:
			l.sweep(false)
		}
	}
}

func (l *Log) sweep(all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, b := range l.bursts {
		if !all && time.Since(b.began) < burstWindow {
			continue
		}
		delete(l.bursts, key)
		if len(b.more) == 0 {
			continue
		}
		var by []string
		for _, dc := range slices.Sorted(maps.Keys(b.more)) {
			by = append(by, fmt.Sprintf("%s=%d", dc, b.more[dc]))
		}
		level := slog.LevelInfo
		if key.kind == gossip.Fail {
			level = slog.LevelWarn
		}
		l.log.Log(context.Background(), level, "more members "+verbs()[key.kind], "pool", key.pool, "count", b.seen-burstLines,
			"by_datacenter", strings.Join(by, " "), "took", time.Since(b.began))
	}
}

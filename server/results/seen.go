package results

import (
	"maps"
	"reflect"
	"sync"

	"github.com/legate-project/legate/op"
	"github.com/legate-project/legate/state/acl/rules"
)

// maxSeen bounds the different rights for which one result is kept as they see it.
// Callers of one kind (all instances of a service, all agents) share one.
const maxSeen = 8

// Seen is a result as a caller sees it.
type Seen struct {
	Value    any
	Filtered bool // something was hidden
	// Rendered is shared by all who may see the same; nil for a result that nobody shares.
	Rendered *op.Rendered
	content  *op.Content
}

// views are a result as callers with different rights see it, by the identity of
// their rules: equal rules are one.
type views struct {
	mu     sync.Mutex
	by     map[*rules.Tree]Seen
	before map[*rules.Tree]Seen // those of the result that came before, to tell what is news
}

// all returns those that were asked for.
func (v *views) all() map[*rules.Tree]Seen {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.by)
}

// For returns the result as the caller sees it. What hides nothing is the result itself.
func (r *Result) For(o op.Queryable, a rules.Authorizer) Seen {
	tree := rules.Identity(a)
	if r.Watch == nil || tree == nil || rules.Unlimited(a) {
		return r.look(o, a)
	}
	r.views.mu.Lock()
	defer r.views.mu.Unlock()
	if s, ok := r.views.by[tree]; ok {
		return s
	}
	s := r.look(o, a)
	if old, ok := r.views.before[tree]; ok && s.Filtered && reflect.DeepEqual(old.Value, s.Value) {
		s.content = old.content // what changed is hidden from them
	}
	if r.views.by == nil || len(r.views.by) >= maxSeen {
		r.views.by = map[*rules.Tree]Seen{}
	}
	r.views.by[tree] = s
	return s
}

// look takes out what the caller may not see.
func (r *Result) look(o op.Queryable, a rules.Authorizer) Seen {
	shown, filtered := o.Hide(a, r.Value)
	s := Seen{Value: shown, Filtered: filtered, content: r.content}
	switch {
	case r.Watch == nil:
	case filtered:
		s.content, s.Rendered = &op.Content{}, &op.Rendered{}
	default:
		s.Rendered = &r.Rendered
	}
	return s
}

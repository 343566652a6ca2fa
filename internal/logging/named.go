package logging

import (
	"context"
	"log/slog"
	"slices"
)

// The attributes that each line of an agent begins with.
const (
	// ComponentKey is the part of the program that speaks.
	ComponentKey = "component"
	// NodeKey is the name of the agent's node.
	NodeKey = "node"
	// DatacenterKey is the agent's own datacenter.
	DatacenterKey = "datacenter"
	// aboutPrefix stands before the attributes of a line that have the name of
	// one of the above, or of time, level and message: libraries do so.
	aboutPrefix = "about_"
)

// Origin is the agent that a line comes from.
type Origin struct{ Node, Datacenter string }

// Named returns a handler whose lines have component, node and datacenter
// first, each once. With(ComponentKey, …) replaces the component.
func Named(next slog.Handler, component string, from Origin) slog.Handler {
	n := named{root: next, component: component, from: from}
	return n.derived()
}

// named is the handler of Named.
type named struct {
	root      slog.Handler
	component string
	from      Origin
	with      []func(slog.Handler) slog.Handler // after the component
	grouped   bool
	next      slog.Handler
}

var _ slog.Handler = (*named)(nil)

// derived returns n with next made of the rest.
func (n named) derived() *named {
	n.next = through(n.root.WithAttrs([]slog.Attr{
		slog.String(ComponentKey, n.component), slog.String(NodeKey, n.from.Node), slog.String(DatacenterKey, n.from.Datacenter),
	}), n.with)
	return &n
}

// Enabled implements slog.Handler.
func (n *named) Enabled(ctx context.Context, level slog.Level) bool {
	return n.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (n *named) Handle(ctx context.Context, r slog.Record) error {
	taken := false
	if !n.grouped {
		r.Attrs(func(a slog.Attr) bool {
			taken = reserved(a.Key)
			return !taken
		})
	}
	if taken {
		moved := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
		r.Attrs(func(a slog.Attr) bool {
			moved.AddAttrs(aside(a))
			return true
		})
		r = moved
	}
	return n.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (n *named) WithAttrs(attrs []slog.Attr) slog.Handler {
	to := *n
	if !n.grouped {
		attrs = slices.Clone(attrs)
		attrs = slices.DeleteFunc(attrs, func(a slog.Attr) bool {
			if a.Key == ComponentKey {
				to.component = a.Value.String()
			}
			return a.Key == ComponentKey
		})
		for i := range attrs {
			attrs[i] = aside(attrs[i])
		}
	}
	if len(attrs) > 0 {
		to.with = append(slices.Clip(to.with), func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
	}
	return to.derived()
}

// WithGroup implements slog.Handler.
func (n *named) WithGroup(name string) slog.Handler {
	to := *n
	to.with = append(slices.Clip(to.with), func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
	to.grouped = to.grouped || name != ""
	return to.derived()
}

func reserved(key string) bool {
	switch key {
	case ComponentKey, NodeKey, DatacenterKey, slog.TimeKey, slog.LevelKey, slog.MessageKey:
		return true
	}
	return false
}

// aside gives an attribute another name if its own is taken.
func aside(a slog.Attr) slog.Attr {
	if reserved(a.Key) {
		a.Key = aboutPrefix + a.Key
	}
	return a
}

package events

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Service is what filters ask about a service of this agent.
type Service struct {
	Name string
	Tags []string
}

// Config makes a Ring.
type Config struct {
	NodeName string
	// Services lists what runs on this agent now.
	Services func() []Service
	// Internal gets the events between agents that are meant for this one; nil
	// drops them. It must not block.
	Internal   func(Event)
	Registerer prometheus.Registerer
}

// Ring keeps the last events that were meant for this agent. It is safe for
// concurrent use.
type Ring struct {
	cfg     Config
	metrics *metrics

	mu      sync.Mutex
	events  []Event // oldest first
	changed chan struct{}
}

// New returns an empty ring.
func New(cfg Config) *Ring {
	return &Ring{cfg: cfg, metrics: newMetrics(cfg.Registerer), changed: make(chan struct{})}
}

// Receive takes an event as it came from gossip. The error says why it is no
// valid one.
func (r *Ring) Receive(b []byte, ltime uint64) error {
	e, err := unpack(b, ltime)
	if err == nil {
		err = e.readable()
	}
	if err != nil {
		r.metrics.invalid.Inc()
		return fmt.Errorf("read an event from gossip: %w", err)
	}
	if !r.meant(e) {
		r.metrics.filtered.Inc()
		return nil
	}
	r.metrics.received.Inc()
	if strings.HasPrefix(e.Name, internal) {
		if r.cfg.Internal != nil {
			r.cfg.Internal(*e)
		}
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.events, func(kept Event) bool { return kept.ID == e.ID }) {
		return nil // fired again by who did not hear that it was
	}
	if len(r.events) == Kept {
		r.events = slices.Delete(r.events, 0, 1)
	}
	r.events = append(r.events, *e)
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// readable says whether the filters are what they should be.
func (e *Event) readable() error {
	for _, f := range []string{e.NodeFilter, e.ServiceFilter, e.TagFilter} {
		if _, err := regexp.Compile(f); err != nil {
			return err
		}
	}
	return nil
}

// meant says whether the filters mean this agent.
func (r *Ring) meant(e *Event) bool {
	matches := func(filter, text string) bool {
		ok, err := regexp.MatchString(filter, text)
		return err == nil && ok
	}
	if e.NodeFilter != "" && !matches(e.NodeFilter, r.cfg.NodeName) {
		return false
	}
	if e.ServiceFilter == "" {
		return true
	}
	return slices.ContainsFunc(r.cfg.Services(), func(s Service) bool {
		return matches(e.ServiceFilter, s.Name) &&
			(e.TagFilter == "" || slices.ContainsFunc(s.Tags, func(tag string) bool { return matches(e.TagFilter, tag) }))
	})
}

// List returns the kept events of the name, or all for "", oldest first, and a
// channel that is closed when another one is kept. They are not to be changed.
func (r *Ring) List(name string) ([]Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Event, 0, len(r.events))
	for _, e := range r.events {
		if name == "" || e.Name == name {
			out = append(out, e)
		}
	}
	return out, r.changed
}

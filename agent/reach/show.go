package reach

import (
	"maps"
	"slices"
	"strings"

	"github.com/legate-project/legate/agent/reach/links"
	"github.com/legate-project/legate/federation"
	"github.com/legate-project/legate/internal/gossip"
	"github.com/legate-project/legate/state/status"
)

// Path is how a datacenter is reached.
func (w *Ways) Path(dc string) links.Shown { return w.table.Of(dc) }

// Way is how a datacenter is reached, as its status shows it.
func (w *Ways) Way(dc string) federation.Way {
	s := w.table.Of(dc)
	return federation.Way{Through: s.Through, ReachedFrom: s.From}
}

// Registrations are those with gateways that this server is to be reached through.
func (w *Ways) Registrations() []status.Registration {
	kept := w.kept.Load()
	if kept == nil {
		return nil
	}
	var tcp []string
	if w.tunnels != nil {
		tcp = w.tunnels.InUse()
	}
	var out []status.Registration
	for _, g := range *kept {
		s := status.Registration{Gateway: g.Gateway, TCP: slices.Contains(tcp, g.Gateway)}
		if g.Err != nil {
			s.Error = g.Err.Error()
		}
		out = append(out, s)
	}
	return out
}

// tagPath is what is added to the tags of members that are not reached directly, for who lists them.
const tagPath = "path"

// Describe adds to members how they are reached, where that is not directly: the datacenters that carry
// there, or that nobody does, and from where they are reached.
func (w *Ways) Describe(members []gossip.Member) []gossip.Member {
	for i, m := range members {
		s := w.table.Of(m.Datacenter())
		if m.Status != gossip.Alive || s.Direct != links.Broken || w.near(m.Name) {
			continue
		}
		text := "none"
		switch {
		case len(s.Through) > 0:
			text = "through " + strings.Join(s.Through, " ")
		case len(s.From) > 0:
			text = "unreachable from here and reachable from " + strings.Join(s.From, " ")
		}
		members[i].Tags = maps.Clone(m.Tags)
		members[i].Tags[tagPath] = text
	}
	return members
}
